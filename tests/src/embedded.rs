//! The whole system on embedded parts, in this process.

use crate::api::Api;
use crate::audit::{Audited, Databases};
use crate::topics::{check_against, check_fields, event_topics, read_all};
use anyhow::Result;
use migrations::EventLogMigrator;
use order_system::System;
use order_system::config::RunSettings;
use runtime::clock::SystemClock;
use runtime::config::AccessSettings;
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::Record;
use runtime::event_log::embedded::EmbeddedLog;
use runtime::program::Stop;
use sea_orm::{EntityTrait, PaginatorTrait};
use std::sync::Arc;
use tempfile::TempDir;

/// The whole system on embedded parts.
pub struct Embedded {
    directory: TempDir,
    settings: RunSettings,
    system: System,
    /// A client of its services.
    pub api: Api,
}

impl Embedded {
    /// Starts it in a directory of its own.
    pub async fn start() -> Result<Self> {
        Self::start_with(|_| {}).await
    }

    /// The same, with settings that are changed so.
    pub async fn start_with(change: impl FnOnce(&mut RunSettings)) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut settings = RunSettings::embedded(directory.path().to_owned());
        change(&mut settings);
        let system = System::start(&settings, None, &Stop::default()).await?;
        system.ready().await;
        let api = Api::new(system.urls());
        Ok(Embedded { directory, settings, system, api })
    }

    /// The same, with an access that asks who one is.
    pub async fn guarded(set: impl FnOnce(&mut AccessSettings)) -> Result<Self> {
        Self::start_with(|settings| set(&mut settings.common.access)).await
    }

    /// Stops the system.
    pub async fn stop(self) {
        self.system.stop().await;
    }

    /// Stops the system, and counts the orders that it has.
    pub async fn orders(self) -> Result<u64> {
        self.system.stop().await;
        let orders = Database::open(&self.settings.databases()?[0]).await?;
        Ok(order_service::store::Entity::find().count(&orders.read).await?)
    }

    /// Audits the databases.
    pub async fn audit(&self) -> Result<Audited> {
        let [a, b, c, d] = self.settings.databases()?;
        let databases = Databases([
            Database::open(&a).await?,
            Database::open(&b).await?,
            Database::open(&c).await?,
            Database::open(&d).await?,
        ]);
        databases.audit(&[]).await
    }

    /// Audits the databases, stops the system, and then audits the topics against them.
    pub async fn finish(self) -> Result<()> {
        self.finish_with_records().await.map(drop)
    }

    /// The same, and returns what is on the topics.
    pub async fn finish_with_records(self) -> Result<Vec<Record>> {
        let books = self.audit().await?;
        self.system.stop().await;
        let file = DatabaseSettings::Sqlite(self.directory.path().join("events.sqlite"));
        let database = Database::open(&file).await?;
        database.migrate::<EventLogMigrator>().await?;
        let log = EmbeddedLog::open(database, Arc::new(SystemClock)).await?;
        let records = read_all(&log, &event_topics()).await?;
        for record in &records {
            check_fields(record)?;
        }
        check_against(&records, &books)?;
        Ok(records)
    }
}
