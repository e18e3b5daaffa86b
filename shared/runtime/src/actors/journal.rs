//! The journal, through which every write of a service goes, and its counterpart for reads.

use super::Wiring;
use super::address::Address;
use super::group_commit::{Batch, Pause};
use super::publisher::PublisherMessage;
use crate::backoff::Backoff;
use crate::saga::{Saga, Step};
use crate::store::{Loaded, OutboxKey, StoreError, Verdict};
use async_trait::async_trait;
use contracts::OrderId;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

/// A write.
#[derive(Debug)]
pub enum Write<S: Saga> {
    /// A decided step, and whether its events are this replica's to publish.
    Step {
        /// The step.
        step: Box<Step<S>>,
        /// If not, its rows wait in the outbox for the order's owner.
        publish: bool,
    },
    /// Rows of the outbox that the log has acknowledged; they can go.
    Sent(Vec<OutboxKey>),
}

/// What became of a write.
#[derive(Debug)]
pub enum Written<S: Saga> {
    /// Of a step.
    Step(Box<Verdict<S>>),
    /// The rows are gone.
    Deleted,
    /// The rows are still there, or may be.
    Kept,
}

/// Commits the steps of many orders in one transaction, and hands their events to the publisher.
pub struct Journal<S: Saga>(pub Arc<Wiring<S>>);

#[async_trait]
impl<S: Saga> Batch for Journal<S> {
    type Item = Write<S>;
    type Answer = Written<S>;
    const LIMIT: usize = 500;

    fn pause(&self) -> Pause {
        match !S::CALLERS_WAIT && self.0.store.is_remote() {
            true => Pause::LONG,
            false => Pause::SHORT,
        }
    }

    async fn run(&self, writes: Vec<Write<S>>) -> Vec<Written<S>> {
        let wiring = &self.0;
        let mut steps = Vec::new();
        let mut publish = Vec::new();
        let mut sent = Vec::new();
        let is_step: Vec<bool> = writes
            .into_iter()
            .map(|write| match write {
                Write::Step { step, publish: is_ours } => {
                    steps.push(*step);
                    publish.push(is_ours);
                    true
                }
                Write::Sent(keys) => {
                    sent.extend(keys);
                    false
                }
            })
            .collect();
        if !steps.is_empty() {
            metrics::histogram!("journal_batch_size", "service" => S::SERVICE).record(steps.len() as f64);
        }
        let started = Instant::now();
        let size = steps.len();
        let note = |answer| wiring.health.note_write(answer);
        let committed = until_answered::<S, _, _>(note, || wiring.store.commit(&steps, &sent)).await;
        let is_committed = committed.is_ok();
        let mut verdicts = committed.unwrap_or_else(|error| vec![Verdict::Refused(error.to_string()); size]);
        metrics::histogram!("journal_commit_seconds", "service" => S::SERVICE).record(started.elapsed().as_secs_f64());
        count_events(&verdicts);
        hand_over(&wiring.publisher, &mut verdicts, &publish);
        let mut verdicts = verdicts.into_iter();
        let answer = |is_step| match is_step {
            true => Written::Step(Box::new(verdicts.next().unwrap_or(Verdict::Conflict))),
            false if is_committed => Written::Deleted,
            false => Written::Kept,
        };
        is_step.into_iter().map(answer).collect()
    }
}

/// Counts what happened, as the others are told of it.
fn count_events<S: Saga>(verdicts: &[Verdict<S>]) {
    let mut counts: HashMap<&'static str, u64> = HashMap::new();
    for verdict in verdicts {
        match verdict {
            Verdict::Committed(_, rows) => {
                rows.iter().for_each(|row| *counts.entry(row.event_type.name()).or_default() += 1)
            }
            Verdict::Conflict | Verdict::Refused(_) => {}
        }
    }
    for (event, count) in counts {
        metrics::counter!("saga_events_total", "service" => S::SERVICE, "event" => event).increment(count);
    }
}

fn hand_over<S: Saga>(publisher: &Address<PublisherMessage>, verdicts: &mut [Verdict<S>], publish: &[bool]) {
    let rows: Vec<_> = verdicts
        .iter_mut()
        .zip(publish)
        .filter_map(|(verdict, publish)| match verdict {
            Verdict::Committed(_, rows) if *publish => Some(std::mem::take(rows)),
            // What an attempt committed without our seeing it is a conflict by now; who loads it finds its rows.
            Verdict::Committed(..) | Verdict::Conflict | Verdict::Refused(_) => None,
        })
        .flatten()
        .collect();
    if !rows.is_empty() {
        // A publisher that is being started again reads the table first.
        let _ = publisher.cast(PublisherMessage::Committed(rows));
    }
}

/// Loads many orders with one query.
pub struct Loader<S: Saga>(pub Arc<Wiring<S>>);

#[async_trait]
impl<S: Saga> Batch for Loader<S> {
    type Item = OrderId;
    type Answer = Result<Option<Box<Loaded<S>>>, StoreError>;
    const LIMIT: usize = 500;

    async fn run(&self, orders: Vec<OrderId>) -> Vec<Self::Answer> {
        let wiring = &self.0;
        let note = |answer| wiring.health.note_read(answer);
        match until_answered::<S, _, _>(note, || wiring.store.load(&orders)).await {
            Ok(found) => {
                let found: HashMap<OrderId, Loaded<S>> =
                    found.into_iter().map(|loaded| (loaded.instance.order, loaded)).collect();
                // One order may have been asked for twice, if its actor was killed.
                orders.iter().map(|order| Ok(found.get(order).cloned().map(Box::new))).collect()
            }
            // One that cannot be read takes no other with it.
            Err(_) if orders.len() > 1 => {
                let (some, others) = orders.split_at(orders.len() / 2);
                let mut answers = self.run(some.to_vec()).await;
                answers.extend(self.run(others.to_vec()).await);
                answers
            }
            Err(error) => vec![Err(error)],
        }
    }
}

/// Asks the database until it answers, and notes each answer. While it is away the service is not ready, its consumer
/// stands still, and nothing is given up.
async fn until_answered<S: Saga, T, F: Future<Output = Result<T, StoreError>>>(
    note: impl Fn(Result<(), String>),
    mut ask: impl FnMut() -> F,
) -> Result<T, StoreError> {
    let mut backoff = Backoff::default();
    loop {
        match ask().await {
            Err(error) if error.transient => {
                note(Err(error.to_string()));
                tracing::warn!(service = S::SERVICE, %error, "the database does not answer; trying again");
                backoff.wait().await;
            }
            Err(error) if error.damaged => {
                // Nothing is answered, so nothing is taken for done; the supervisor gives up when it stays so.
                note(Err(error.to_string()));
                panic!("the database is damaged: {error}");
            }
            answer => {
                note(Ok(()));
                return answer;
            }
        }
    }
}
