//! The embedded event log does what every event log must. Kafka is put to the same check in the live tests.

use migrations::EventLogMigrator;
use runtime::clock::SystemClock;
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::embedded::EmbeddedLog;
use runtime::event_log::{EventLog, NewRecord};
use std::sync::Arc;

async fn open(directory: &tempfile::TempDir) -> anyhow::Result<EmbeddedLog> {
    let database = Database::open(&DatabaseSettings::Sqlite(directory.path().join("events.sqlite"))).await?;
    database.migrate::<EventLogMigrator>().await?;
    Ok(EmbeddedLog::open(database, Arc::new(SystemClock)).await?)
}

#[tokio::test]
async fn the_embedded_log_conforms() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    e2e::conformance::check(&open(&directory).await?).await
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_opening_again() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let record =
        NewRecord { topic: "order.created".into(), key: None, value: Some(b"v".to_vec()), headers: Vec::new() };
    let log = open(&directory).await?;
    for result in log.append(vec![record.clone(), record]).await {
        result?;
    }
    drop(log);
    let log = open(&directory).await?;
    let mut subscription = log.subscribe("g", &["order.created".to_owned()]).await?;
    let mut offsets = Vec::new();
    while offsets.len() < 2 {
        if let Some(record) = subscription.records.next().await {
            offsets.push(record.at.offset);
        }
    }
    assert_eq!(offsets, [0, 1]);
    Ok(())
}
