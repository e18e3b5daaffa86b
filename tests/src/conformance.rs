//! What every event log must do, whatever is behind it.

use crate::topics;
use anyhow::{Context, Result, ensure};
use runtime::event_log::{EventLog, NewRecord, Record, Subscription};
use std::collections::HashMap;
use std::time::Duration;
use uuid::Uuid;

/// How long a delivery may take: joining a group of Kafka takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// A topic that every log has.
const TOPIC: &str = "order.created";
const OTHER_TOPIC: &str = "payment.confirmed";

fn record(topic: &str, key: &str, value: String) -> NewRecord {
    let headers = vec![("event-type".to_owned(), b"Test".to_vec())];
    NewRecord { topic: topic.into(), key: Some(key.as_bytes().to_vec()), value: Some(value.into_bytes()), headers }
}

async fn append(log: &dyn EventLog, records: Vec<NewRecord>) -> Result<()> {
    log.append(records).await.into_iter().try_for_each(|result| Ok(result?))
}

/// The next `count` records whose value begins with `mark`. Records of other tests are dealt with, too.
async fn next(subscription: &mut Subscription, mark: &str, count: usize) -> Result<Vec<Record>> {
    let mut found = Vec::new();
    while found.len() < count {
        let record = tokio::time::timeout(PATIENCE, topics::next(subscription))
            .await
            .with_context(|| format!("only {} of {count} records of {mark} came", found.len()))??;
        if text(&record).starts_with(mark) {
            found.push(record);
        }
    }
    Ok(found)
}

fn text(record: &Record) -> String {
    String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
}

/// Runs every check.
pub async fn check(log: &dyn EventLog) -> Result<()> {
    order_per_key(log).await.context("order per key")?;
    from_the_stored_offset(log).await.context("redelivery from the stored offset")?;
    groups_are_apart(log).await.context("groups read for themselves, from the beginning")?;
    what_is_written_is_read(log).await.context("what is written is read")
}

async fn order_per_key(log: &dyn EventLog) -> Result<()> {
    let mark = Uuid::new_v4().to_string();
    let records = (0..300).map(|i| record(TOPIC, &format!("key-{}", i % 7), format!("{mark} {i:04}"))).collect();
    append(log, records).await?;
    let mut subscription = log.subscribe(&mark, &[TOPIC.to_owned()]).await?;
    let mut last: HashMap<Vec<u8>, String> = HashMap::new();
    for record in next(&mut subscription, &mark, 300).await? {
        let value = text(&record);
        let before = last.insert(record.key.context("no key")?, value.clone());
        ensure!(before.as_ref() < Some(&value), "{value} came after {before:?}");
    }
    Ok(())
}

async fn from_the_stored_offset(log: &dyn EventLog) -> Result<()> {
    let mark = Uuid::new_v4().to_string();
    append(log, (0..20).map(|i| record(TOPIC, "one-key", format!("{mark} {i:02}"))).collect()).await?;
    let mut first = log.subscribe(&mark, &[TOPIC.to_owned()]).await?;
    let read = next(&mut first, &mark, 20).await?;
    let seventh = &read[6].at;
    first.membership.store(&seventh.partition, seventh.offset + 1);
    first.membership.leave().await;
    // A member that has just left may still hold the group for a moment; the log sorts that out.
    let mut second = log.subscribe(&mark, &[TOPIC.to_owned()]).await?;
    let again: Vec<String> = next(&mut second, &mark, 13).await?.iter().map(text).collect();
    let expected: Vec<String> = (7..20).map(|i| format!("{mark} {i:02}")).collect();
    ensure!(again == expected, "{again:?}");
    Ok(())
}

async fn groups_are_apart(log: &dyn EventLog) -> Result<()> {
    let mark = Uuid::new_v4().to_string();
    append(log, vec![record(TOPIC, "k", format!("{mark} a")), record(OTHER_TOPIC, "k", format!("{mark} b"))]).await?;
    for group in ["x", "y"] {
        let topics = [TOPIC.to_owned(), OTHER_TOPIC.to_owned()];
        let mut subscription = log.subscribe(&format!("{mark}-{group}"), &topics).await?;
        let mut values: Vec<String> = next(&mut subscription, &mark, 2).await?.iter().map(text).collect();
        values.sort();
        ensure!(values == [format!("{mark} a"), format!("{mark} b")], "{group}: {values:?}");
    }
    Ok(())
}

async fn what_is_written_is_read(log: &dyn EventLog) -> Result<()> {
    let mark = Uuid::new_v4().to_string();
    let mut subscription = log.subscribe(&mark, &[TOPIC.to_owned()]).await?;
    // Also while somebody is waiting: an append wakes its readers.
    let written = record(TOPIC, "a key", format!("{mark} ü"));
    append(log, vec![written.clone()]).await?;
    let read = next(&mut subscription, &mark, 1).await?.remove(0);
    ensure!(read.key == written.key && read.value == written.value && read.headers == written.headers, "{read:?}");
    Ok(())
}
