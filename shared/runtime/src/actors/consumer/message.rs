//! One message on its way: given to its order, tried again, and in the end dealt with or a dead letter.

use super::{Attempts, ConsumerMessage};
use crate::actors::Wiring;
use crate::actors::address::Unavailable;
use crate::actors::mailbox::Mailbox;
use crate::actors::order::Outcome;
use crate::actors::router::RouterMessage;
use crate::backoff::Backoff;
use crate::event_log::{DEAD_LETTER_SUFFIX, NewRecord, Partition, Position, Record};
use crate::saga::{Caused, Nothing, Origin, Saga};
use crate::trace::span::{self, Kind, Span};
use crate::trace::{self, Context};
use contracts::{Envelope, OrderId, Timestamp};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

pub(super) type Answer<S> = Result<oneshot::Receiver<Outcome<S>>, Unavailable>;

/// Hands an input to its order at once; the answer comes later.
pub(super) fn give<S: Saga>(wiring: &Wiring<S>, order: OrderId, cause: Arc<Caused<S::Input>>) -> Answer<S> {
    let (reply, answer) = oneshot::channel();
    wiring.router.cast(RouterMessage::Input(order, cause, reply.into()))?;
    Ok(answer)
}

/// The event as an input, in a span of its own: a function of the event and of who deals with it.
pub(super) fn caused<S: Saga>(record: &Record, envelope: Envelope) -> Option<Caused<S::Input>> {
    let span = Uuid::new_v5(&envelope.event_id, S::SERVICE.as_bytes());
    let context = Context::child_of(came_from(record), span);
    Some(Caused {
        origin: Origin::Log,
        id: envelope.event_id,
        correlation_id: envelope.correlation_id,
        traceparent: Some(context),
        input: S::receive(envelope.payload)?,
        expected: None,
    })
}

/// The trace context that a message came with.
fn came_from(record: &Record) -> Option<Context> {
    record.header("traceparent").and_then(Context::read)
}

/// A message that an order has been given.
pub(super) struct InFlight<S: Saga> {
    pub(super) myself: Mailbox<ConsumerMessage>,
    pub(super) record: Arc<Record>,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) order: OrderId,
    pub(super) cause: Arc<Caused<S::Input>>,
    pub(super) began_at: Timestamp,
}

impl<S: Saga> InFlight<S> {
    /// Waits until the message is dealt with: committed, without effect, or a dead letter.
    pub(super) async fn see_through(self, wiring: Arc<Wiring<S>>, attempts: Attempts, mut answer: Answer<S>) {
        let mut attempt = 1;
        let mut pause = attempts.interval;
        let mut outage = Backoff::default();
        let error = loop {
            let outcome = match answer {
                Ok(answer) => answer.await,
                Err(Unavailable) => Ok(Outcome::Unavailable),
            };
            let failure = match outcome {
                Ok(Outcome::Applied(_)) => break None,
                Ok(Outcome::Nothing(why, _)) => {
                    count_nothing::<S>(why);
                    break None;
                }
                Ok(Outcome::Rejected(why)) => {
                    let why = why.to_string();
                    dead_letter(&wiring, &self.record, attempt, "rejected", &why).await;
                    break Some(why);
                }
                Ok(Outcome::Refused(why)) => Some(why),
                // A part that is away is not the message's fault.
                Ok(Outcome::Unavailable) => None,
                Err(_) => Some("the order's actor failed while it had this message".to_owned()),
            };
            match failure {
                None => outage.wait().await,
                Some(why) if attempt >= attempts.max => {
                    dead_letter(&wiring, &self.record, attempt, "failed", &why).await;
                    break Some(why);
                }
                Some(_) => {
                    attempt += 1;
                    // At least half of it: a part that failed may need the time to come back.
                    tokio::time::sleep(pause / 2 + Backoff::new(pause / 2, pause / 2).next_pause()).await;
                    pause = (pause * 2).min(attempts.interval * 4);
                }
            }
            answer = give(&wiring, self.order, Arc::clone(&self.cause));
        };
        self.tell(&wiring, attempt, error);
        drop(self.permit);
        let _ = self.myself.cast(ConsumerMessage::Finished(self.record));
    }
}

impl<S: Saga> InFlight<S> {
    /// From its reading to its end.
    fn tell(&self, wiring: &Wiring<S>, attempts: u32, error: Option<String>) {
        let Some(context) = self.cause.traceparent.filter(span::is_told) else { return };
        let Position { partition: Partition { topic, partition }, offset } = &self.record.at;
        span::record(Span {
            service: S::SERVICE,
            name: format!("process {topic}").into(),
            kind: Kind::Consumer,
            context,
            parent: came_from(&self.record),
            start: self.began_at,
            end: wiring.clock.now(),
            attributes: vec![
                ("messaging.system", wiring.log.system().into()),
                ("messaging.operation.type", "process".into()),
                ("messaging.operation.name", "process".into()),
                ("messaging.destination.name", topic.clone().into()),
                ("messaging.destination.partition.id", partition.to_string().into()),
                ("messaging.consumer.group.name", S::SERVICE.into()),
                ("messaging.kafka.offset", (*offset).into()),
                ("messaging.kafka.message.key", self.order.to_string().into()),
                ("messaging.message.conversation_id", self.cause.correlation_id.clone().into()),
                ("attempts", i64::from(attempts).into()),
            ],
            error,
        });
    }
}

pub(super) fn count_ignored<S: Saga>(why: &'static str) {
    metrics::counter!("events_ignored_total", "service" => S::SERVICE, "reason" => why).increment(1);
}

/// Counts an event that changed nothing.
pub fn count_nothing<S: Saga>(why: Nothing) {
    count_ignored::<S>(why.into());
}

/// Longest `dlt-error` header, in bytes.
const ERROR_LIMIT: usize = 1024;

/// Writes a message to its dead-letter topic, and waits until it is there: nothing is skipped. `reason` is for the
/// counter, `error` for people.
pub(super) async fn dead_letter<S: Saga>(
    wiring: &Wiring<S>,
    record: &Record,
    attempts: u32,
    reason: &'static str,
    error: &str,
) {
    let Position { partition: Partition { topic, partition }, offset } = &record.at;
    let order_id = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
    let correlation_id = record.header("correlation-id");
    let trace_id = trace::id(came_from(record));
    tracing::warn!(
        service = S::SERVICE,
        order_id,
        correlation_id,
        trace_id,
        topic,
        partition,
        offset,
        attempts,
        error,
        "a message is a dead letter"
    );
    let error = &error[..error.floor_char_boundary(ERROR_LIMIT)];
    let added = [
        ("dlt-original-topic", topic.clone()),
        ("dlt-original-partition", partition.to_string()),
        ("dlt-original-offset", offset.to_string()),
        ("dlt-consumer-group", S::SERVICE.to_owned()),
        ("dlt-attempts", attempts.to_string()),
        ("dlt-error", error.to_owned()),
        ("dlt-timestamp", wiring.clock.now().to_string()),
    ];
    let mut headers = record.headers.clone();
    headers.extend(added.map(|(name, value)| (name.to_owned(), value.into_bytes())));
    let letter = NewRecord {
        topic: format!("{topic}{DEAD_LETTER_SUFFIX}"),
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    };
    let waiting = metrics::gauge!("dead_letters_waiting", "service" => S::SERVICE);
    waiting.increment(1.0);
    let mut backoff = Backoff::default();
    while let Some(Err(error)) = wiring.log.append(vec![letter.clone()]).await.pop() {
        tracing::error!(service = S::SERVICE, topic, partition, offset, %error, "a dead letter cannot be written; the partition waits");
        backoff.wait().await;
    }
    waiting.decrement(1.0);
    count_dead_letters::<S>(topic, reason, 1);
}

/// Why a message is a dead letter: it cannot be read, the rules refuse it, or every attempt at it failed.
pub(super) const REASONS: [&str; 3] = ["unreadable", "rejected", "failed"];

pub(super) fn count_dead_letters<S: Saga>(topic: &str, reason: &'static str, letters: u64) {
    metrics::counter!("dead_letters_total", "service" => S::SERVICE, "topic" => topic.to_owned(), "reason" => reason)
        .increment(letters);
}
