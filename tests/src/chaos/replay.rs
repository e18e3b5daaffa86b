//! Every topic once more: I-7.

use super::Run;
use super::verify::{all_read, books, read_topics};
use crate::appended::{Appended, again, events};
use crate::topics::event_topics;
use anyhow::{Context, Result, ensure};
use order_system::asyncapi::READERS;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use runtime::event_log::EventLog;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How long the services may take to read everything again.
const PATIENCE: Duration = Duration::from_secs(120);

/// What must stay as it is: every row of every table but the stock's and the outbox's, and every event.
#[derive(Debug, PartialEq, Eq)]
struct Picture {
    rows: Vec<String>,
    events: HashSet<Uuid>,
}

/// A while of load; then, with the load stopped, the groups begin at offset 0 again; then every record is appended once
/// more, byte for byte.
pub(super) async fn replay(run: &Arc<Run>) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(run.options.seconds())).await;
    run.stop_load().await?;
    all_read(run, PATIENCE).await?;
    books(run).await?;
    let (before, records) = picture(run).await?;
    ensure!(records.len() > 100, "only {} records to replay", records.len());

    run.notes.fault("replay from offset 0", &format!("of {} records", records.len()));
    let places = run.fleet.places();
    for place in &places {
        run.fleet.kill(*place)?;
    }
    forget_offsets(run).await?;
    for place in &places {
        run.fleet.start(*place)?;
    }
    compare(run, &before, "reading all topics from offset 0").await?;

    run.notes.fault("append again", &format!("{} records", records.len()));
    append_again(run, records.iter()).await?;
    compare(run, &before, "every record appended once more").await
}

/// Appends these records once more, byte for byte.
pub(super) async fn append_again(run: &Run, records: impl Iterator<Item = &Appended>) -> Result<()> {
    let records = records.map(|appended| again(&appended.record)).collect();
    run.stack.log()?.append(records).await.into_iter().try_for_each(|appended| anyhow::Ok(appended?))
}

async fn compare(run: &Run, before: &Picture, what: &str) -> Result<()> {
    all_read(run, PATIENCE).await?;
    // What a replay brought forth would be sent by now.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (after, _) = picture(run).await?;
    let changed = after.rows.iter().zip(&before.rows).filter(|(after, before)| after != before);
    for (after, before) in changed.take(3) {
        run.notes.problem(format!("I-7: {what} changed {before}\n  to {after}"));
    }
    if after.rows.len() != before.rows.len() {
        run.notes.problem(format!("I-7: {what} made {} rows of {}", after.rows.len(), before.rows.len()));
    }
    let new = after.events.difference(&before.events).count();
    if new > 0 {
        run.notes.problem(format!("I-7: {what} brought forth {new} new events"));
    }
    run.notes.fact(format!("after {what}: {} rows and {} events, as before", after.rows.len(), after.events.len()));
    Ok(())
}

async fn picture(run: &Run) -> Result<(Picture, Vec<Appended>)> {
    let records = read_topics(run).await?;
    let events = events(&records)?.into_keys().collect();
    Ok((Picture { rows: run.rows(None).await?, events }, records))
}

/// Deletes the services' groups, which must have no members. Those of killed members leave when their session ends.
async fn forget_offsets(run: &Run) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &run.stack.kafka).create()?;
    let groups = READERS.map(|(group, _)| group);
    let mut left: Vec<&str> = groups.into();
    for _ in 0..60 {
        let deleted = admin.delete_groups(&left, &AdminOptions::new()).await?;
        left = groups
            .into_iter()
            .filter(|group| deleted.iter().any(|result| result.as_ref().is_err_and(|(name, _)| name == group)))
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Err(anyhow::anyhow!("the groups {left:?} still have members")).context(event_topics().join(" "))
}
