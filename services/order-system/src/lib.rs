//! The whole system in one process: four services, each with its own database, speaking only through the event log.
//! Every part that is not configured is embedded: SQLite files, and a durable event log in place of Kafka.

pub mod asyncapi;
pub mod bench;
pub mod config;
pub mod data_dir;
pub mod documents;

use anyhow::{Context, Result};
use config::RunSettings;
use data_dir::DataDir;
use futures::future::join_all;
use metrics_exporter_prometheus::PrometheusHandle;
use migrations::{EventLogMigrator, InventoryMigrator, NotificationMigrator, OrderMigrator, PaymentMigrator};
use runtime::clock::{Clock, SystemClock};
use runtime::dashboard::Board;
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::EventLog;
use runtime::event_log::embedded::EmbeddedLog;
use runtime::event_log::kafka::KafkaLog;
use runtime::http::StandIn;
use runtime::program::{Ports, Running, Stop, open_database};
use std::sync::Arc;

/// A running system.
pub struct System {
    /// The services: order, payment, inventory, notification.
    pub services: Vec<Running>,
    /// The database of the embedded event log.
    pub events: Option<Database>,
    /// Held for as long as the system runs, where anything is embedded.
    pub data_dir: Option<DataDir>,
}

/// The name of an embedded database's file.
fn file_name(database: &DatabaseSettings) -> Option<String> {
    match database {
        DatabaseSettings::Sqlite(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()),
        DatabaseSettings::Postgres(_) => None,
    }
}

impl System {
    /// Starts every service.
    pub async fn start(settings: &RunSettings, metrics: Option<PrometheusHandle>, stop: &Stop) -> Result<Self> {
        // Every setting is looked at before anything is done.
        let databases = settings.databases()?;
        let kafka =
            settings.kafka_bootstrap_servers.as_ref().map(|servers| settings.common.kafka(servers)).transpose()?;
        let provider = settings.payment.provider()?;
        let access = Arc::new(settings.common.access.access()?);
        let ways = settings.notify.ways()?;
        let stock = settings.inventory.initial_stock(&config::default_stock())?;
        let data_dir = if settings.is_embedded() { Some(DataDir::take(&settings.data_dir)?) } else { None };
        let mut files: Vec<String> = databases.iter().filter_map(file_name).collect();
        let events_file = DatabaseSettings::Sqlite(settings.data_dir.join("events.sqlite"));
        files.extend(file_name(&events_file).filter(|_| kafka.is_none()));
        if let Some(data_dir) = &data_dir {
            data_dir.check(&files)?;
        }
        let listeners = settings.listen()?;
        let stand_ins = listeners.iter().map(StandIn::on).collect::<std::io::Result<Vec<_>>>()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let board = Arc::new(Board::default());
        let (log, events): (Arc<dyn EventLog>, _) = match kafka {
            Some(kafka) => {
                let log = KafkaLog::new(kafka)?;
                log.join(&board)?;
                (Arc::new(log), None)
            }
            None => {
                let events = open_database::<EventLogMigrator>("--data-dir", &events_file, &stand_ins[0], stop).await?;
                (Arc::new(EmbeddedLog::open(events.clone(), Arc::clone(&clock)).await?), Some(events))
            }
        };
        // What is wrong with a file is wrong with the directory, and not with a URL that is not set.
        let setting = |n: usize| match databases[n] {
            DatabaseSettings::Sqlite(_) => "--data-dir",
            DatabaseSettings::Postgres(_) => config::DATABASE_URLS[n],
        };
        // Together, since each file is read whole.
        let (order, payment, inventory, notification) = tokio::try_join!(
            open_database::<OrderMigrator>(setting(0), &databases[0], &stand_ins[0], stop),
            open_database::<PaymentMigrator>(setting(1), &databases[1], &stand_ins[1], stop),
            open_database::<InventoryMigrator>(setting(2), &databases[2], &stand_ins[2], stop),
            open_database::<NotificationMigrator>(setting(3), &databases[3], &stand_ins[3], stop),
        )?;
        drop(stand_ins);
        if let Some(data_dir) = &data_dir {
            data_dir.note(&files)?;
        }
        let mut ports = Vec::new();
        for ((database, listener), number) in
            [order, payment, inventory, notification].into_iter().zip(listeners).zip(0..)
        {
            ports.push(Ports {
                clock: database.clock().await?,
                database,
                log: Arc::clone(&log),
                listener,
                metrics: metrics.clone(),
                attempts: settings.common.attempts(),
                access: Arc::clone(&access),
                board: Arc::clone(&board),
                whole: true,
                public_url: settings.common.public_url(number)?,
            });
        }
        let mut ports = ports.into_iter();
        let mut next = || ports.next().context("four services have four sets of ports");
        let common = &settings.common;
        let limit = settings.orders.orders_under_way_limit;
        let services = vec![
            order_service::start(next()?, order_service::config::saga(common), limit).await?,
            payment_service::start(next()?, provider).await?,
            inventory_service::start(next()?, inventory_service::config::saga(common), &stock).await?,
            notification_service::start(next()?, ways).await?,
        ];
        Ok(System { services, events, data_dir })
    }

    /// Waits until every service can do its work.
    pub async fn ready(&self) {
        for service in &self.services {
            service.ready().await;
        }
    }

    /// Where the HTTP APIs are: order, payment, inventory, notification.
    pub fn urls(&self) -> Vec<String> {
        self.services.iter().map(|service| service.url().to_owned()).collect()
    }

    /// Stops every service, with what it has taken on done.
    pub async fn stop(self) {
        join_all(self.services.into_iter().map(Running::stop)).await;
        close(self.events).await;
    }
}

/// Closes the embedded event log, once nobody writes to it. What SQLite keeps beside the file is so in the file.
pub async fn close(events: Option<Database>) {
    if let Some(events) = events
        && let Err(error) = events.close().await
    {
        tracing::warn!(%error, "the event log was not closed well");
    }
}
