//! The embedded event log does what every event log must. Kafka is put to the same check in the live tests.

use contracts::Timestamp;
use e2e::topics::read_all;
use migrations::EventLogMigrator;
use runtime::clock::{Clock, SetClock, SystemClock};
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::embedded::EmbeddedLog;
use runtime::event_log::{EventLog, NewRecord, Partition};
use std::sync::Arc;

async fn open(directory: &tempfile::TempDir) -> anyhow::Result<EmbeddedLog> {
    open_at(directory, Arc::new(SystemClock)).await
}

async fn open_at(directory: &tempfile::TempDir, clock: Arc<dyn Clock>) -> anyhow::Result<EmbeddedLog> {
    let database = Database::open(&DatabaseSettings::Sqlite(directory.path().join("events.sqlite"))).await?;
    database.migrate::<EventLogMigrator>().await?;
    Ok(EmbeddedLog::open(database, clock).await?)
}

/// What every group has read goes after seven days, and nothing else: not what one of them has still to read, not what
/// is younger, not the last one, behind which the topic goes on.
#[tokio::test]
async fn what_was_read_goes_after_seven_days() -> anyhow::Result<()> {
    const DAY: i64 = 24 * 3_600_000;
    let directory = tempfile::tempdir()?;
    let (created, failed) = ("order.created".to_owned(), "order.failed".to_owned());
    let record = |topic: &String| NewRecord { topic: topic.clone(), key: None, value: None, headers: Vec::new() };
    let first = Timestamp(1_000_000);
    // The day, what is appended to each topic then, and how far the two groups have read behind that.
    for (day, count, read) in [(0, 10, [6, 8]), (3, 5, [12, 12]), (8, 1, [12, 12]), (20, 0, [12, 12])] {
        let log = open_at(&directory, Arc::new(SetClock::new(first.plus_millis(day * DAY)))).await?;
        let both = [created.clone(), failed.clone()];
        for topic in &both {
            for result in log.append(vec![record(topic); count]).await {
                result?;
            }
        }
        for (group, next) in ["a", "b"].into_iter().zip(read) {
            let member = log.subscribe(group, &both).await?.membership;
            // Nobody reads the other topic to any end.
            member.store(&Partition { topic: created.clone(), partition: 0 }, next);
            member.leave().await;
        }
    }
    let log = open(&directory).await?;
    let left = |topic: &String| {
        let topics = [topic.clone()];
        let log = &log;
        async move {
            let offsets = read_all(log, &topics).await?.into_iter().map(|record| record.at.offset);
            anyhow::Ok(offsets.collect::<Vec<_>>())
        }
    };
    assert_eq!(left(&created).await?, (12..16).collect::<Vec<_>>());
    assert_eq!(left(&failed).await?, (0..16).collect::<Vec<_>>());
    Ok(())
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

#[tokio::test]
async fn between_the_file_and_memory_nothing_is_missed_or_repeated() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let log = open(&directory).await?;
    // Sixteen KiB each: a megabyte is kept in memory, so that the first ones are in the file alone.
    let append = async |numbers: std::ops::Range<u8>| {
        let record = |n| NewRecord {
            topic: "order.created".into(),
            key: None,
            value: Some(vec![n; 16 << 10]),
            headers: Vec::new(),
        };
        log.append(numbers.map(record).collect()).await.into_iter().collect::<Result<Vec<()>, _>>()
    };
    append(0..100).await?;
    let mut subscription = log.subscribe("g", &["order.created".to_owned()]).await?;
    let append_more = async {
        for n in 100..200 {
            append(n..n + 1).await?;
        }
        anyhow::Ok(())
    };
    let read = async {
        let mut read = Vec::new();
        while read.len() < 200
            && let Some(record) = subscription.records.next().await
        {
            read.push((record.at.offset, record.value.as_ref().map(|value| value[0])));
        }
        anyhow::Ok(read)
    };
    let ((), read) = tokio::try_join!(append_more, read)?;
    let expected: Vec<_> = (0..200).map(|n| (i64::from(n), Some(n))).collect();
    assert_eq!(read, expected);
    Ok(())
}
