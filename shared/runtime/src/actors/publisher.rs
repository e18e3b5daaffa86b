//! The publisher: takes rows of the outbox to the event log, in the order of each order's events.
//!
//! A producer keeps order only within one topic and partition, so for one order the next event waits until the log
//! has acknowledged the last one. A row is deleted only after that acknowledgement. Rows that exist are unsent.
//!
//! # Whose rows
//!
//! The journal hands over the rows of what this replica commits: an order's first version wherever it was taken on,
//! later ones only where the order is owned. Whatever else is in the table (what a crash left, what another replica
//! committed for a caller, what was too much to hold) this actor finds by reading the table again and again, never by
//! a cursor that only grows. It adopts what it owns; an order whose first version is young is left to who took it on.
//!
//! First appearances stay in order over replicas without a lease, by this invariant: who hands over a version has
//! handed over or found gone all earlier ones. An order actor whose rows were not handed over loads the order before
//! its next step, and the rows that it finds go first. A replica that wrongly believes that it owns an order can so
//! repeat events, but not overtake any.

mod lanes;

use super::Wiring;
use super::group_commit::{Pause, Request};
use super::journal::{Write, Written};
use super::mailbox::{Mail, Mailbox};
use crate::backoff::Backoff;
use crate::event_log::{LogError, NewRecord};
use crate::health::Part;
use crate::saga::{Outgoing, Saga};
use crate::store::{Backlog, OutboxKey, StoreError};
use crate::trace::Context;
use crate::trace::span::{self, Kind, Span};
use async_trait::async_trait;
use contracts::{OrderId, Timestamp};
use futures::future::join_all;
use lanes::{Lanes, key};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Rows that the publisher holds before it leaves further ones in the table,
const HELD: usize = 20_000;
/// and bytes of their values.
const HELD_BYTES: usize = 64 * 1024 * 1024;
/// Rows of one read of the table.
const PAGE: u64 = 1_000;
/// The pause between two laps through the table while there is something in it to take on.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause while there is not: what this replica commits is handed over, and not looked for.
const LONG_PAUSE: Duration = Duration::from_millis(800);
/// How long an order's first version is left to the replica that took it on, in milliseconds.
pub(super) const YOUNG: i64 = 2_000;
/// The age of the oldest row from which on the log is taken to be away, if it took nothing else for as long either: well
/// above that of rows that another replica could not send, and which are adopted when they are not young any more.
const AWAY: Duration = Duration::from_secs(5);
/// How long rows that were sent may stay in the table, so that many go together. A crash sends them once more.
const DELETE_AFTER: Duration = Duration::from_millis(20);
/// How long the log may have rows in hand before it is given the next ones all the same.
const ALONE: Duration = Duration::from_millis(100);
/// Rows in the table, beyond which the service takes nothing on.
const FULL: u64 = 100_000;
/// How often what waits is counted,
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// and while nothing does.
const COUNT_IDLE_EVERY: Duration = Duration::from_secs(3);

/// A message to the publisher.
#[derive(Debug)]
pub enum PublisherMessage {
    /// These rows are in the table, and next in their orders.
    Committed(Vec<Outgoing>),
    /// The log has answered for each of these rows, whose values, of so many bytes, it has.
    Appended(Vec<Outgoing>, usize, Vec<Result<(), LogError>>),
    /// The log can be given the next rows.
    Append,
    /// It is time to delete what was sent.
    Delete,
    /// These rows are gone from the table, or (false) perhaps not.
    Deleted(Vec<OutboxKey>, bool),
    /// It is time to read the table.
    Read,
    /// A page of the table.
    Page(Result<Vec<Outgoing>, StoreError>),
    /// How much is waiting.
    Counted(Result<Backlog, StoreError>),
    /// Answer when everything that is held has been sent and deleted.
    Flush(RpcReplyPort<()>),
}

/// The actor.
pub struct Publisher<S: Saga>(pub Arc<Wiring<S>>);

impl<S: Saga> Publisher<S> {
    /// Gives these rows to the log: to one that is another process together with all that come while it has the last
    /// ones in hand, and behind the pause. librdkafka makes a request for each partition, so a broker has much less to do
    /// where many rows go together.
    fn append(&self, myself: &Mailbox<PublisherMessage>, lanes: &mut Lanes, rows: Vec<Outgoing>) {
        lanes.waiting.extend(rows);
        if lanes.waiting.is_empty() || lanes.paused {
            return;
        }
        let rows = std::mem::take(&mut lanes.waiting);
        if !self.0.log.is_remote() {
            tokio::spawn(self.appending(myself, rows));
            return;
        }
        let pause = Pause::LONG.behind(rows.len());
        // Each partition answers for itself: one that cannot be written for long must not hold up the others.
        let mut partitions: HashMap<_, Vec<Outgoing>> = HashMap::new();
        for row in rows {
            partitions.entry((row.event_type, self.0.partition_of(row.order))).or_default().push(row);
        }
        let appends: Vec<_> = partitions.into_values().map(|rows| tokio::spawn(self.appending(myself, rows))).collect();
        lanes.paused = true;
        let myself = myself.clone();
        tokio::spawn(async move {
            let _ = tokio::time::timeout(ALONE, join_all(appends)).await;
            tokio::time::sleep(pause).await;
            let _ = myself.cast(PublisherMessage::Append);
        });
    }

    fn appending(
        &self,
        myself: &Mailbox<PublisherMessage>,
        mut rows: Vec<Outgoing>,
    ) -> impl Future<Output = ()> + use<S> {
        let (log, myself) = (Arc::clone(&self.0.log), myself.clone());
        async move {
            let bytes = rows.iter().map(|row| row.value.len()).sum();
            let results = log.append(rows.iter_mut().map(record).collect()).await;
            let _ = myself.cast(PublisherMessage::Appended(rows, bytes, results));
        }
    }

    fn delete(&self, myself: &Mailbox<PublisherMessage>, keys: Vec<OutboxKey>) {
        let journal = self.0.journal.clone();
        let myself = myself.clone();
        tokio::spawn(async move {
            let answer = journal.call(|reply| Request::Do(Write::Sent(keys.clone()), reply)).await;
            let deleted = matches!(answer, Ok(Written::Deleted));
            let _ = myself.cast(PublisherMessage::Deleted(keys, deleted));
        });
    }

    fn read(&self, myself: &Mailbox<PublisherMessage>, lanes: &mut Lanes) {
        // No page is under way that may have seen them.
        lanes.forget_gone();
        let has_room = lanes.known.len() < HELD && lanes.bytes < HELD_BYTES;
        if !has_room {
            myself.send_after(PAUSE, || PublisherMessage::Read);
        } else if lanes.cursor.is_none() {
            lanes.missed = false;
            lanes.found = false;
        }
        let every = if lanes.idle && lanes.known.is_empty() { COUNT_IDLE_EVERY } else { COUNT_EVERY };
        let count = lanes.counted_at.is_none_or(|counted| counted.elapsed() >= every);
        if count {
            lanes.counted_at = Some(Instant::now());
        }
        if has_room {
            self.0.load.asks();
        }
        let (store, cursor, myself) = (Arc::clone(&self.0.store), lanes.cursor, myself.clone());
        tokio::spawn(async move {
            if has_room {
                let read = Arc::clone(&store);
                // A task of its own, so that a panic does not end the reading for good.
                let page = tokio::spawn(async move { read.unsent(cursor, PAGE).await }).await;
                let _ = myself.cast(PublisherMessage::Page(page.unwrap_or_else(|panic| Err(panic.into()))));
            }
            if count {
                let _ = myself.cast(PublisherMessage::Counted(store.backlog().await));
            }
        });
    }

    /// Takes from a page what is this replica's, and says when to read on.
    fn adopt(&self, myself: &Mailbox<PublisherMessage>, lanes: &mut Lanes, mut rows: Vec<Outgoing>) {
        let last = rows.last().map(|row| row.order);
        let is_full = rows.len() as u64 == PAGE;
        if is_full && rows.first().map(|row| row.order) != last {
            // The last order may go on behind the page, so the next page begins with it.
            rows.retain(|row| Some(row.order) != last);
        }
        lanes.cursor = if is_full { rows.last().map(key) } else { None };
        let young: HashSet<OrderId> =
            rows.iter().filter(|row| self.is_young(lanes, row)).map(|row| row.order).collect();
        // A first version that was left in the table here is this replica's to send, whoever owns the order.
        let is_ours = |row: &Outgoing| self.0.owns(row.order) || (lanes.behind && row.version == 1);
        rows.retain(|row| !young.contains(&row.order) && is_ours(row));
        lanes.found |= !young.is_empty() || rows.iter().any(|row| !lanes.known.contains(&key(row)));
        let first = lanes.take(rows);
        self.append(myself, lanes, first);
        if is_full {
            // A deep table is read without pauses.
            let _ = myself.cast(PublisherMessage::Read);
        } else {
            // The end of a lap: every row that was there at its beginning is held now, or another's.
            lanes.behind = lanes.missed;
            let pause = if lanes.found || lanes.behind { PAUSE } else { LONG_PAUSE };
            myself.send_after(pause, || PublisherMessage::Read);
        }
    }

    /// Whether this is an order's first version, and another replica may be publishing it now. While rows were left in
    /// the table here, it may just as well be one of those.
    fn is_young(&self, lanes: &Lanes, row: &Outgoing) -> bool {
        row.version == 1
            && !lanes.behind
            && !lanes.known.contains(&key(row))
            && self.0.clock.now() < row.at.plus_millis(YOUNG)
    }

    fn measure(&self, rows: &[Outgoing]) {
        let (now, delay) =
            (self.0.clock.now(), metrics::histogram!("outbox_publish_delay_seconds", "service" => S::SERVICE));
        for row in rows {
            let took = age(row.at, now);
            delay.record(took);
            if took > AWAY {
                self.0.load.note_log_away(now);
            }
            self.tell(row, now);
        }
    }

    /// From the decision to the log's acknowledgement.
    fn tell(&self, row: &Outgoing, now: Timestamp) {
        let context = context(row);
        if !span::is_told(&context) {
            return;
        }
        let topic = row.event_type.topic();
        span::record(Span {
            service: S::SERVICE,
            name: format!("send {topic}").into(),
            kind: Kind::Producer,
            context,
            parent: row.traceparent,
            start: row.at,
            end: now,
            attributes: vec![
                ("messaging.system", self.0.log.system().into()),
                ("messaging.operation.type", "send".into()),
                ("messaging.operation.name", "send".into()),
                ("messaging.destination.name", topic.into()),
                ("messaging.message.id", row.event_id.to_string().into()),
                ("messaging.message.conversation_id", row.correlation_id.clone().into()),
                ("messaging.kafka.message.key", row.order.to_string().into()),
            ],
            error: None,
        });
    }

    fn note(&self, lanes: &Lanes, backlog: Backlog) {
        let now = self.0.clock.now();
        let age = backlog.oldest_unsent.map_or(Duration::ZERO, |oldest| age(oldest, now));
        // One partition that cannot be written is not the whole log.
        if age > AWAY && lanes.appended_at.is_none_or(|at| at.elapsed() > AWAY) {
            self.0.load.note_log_away(now);
        }
        metrics::gauge!("outbox_pending", "service" => S::SERVICE).set(backlog.unsent as f64);
        metrics::gauge!("outbox_oldest_age_seconds", "service" => S::SERVICE).set(age.as_secs() as f64);
        metrics::gauge!("orders_waiting", "service" => S::SERVICE).set(backlog.waiting as f64);
        self.0.load.set(backlog);
        let room = match backlog.unsent {
            0..FULL => Ok(()),
            unsent => Err(format!("{unsent} events wait for the event log")),
        };
        self.0.health.set(Part::Outbox, room);
    }
}

#[async_trait]
impl<S: Saga> Actor for Publisher<S> {
    type Msg = Mail<PublisherMessage>;
    type State = Lanes;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Mail<PublisherMessage>>, (): ()) -> Result<Lanes, ActorProcessingErr> {
        self.0.publisher.mailbox(myself).cast(PublisherMessage::Read)?;
        Ok(Lanes::new())
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<PublisherMessage>>,
        mail: Mail<PublisherMessage>,
        lanes: &mut Lanes,
    ) -> Result<(), ActorProcessingErr> {
        let (myself, (message, _handling)) = (self.0.publisher.mailbox(myself), mail.open());
        match message {
            PublisherMessage::Committed(rows) => {
                if lanes.behind || lanes.known.len() + rows.len() > HELD || lanes.bytes > HELD_BYTES {
                    lanes.behind = true;
                    lanes.missed = true;
                } else {
                    let first = lanes.take(rows);
                    self.append(&myself, lanes, first);
                }
            }
            PublisherMessage::Appended(rows, bytes, results) => {
                if lanes.sent.is_empty() {
                    myself.send_after(DELETE_AFTER, || PublisherMessage::Delete);
                }
                // The log waits while it is away; an error is final. Starting again reads the table.
                results.into_iter().collect::<Result<(), LogError>>()?;
                lanes.appended_at = Some(Instant::now());
                lanes.bytes -= bytes;
                self.measure(&rows);
                let next = lanes.appended(&rows);
                self.append(&myself, lanes, next);
            }
            PublisherMessage::Append => {
                lanes.paused = false;
                self.append(&myself, lanes, Vec::new());
            }
            PublisherMessage::Delete => self.delete(&myself, std::mem::take(&mut lanes.sent)),
            PublisherMessage::Deleted(keys, true) => {
                // A page that is being read may have seen them.
                lanes.gone.extend(keys);
            }
            PublisherMessage::Deleted(keys, false) => {
                if lanes.sent.is_empty() {
                    myself.send_after(PAUSE, || PublisherMessage::Delete);
                }
                lanes.sent.extend(keys);
            }
            PublisherMessage::Read => self.read(&myself, lanes),
            PublisherMessage::Page(Ok(rows)) => {
                if self.0.load.is_answered() {
                    self.0.health.note_read(Ok(()));
                }
                lanes.backoff = Backoff::default();
                self.adopt(&myself, lanes, rows);
            }
            PublisherMessage::Page(Err(error)) => {
                self.0.load.is_answered();
                tracing::warn!(service = S::SERVICE, %error, "the outbox cannot be read; trying again");
                lanes.cursor = None;
                myself.send_after(lanes.backoff.next_pause(), || PublisherMessage::Read);
            }
            PublisherMessage::Counted(Ok(backlog)) => {
                lanes.idle = backlog.waiting == 0 && backlog.unsent == 0;
                self.note(lanes, backlog);
            }
            // The next read of the page says it.
            PublisherMessage::Counted(Err(_)) => {}
            PublisherMessage::Flush(reply) => lanes.flushes.push(reply),
        }
        lanes.answer_flushes();
        Ok(())
    }
}

/// From this moment to now. Clocks may have gone back.
fn age(at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(now.0 - at.0).unwrap_or(0))
}

/// The event's own place in its trace.
fn context(row: &Outgoing) -> Context {
    Context::child_of(row.traceparent, row.event_id)
}

/// The row as a record, with its value.
fn record(row: &mut Outgoing) -> NewRecord {
    let headers = [
        ("traceparent", context(row).into()),
        ("correlation-id", row.correlation_id.clone()),
        ("event-type", row.event_type.name().to_owned()),
    ];
    NewRecord {
        topic: row.event_type.topic().to_owned(),
        key: Some(row.order.to_string().into_bytes()),
        value: Some(std::mem::take(&mut row.value)),
        headers: headers.map(|(name, value)| (name.to_owned(), value.into_bytes())).into(),
    }
}
