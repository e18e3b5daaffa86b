//! The publisher: takes rows of the outbox to the event log, in the order of each order's events.
//!
//! A producer keeps order only within one topic and partition, so for one order the next event waits until the log
//! has acknowledged the last one. A row is deleted only after that acknowledgement. Rows that exist are unsent: after
//! a crash, and whenever more is committed than this actor wants to hold, it reads them from the table. That is one
//! path, and every start takes it.

use super::Wiring;
use super::group_commit::Request;
use super::journal::{Write, Written};
use crate::backoff::Backoff;
use crate::event_log::{LogError, NewRecord};
use crate::saga::{Outgoing, Saga};
use crate::store::{OutboxKey, StoreError};
use async_trait::async_trait;
use contracts::OrderId;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Rows that the publisher holds before it leaves further ones in the table.
const HELD: usize = 20_000;
/// Rows of one read of the table.
const PAGE: u64 = 1_000;
/// How long rows that were sent may stay in the table, so that many go together. A crash sends them once more.
const DELETE_AFTER: Duration = Duration::from_millis(20);

/// A message to the publisher.
#[derive(Debug)]
pub enum PublisherMessage {
    /// These rows were committed.
    Committed(Vec<Outgoing>),
    /// A commit's outcome was not seen: the table may hold rows that were not handed over.
    Unsure,
    /// The log has answered for the first event of each of these orders.
    Appended(Vec<OrderId>, Vec<Result<(), LogError>>),
    /// It is time to delete what was sent.
    Delete,
    /// These rows are gone from the table, or (false) perhaps not.
    Deleted(usize, bool),
    /// What the table holds.
    Unsent(Result<Vec<Outgoing>, StoreError>),
}

/// The actor.
pub struct Publisher<S: Saga>(pub Arc<Wiring<S>>);

/// What is on its way.
#[derive(Debug)]
pub struct Lanes {
    /// Per order, the event that the log has been given, and those that wait behind it.
    lanes: HashMap<OrderId, VecDeque<Outgoing>>,
    /// Rows that are held, or sent and not yet deleted.
    outstanding: usize,
    /// The table may have rows that are not held: read it when nothing is outstanding.
    behind: bool,
    /// Rows were left in the table since the running read began.
    missed: bool,
    reading: bool,
    /// Sent, and still in the table.
    sent: Vec<OutboxKey>,
    backoff: Backoff,
}

impl<S: Saga> Publisher<S> {
    /// Puts rows into their lanes, and gives the log those that nothing is before.
    fn send(&self, myself: &ActorRef<PublisherMessage>, lanes: &mut Lanes, rows: Vec<Outgoing>) {
        lanes.outstanding += rows.len();
        let mut first = Vec::new();
        for row in rows {
            let lane = lanes.lanes.entry(row.order).or_default();
            if lane.is_empty() {
                first.push(row.clone());
            }
            lane.push_back(row);
        }
        self.append(myself, first);
    }

    fn append(&self, myself: &ActorRef<PublisherMessage>, rows: Vec<Outgoing>) {
        if rows.is_empty() {
            return;
        }
        let orders = rows.iter().map(|row| row.order).collect();
        let records = rows.into_iter().map(record).collect();
        let log = Arc::clone(&self.0.log);
        let myself = myself.clone();
        tokio::spawn(async move {
            let results = log.append(records).await;
            let _ = myself.cast(PublisherMessage::Appended(orders, results));
        });
    }

    fn delete(&self, myself: &ActorRef<PublisherMessage>, keys: Vec<OutboxKey>) {
        let journal = self.0.journal.clone();
        let myself = myself.clone();
        tokio::spawn(async move {
            let count = keys.len();
            let answer = journal.call(|reply| Request::Do(Write::Sent(keys), reply)).await;
            let deleted = matches!(answer, Ok(Written::Deleted));
            let _ = myself.cast(PublisherMessage::Deleted(count, deleted));
        });
    }

    fn read_if_behind(&self, myself: &ActorRef<PublisherMessage>, lanes: &mut Lanes) {
        if !lanes.behind || lanes.reading || lanes.outstanding > 0 {
            return;
        }
        lanes.reading = true;
        lanes.missed = false;
        self.read(myself, Duration::ZERO);
    }

    fn read(&self, myself: &ActorRef<PublisherMessage>, pause: Duration) {
        let store = Arc::clone(&self.0.store);
        let myself = myself.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let unsent = store.unsent(PAGE).await;
            let _ = myself.cast(PublisherMessage::Unsent(unsent));
        });
    }
}

#[async_trait]
impl<S: Saga> Actor for Publisher<S> {
    type Msg = PublisherMessage;
    type State = Lanes;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<PublisherMessage>, (): ()) -> Result<Lanes, ActorProcessingErr> {
        let mut lanes = Lanes {
            lanes: HashMap::new(),
            outstanding: 0,
            behind: true,
            missed: false,
            reading: false,
            sent: Vec::new(),
            backoff: Backoff::default(),
        };
        self.read_if_behind(&myself, &mut lanes);
        Ok(lanes)
    }

    async fn handle(
        &self,
        myself: ActorRef<PublisherMessage>,
        message: PublisherMessage,
        lanes: &mut Lanes,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PublisherMessage::Committed(rows) => {
                if lanes.behind || lanes.outstanding + rows.len() > HELD {
                    lanes.behind = true;
                    lanes.missed = true;
                } else {
                    self.send(&myself, lanes, rows);
                }
            }
            PublisherMessage::Unsure => {
                lanes.behind = true;
                lanes.missed = true;
            }
            PublisherMessage::Appended(orders, results) => {
                if lanes.sent.is_empty() {
                    myself.send_after(DELETE_AFTER, || PublisherMessage::Delete);
                }
                let mut next = Vec::new();
                for (order, result) in orders.into_iter().zip(results) {
                    // The log waits while it is away; an error is final. Starting again reads the table.
                    result?;
                    let Some(lane) = lanes.lanes.get_mut(&order) else { continue };
                    lanes.sent.extend(lane.pop_front().map(|row| (row.order, row.version, row.n)));
                    match lane.front() {
                        Some(row) => next.push(row.clone()),
                        None => drop(lanes.lanes.remove(&order)),
                    }
                }
                self.append(&myself, next);
            }
            PublisherMessage::Delete => self.delete(&myself, std::mem::take(&mut lanes.sent)),
            PublisherMessage::Deleted(count, deleted) => {
                lanes.outstanding -= count;
                lanes.behind |= !deleted;
            }
            PublisherMessage::Unsent(Ok(rows)) => {
                lanes.reading = false;
                lanes.backoff = Backoff::default();
                lanes.behind = lanes.missed || rows.len() as u64 == PAGE;
                self.send(&myself, lanes, rows);
            }
            PublisherMessage::Unsent(Err(error)) => {
                tracing::warn!(service = S::SERVICE, %error, "the outbox cannot be read; trying again");
                self.read(&myself, lanes.backoff.next_pause());
            }
        }
        metrics::gauge!("outbox_pending", "service" => S::SERVICE).set(lanes.outstanding as f64);
        self.read_if_behind(&myself, lanes);
        Ok(())
    }
}

fn record(row: Outgoing) -> NewRecord {
    let headers = [
        ("traceparent", row.traceparent),
        ("correlation-id", row.correlation_id),
        ("event-type", row.event_type.name().to_owned()),
    ];
    NewRecord {
        topic: row.event_type.topic().to_owned(),
        key: Some(row.order.to_string().into_bytes()),
        value: Some(row.value),
        headers: headers.map(|(name, value)| (name.to_owned(), value.into_bytes())).into(),
    }
}
