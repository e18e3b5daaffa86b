//! The whole system in one process: four services, each with its own database, speaking only through the event log.
//! Every part that is not configured is embedded: SQLite files, and a durable event log in place of Kafka.

pub mod asyncapi;
pub mod bench;
pub mod config;
pub mod documents;

use anyhow::{Context, Result};
use config::RunSettings;
use futures::future::join_all;
use metrics_exporter_prometheus::PrometheusHandle;
use migrations::{EventLogMigrator, InventoryMigrator, NotificationMigrator, OrderMigrator, PaymentMigrator};
use runtime::clock::{Clock, SystemClock};
use runtime::config::BadSetting;
use runtime::dashboard::Board;
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::EventLog;
use runtime::event_log::embedded::EmbeddedLog;
use runtime::event_log::kafka::KafkaLog;
use runtime::program::{Ports, Running, Stop, open_database};
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
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

/// A data directory that this process alone uses.
pub struct DataDir {
    path: PathBuf,
    #[expect(dead_code, reason = "the lock is held while the file is open")]
    lock: File,
}

/// The file that lists those that were made in the directory, a name a line. Each holds what the others rely on: one that is
/// missing was lost, and must not be made again as if it were new.
const MADE: &str = "files";

impl DataDir {
    /// Makes the directory where there is none, and takes it for this process.
    fn take(path: &Path) -> Result<Self, BadSetting> {
        let bad = |problem: String| BadSetting::new("--data-dir", format!("{}: {problem}", path.display()));
        std::fs::create_dir_all(path).map_err(|error| bad(error.to_string()))?;
        let lock = File::create(path.join("lock")).map_err(|error| bad(error.to_string()))?;
        match lock.try_lock() {
            Ok(()) => Ok(DataDir { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => {
                Err(bad("is in use by another order-system; stop that one, or choose another directory".into()))
            }
            Err(TryLockError::Error(error)) => Err(bad(error.to_string())),
        }
    }

    fn made(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path.join(MADE)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// That none of these files is lost that were made before.
    fn check(&self, files: &[String]) -> Result<(), BadSetting> {
        let made = self.made();
        let is_lost = |file: &&String| {
            made.contains(file) && std::fs::metadata(self.path.join(file)).map_or(true, |found| found.len() == 0)
        };
        let Some(lost) = files.iter().find(is_lost) else { return Ok(()) };
        let lost = self.path.join(lost);
        let problem = format!(
            "{} is missing or empty, and was made here before; bring the directory back whole from a backup, or begin anew in \
             another one",
            lost.display()
        );
        Err(BadSetting::new("--data-dir", problem))
    }

    /// Notes that these files are there now.
    fn note(&self, files: &[String]) -> Result<(), BadSetting> {
        let mut made = self.made();
        let new: Vec<String> = files.iter().filter(|file| !made.contains(file)).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        made.extend(new);
        let write = || {
            let part = self.path.join(format!("{MADE}.part"));
            let mut file = File::create(&part)?;
            made.iter().try_for_each(|name| writeln!(file, "{name}"))?;
            file.sync_all()?;
            std::fs::rename(&part, self.path.join(MADE))
        };
        write().map_err(|error| BadSetting::new("--data-dir", format!("{}: {error}", self.path.display())))
    }
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
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let board = Arc::new(Board::default());
        let (log, events): (Arc<dyn EventLog>, _) = match kafka {
            Some(kafka) => {
                let log = KafkaLog::new(kafka)?;
                log.join(&board)?;
                (Arc::new(log), None)
            }
            None => {
                let events = open_database::<EventLogMigrator>("--data-dir", &events_file, stop).await?;
                (Arc::new(EmbeddedLog::open(events.clone(), Arc::clone(&clock)).await?), Some(events))
            }
        };
        // What is wrong with a file is wrong with the directory, and not with a URL that is not set.
        let setting = |n: usize| match databases[n] {
            DatabaseSettings::Sqlite(_) => "--data-dir",
            DatabaseSettings::Postgres(_) => config::DATABASE_URLS[n],
        };
        let opened = [
            open_database::<OrderMigrator>(setting(0), &databases[0], stop).await?,
            open_database::<PaymentMigrator>(setting(1), &databases[1], stop).await?,
            open_database::<InventoryMigrator>(setting(2), &databases[2], stop).await?,
            open_database::<NotificationMigrator>(setting(3), &databases[3], stop).await?,
        ];
        if let Some(data_dir) = &data_dir {
            data_dir.note(&files)?;
        }
        let mut ports = Vec::new();
        for ((database, listener), number) in opened.into_iter().zip(listeners).zip(0..) {
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
