//! What is sent twice, or wanted by two at once: a crash in between, and two replicas on one database.

use crate::two::{LIST, Two, confirmed, is_sent_again, malformed, path, text};
use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use e2e::api::Service;
use e2e::rig;
use e2e::topics::read_all;
use migrations::OrderMigrator;
use runtime::actors::mailbox::Meter;
use runtime::audit::store::{Wanted, newest};
use runtime::clock::SystemClock;
use runtime::database::{Database, DatabaseSettings};
use runtime::dead_letters::DeadLetters;
use runtime::dead_letters::letter::Letter;
use runtime::dead_letters::store::wishes::{Correction, Unchanged, discard, next_wanted, sent, subject, want};
use runtime::dead_letters::store::{State, find, keep};
use runtime::event_log::embedded::EmbeddedLog;
use runtime::event_log::{EventLog, LogError, NewRecord, Partition, Position, Record, Subscription};
use runtime::http::Caller;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Notify;

/// A log that takes what is sent again, and never says so: as it is for a service that is killed before it hears of it.
struct Mute(Arc<EmbeddedLog>);

#[async_trait]
impl EventLog for Mute {
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<(), LogError>> {
        let is_sent_again = is_sent_again(records.iter().flat_map(|record| &record.headers));
        let answer = self.0.append(records).await;
        if is_sent_again {
            std::future::pending::<()>().await;
        }
        answer
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Subscription, LogError> {
        self.0.subscribe(group, topics).await
    }

    fn partition_of(&self, key: &[u8]) -> Option<i32> {
        self.0.partition_of(key)
    }
}

/// Cut off between the topic and the row, a redrive is done again: a duplicate on the topic, and one effect.
#[tokio::test]
async fn a_redrive_that_is_cut_off_is_done_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let two = Two::start_over(directory.path(), |log| Arc::new(Mute(log)) as Arc<dyn EventLog>).await?;
    let order = two.placed().await?;
    two.append(malformed(&order)?).await?;
    let path = path(&two.letters(Service::Inventory, LIST, 1).await?[0]);
    let corrected = json!({"payload": text(&confirmed(&order)?)});
    let (status, wanted) = two.post(Service::Inventory, &format!("{path}/redrive"), &corrected).await?;
    assert_eq!((status.as_u16(), &wanted["state"]), (202, &json!("OPEN")), "{wanted}");
    assert!(wanted["redriveRequestedAt"].is_string(), "it is not known to have been sent: {wanted}");
    let (status, twice) = two.post(Service::Inventory, &format!("{path}/redrive"), &corrected).await?;
    assert_eq!(status, 409, "{twice}");
    let (status, sent) = two.post(Service::Inventory, &format!("{path}/discard"), &json!({"reason": "x"})).await?;
    assert_eq!(status, 409, "{sent}");
    let before = two.api.until_final(&order).await?;
    two.stop().await;

    let two = Two::start(directory.path()).await?;
    two.letters(Service::Inventory, &format!("{LIST}?state=REDRIVEN"), 1).await?;
    let letter = two.api.get(Service::Inventory, &path).await?;
    assert_eq!((&letter["redriven"], letter.get("redriveRequestedAt")), (&json!(1), None), "{letter}");
    let records = read_all(&*two.log, &["payment.confirmed".to_owned()]).await?;
    assert_eq!(records.iter().filter(|record| is_sent_again(record.headers.iter())).count(), 2, "sent twice");
    let other = two.placed().await?;
    two.append(confirmed(&other)?).await?;
    two.api.until_final(&other).await?;
    assert_eq!(two.api.get(Service::Order, &format!("/api/orders/{order}")).await?, before);
    assert_eq!(two.api.get(Service::Inventory, "/api/stock/P1").await?["reserved"], 4, "twice two units");
    two.stop().await;
    Ok(())
}

const TOPIC: &str = "payment.confirmed";

/// A replica of order-service, as far as its dead letters go.
async fn replica(directory: &Path, log: &Arc<EmbeddedLog>) -> Result<Arc<DeadLetters>> {
    let database = Database::open(&DatabaseSettings::Sqlite(directory.join("order.sqlite"))).await?;
    database.migrate::<OrderMigrator>().await?;
    Ok(Arc::new(DeadLetters {
        service: "order-service",
        topics: vec![TOPIC.to_owned()],
        database,
        log: Arc::clone(log) as Arc<dyn EventLog>,
        clock: Arc::new(SystemClock),
        wanted: Notify::new(),
        meter: Meter::of("order-service", "dead-letters"),
    }))
}

/// The letter that this message becomes.
fn letter(message: NewRecord, offset: i64) -> Result<Letter> {
    let at = Position { partition: Partition { topic: format!("{TOPIC}.dlt"), partition: 0 }, offset };
    let headers = vec![("dlt-consumer-group".to_owned(), b"order-service".to_vec())];
    Letter::of(Record { at, key: message.key, value: message.value, headers }, "order-service").context("its own")
}

/// Of two who want the same letter at once one is refused, and so is one of two of whom the other discards it.
#[tokio::test]
async fn two_replicas_are_not_asked_for_one_letter() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = rig::log(directory.path()).await?;
    let (a, b) = (replica(directory.path(), &log).await?, replica(directory.path(), &log).await?);
    for offset in 0..20 {
        let letter = letter(malformed(&uuid::Uuid::now_v7().to_string())?, offset)?;
        let id = letter.id;
        // Both may read it from the topic.
        keep(&a, letter.clone()).await?;
        keep(&b, letter).await?;
        let first = want(&a, Caller::anyone(), id, Correction::default());
        let second = async {
            if offset % 2 == 0 {
                want(&b, Caller::anyone(), id, Correction::default()).await
            } else {
                discard(&b, Caller::anyone(), id, "not needed".into()).await
            }
        };
        let (first, second) = tokio::join!(first, second);
        let refused: Vec<Unchanged> = [first, second].into_iter().filter_map(Result::err).collect();
        ensure!(matches!(refused[..], [Unchanged::Impossible(_)]), "{offset}: {refused:?}");
        let found = find(&b.database, id).await?.context("the letter")?;
        ensure!(found.wanted_at.is_some() == (found.state == State::Open), "{offset}: {:?}", found.state);
        let wanted = Wanted { subject: Some(subject(id)), ..Wanted::default() };
        assert_eq!(newest(&a.database.read, wanted, 10).await?.len(), 1, "{offset}: one was done, and one noted");
    }
    Ok(())
}

/// While the log changes its mind about who reads, two may send one letter: the same message twice, counted once, which
/// is a duplicate to whoever reads it. A wish that comes later is not taken for the one that was done.
#[tokio::test]
async fn two_replicas_that_send_one_letter_count_it_once() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = rig::log(directory.path()).await?;
    let (a, b) = (replica(directory.path(), &log).await?, replica(directory.path(), &log).await?);
    let letter = letter(malformed(&uuid::Uuid::now_v7().to_string())?, 0)?;
    let id = letter.id;
    keep(&a, letter).await?;
    want(&a, Caller::anyone(), id, Correction::default()).await?;

    let topics = BTreeSet::from([TOPIC.to_owned()]);
    let at_a = next_wanted(&a.database, &topics).await?.context("it is wanted")?;
    let at_b = next_wanted(&b.database, &topics).await?.context("it is wanted, at the other too")?;
    rig::append(&*log, vec![at_a.message()?]).await?;
    sent(&a, &at_a, Ok(())).await?;
    assert!(next_wanted(&b.database, &topics).await?.is_none(), "who looks now has nothing to send");
    rig::append(&*log, vec![at_b.message()?]).await?;
    // Somebody wants it again, before the second has said that it was sent.
    want(&a, Caller::anyone(), id, Correction::default()).await?;
    sent(&b, &at_b, Ok(())).await?;
    sent(&b, &at_b, Err("the log refused it".into())).await?;

    let found = find(&a.database, id).await?.context("the letter")?;
    assert_eq!((found.redrives, found.state, &found.failure), (1, State::Redriven, &None), "counted once");
    assert!(found.wanted_at.is_some(), "the later wish is still to be done");
    let records = read_all(&*log, &[TOPIC.to_owned()]).await?;
    ensure!(records.len() == 2, "{records:?}");
    assert_eq!((&records[0].key, &records[0].value), (&records[1].key, &records[1].value));
    assert_eq!(records[0].headers, records[1].headers);
    Ok(())
}
