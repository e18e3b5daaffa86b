//! The books, once everything is healed.

use super::report::Report;
use super::tally::Cancel;
use super::{Run, Scenario, faults};
use crate::appended::{self, Appended, Event, events, lag, out_of_order, read_to_end};
use crate::audit::{Audited, Violations};
use crate::programs::{INITIAL_STOCK, SERVICES};
use crate::topics::{check_against, check_fields, event_topics};
use anyhow::{Context, Result, bail};
use order_service::saga::Stage;
use order_system::asyncapi::READERS;
use runtime::event_log::{DEAD_LETTER_SUFFIX, Record};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, Statement};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long the system may take to become quiet after everything was healed.
const QUIET: Duration = Duration::from_secs(150);
/// How long the backlog of a run of kills may stand.
const BACKLOG: Duration = Duration::from_secs(30);
/// Orders whose story is told.
const STORIES: usize = 3;
/// The tables that hold orders, and whose they are, as in `SERVICES`.
const TABLES: [(usize, &str); 5] =
    [(0, "orders"), (1, "payments"), (2, "reservations"), (3, "notices"), (3, "notifications")];

/// Waits until the system is quiet, and looks for everything that must not be.
pub(super) async fn verify(run: &Run) -> Result<Report> {
    let healed = Instant::now();
    if run.watch.until_caught_up(QUIET).await.is_none() {
        run.notes.problem(format!("{} orders were not final {QUIET:?} after all was healed", run.watch.seen().pending));
    }
    if let Err(error) = all_read(run, QUIET).await {
        run.notes.problem(format!("{error:#}"));
    }
    let backlog = healed.elapsed();
    if run.options.scenario == Scenario::Kills && backlog > BACKLOG {
        run.notes.problem(format!("the backlog was gone only after {backlog:.1?}"));
    }
    if let Err(error) = run.until_ready().await {
        run.notes.problem(format!("{error:#}"));
    }
    let audited = books(run).await?;
    let records = read_topics(run).await?;
    let events = events(&records).map_err(|error| run.notes.problem(format!("{error:#}"))).unwrap_or_default();
    if let Some(audited) = &audited {
        check_topics(run, &records, &events, audited);
        check_tally(run, audited);
    }
    check_dead_letters(run, &records).await?;
    check_stock(run).await?;
    if let (Some(sandbox), Some(audited)) = (&run.sandbox, &audited) {
        sandbox.check(run, audited).await?;
    }
    let mut report = Report::new(run, audited.as_ref(), &records, &events, backlog);
    check_not_vacuous(run, &report);
    report.take(run.notes.lock());
    let told: Vec<Uuid> = report.problems.iter().filter_map(|problem| problem.order).take(STORIES).collect();
    for order in told {
        report.stories.push(story(run, order, &records).await?);
    }
    if !report.problems.is_empty() {
        report.stories.push(run.fleet.programs.story());
    }
    Ok(report)
}

/// Waits until every group has read everything.
pub(super) async fn all_read(run: &Run, patience: Duration) -> Result<()> {
    let started = Instant::now();
    for (group, reads) in READERS {
        loop {
            let topics: Vec<String> = reads.iter().map(|event_type| event_type.topic().to_owned()).collect();
            let servers = run.stack.kafka.clone();
            match tokio::task::spawn_blocking(move || lag(&servers, group, &topics)).await? {
                Ok(0) => break,
                late if started.elapsed() > patience => bail!("{group} has not read everything: {late:?} are left"),
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(300)).await,
            }
        }
    }
    Ok(())
}

/// The audit of the four databases, and what they hold if all is well.
pub(super) async fn books(run: &Run) -> Result<Option<Audited>> {
    let databases = run.stack.databases().await?;
    match databases.audit_within(Duration::from_secs(60), &[]).await {
        Ok(audited) => Ok(Some(audited)),
        Err(error) => {
            let Some(violations) = error.downcast_ref::<Violations>() else { return Err(error) };
            run.notes.problems(violations.under_way.iter().map(|what| (None, format!("still under way: {what}"))));
            run.notes.problems(violations.found.iter().map(|found| (found.order, found.to_string())));
            Ok(None)
        }
    }
}

/// Every event on the topics.
pub(super) async fn read_topics(run: &Run) -> Result<Vec<Appended>> {
    let servers = run.stack.kafka.clone();
    tokio::task::spawn_blocking(move || read_to_end(&servers, &event_topics())).await?.context("reading the topics")
}

fn check_topics(run: &Run, records: &[Appended], events: &HashMap<Uuid, Event>, audited: &Audited) {
    let plain: Vec<Record> = records.iter().map(|appended| appended.record.clone()).collect();
    for record in &plain {
        if let Err(error) = check_fields(record) {
            run.notes.problem(format!("I-6: {error:#}"));
        }
    }
    if let Err(error) = check_against(&plain, audited) {
        run.notes.problem(format!("I-6: {error:#}"));
    }
    run.notes.problems(
        out_of_order(events).into_iter().map(|(order, what)| (Some(order), format!("{what}; order {order}"))),
    );
    let unknown = events.values().filter(|event| !audited.orders.contains_key(&event.order));
    run.notes.problems(unknown.map(|event| (Some(event.order), format!("I-6: {:?} of no order", event.event_type))));
}

fn check_tally(run: &Run, audited: &Audited) {
    let count = run.tally.lock();
    run.notes.problems(count.wrong.iter().map(|wrong| (None, format!("HTTP: {wrong}"))));
    for (id, accepted) in &count.accepted {
        match audited.orders.get(id) {
            None => run.notes.problems([(Some(*id), format!("I-1: order {id} was accepted, and is lost"))]),
            Some(order) => {
                let wrong = accepted.judge(&order.state).map(|what| (Some(*id), format!("order {id}: {what}")));
                run.notes.problems(wrong);
                // Outages may not use up the time of orders; faults of every kind at once may.
                let code = order.state.reason.as_ref().map_or("", |reason| reason.code.as_str());
                if code.ends_with("_TIMEOUT") && run.options.scenario != Scenario::Random {
                    run.notes.problems([(Some(*id), format!("order {id} ran into a deadline: {code}"))]);
                }
            }
        }
    }
    let unasked = audited.orders.keys().filter(|id| !count.accepted.contains_key(id)).count();
    let unknown: u64 = count.unknown.values().sum();
    if u64::try_from(unasked).unwrap_or(u64::MAX) > unknown {
        run.notes.problem(format!("{unasked} orders were not accepted, and only {unknown} POSTs had no clear answer"));
    }
}

/// No message of such a run is bad, so there must be no dead letters; those that there are must hold what they should.
async fn check_dead_letters(run: &Run, records: &[Appended]) -> Result<()> {
    let servers = run.stack.kafka.clone();
    let topics: Vec<String> = event_topics().iter().map(|topic| format!("{topic}{DEAD_LETTER_SUFFIX}")).collect();
    let letters = tokio::task::spawn_blocking(move || read_to_end(&servers, &topics)).await?.context("dead letters")?;
    for letter in &letters {
        let why = letter.record.header("dlt-error").unwrap_or("no reason");
        let order = letter.record.key.as_deref().and_then(|key| Uuid::try_parse_ascii(key).ok());
        let who = letter.record.header("dlt-consumer-group").unwrap_or("nobody");
        run.notes.problems([(order, format!("a dead letter on {} by {who}: {why}", letter.record.at.partition.topic))]);
    }
    let letters: Vec<Record> = letters.into_iter().map(|letter| letter.record).collect();
    if let Err(error) = appended::check_dead_letters(&letters, records) {
        run.notes.problem(format!("{error:#}"));
    }
    Ok(())
}

/// I-4: orders do not change what is on hand.
async fn check_stock(run: &Run) -> Result<()> {
    let databases = run.stack.databases().await?;
    for shelf in inventory_service::stock::Entity::find().all(&databases.0[2].read).await? {
        if shelf.on_hand != INITIAL_STOCK && run.options.scenario != Scenario::LastUnits {
            run.notes.problem(format!("I-4: on hand were {INITIAL_STOCK}, and are {shelf:?}"));
        }
    }
    Ok(())
}

/// A run in which nothing happened shows nothing.
fn check_not_vacuous(run: &Run, report: &Report) {
    let least = |what: &str, is: usize, least: usize| {
        if is < least {
            run.notes.problem(format!("vacuous: {is} {what}, and there should be {least} at least"));
        }
    };
    least("orders CONFIRMED", report.ended(Stage::Confirmed), 50);
    least("orders FAILED", report.ended(Stage::Failed), 5);
    if run.options.rate() > 0 {
        let accepted = run.tally.lock().accepted.values().filter(|order| order.cancel == Cancel::Accepted).count();
        least("orders called off", accepted, 5);
        least("orders CANCELLED", report.ended(Stage::Cancelled), 5);
    }
    let fired = |kind: &str| run.notes.lock().faults.get(kind).map_or(0, |count| usize::try_from(*count).unwrap_or(0));
    match run.options.scenario {
        Scenario::Random => {
            for (kind, _) in faults::Kind::possible(run) {
                least(kind.name(), fired(kind.name()), 1);
            }
            least("duplicates on the topics", report.duplicates, 1);
        }
        Scenario::Kills => {
            let kills = usize::try_from(run.options.kills).unwrap_or(usize::MAX);
            least("kills", fired(faults::Kind::Kill.name()), kills);
            least("duplicates on the topics", report.duplicates, kills / 50);
        }
        Scenario::Replay => least("duplicates on the topics", report.duplicates, 100),
        Scenario::Churn => least("joins", fired("join"), 3),
        Scenario::Drain if report.duplicates > report.records / 100 => {
            run.notes.problem(format!("{} of {} records are duplicates", report.duplicates, report.records));
        }
        Scenario::KafkaAway
        | Scenario::PostgresAway
        | Scenario::ReplicaKilled
        | Scenario::ReplicaFrozen
        | Scenario::Together
        | Scenario::LastUnits
        | Scenario::Overload
        | Scenario::KafkaSlow
        | Scenario::Drain => {}
    }
}

impl Run {
    /// The rows of all orders, or of one, as JSON.
    pub(super) async fn rows(&self, order: Option<Uuid>) -> Result<Vec<String>> {
        let databases = self.stack.databases().await?;
        let mut rows = Vec::new();
        for (service, table) in TABLES {
            let of = order.map_or_else(String::new, |order| format!(" WHERE order_id = '{order}'"));
            // The ids of what was applied say little to people.
            let query = format!("SELECT (to_jsonb({table}) - 'applied')::text FROM {table}{of} ORDER BY 1");
            let statement = Statement::from_string(DbBackend::Postgres, query);
            for row in databases.0[service].read.query_all_raw(statement).await? {
                rows.push(format!("{}.{table} {}", SERVICES[service].1, row.try_get_by_index::<String>(0)?));
            }
        }
        Ok(rows)
    }
}

/// All that is known of an order.
async fn story(run: &Run, order: Uuid, records: &[Appended]) -> Result<String> {
    let mut story = format!("order {order}, as it was sent: {:?}\n", run.tally.lock().accepted.get(&order));
    for row in run.rows(Some(order)).await? {
        story.push_str(&format!("  {row}\n"));
    }
    let key = order.to_string();
    let mut said: Vec<&Appended> =
        records.iter().filter(|appended| appended.record.key.as_deref() == Some(key.as_bytes())).collect();
    said.sort_by_key(|appended| appended.at);
    for Appended { record, at } in said {
        let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
        let place = &record.at;
        story.push_str(&format!(
            "  {at} {}/{}@{} {value}\n",
            place.partition.topic, place.partition.partition, place.offset
        ));
    }
    Ok(story)
}
