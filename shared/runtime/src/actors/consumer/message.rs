//! One message on its way: given to its order, tried again, and in the end dealt with or a dead letter.

use super::{Attempts, ConsumerMessage};
use crate::actors::mailbox::Mailbox;
use crate::actors::order::Outcome;
use crate::actors::router::RouterMessage;
use crate::actors::{Unavailable, Wiring};
use crate::backoff::Backoff;
use crate::event_log::{DEAD_LETTER_SUFFIX, NewRecord, Partition, Position, Record};
use crate::saga::{Caused, Nothing, Origin, Saga};
use contracts::{Envelope, OrderId};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

pub(super) type Answer<S> = Result<oneshot::Receiver<Outcome<S>>, Unavailable>;

/// Hands an input to its order at once; the answer comes later.
pub(super) fn give<S: Saga>(wiring: &Wiring<S>, order: OrderId, cause: Caused<S::Input>) -> Answer<S> {
    let (reply, answer) = oneshot::channel();
    wiring.router.cast(RouterMessage::Input(order, cause, reply.into()))?;
    Ok(answer)
}

pub(super) fn caused<S: Saga>(record: &Record, envelope: Envelope) -> Option<Caused<S::Input>> {
    Some(Caused {
        origin: Origin::Log,
        id: envelope.event_id,
        correlation_id: envelope.correlation_id,
        traceparent: record.header("traceparent").unwrap_or_default().to_owned(),
        input: S::receive(envelope.payload)?,
        expected: None,
    })
}

/// A message that an order has been given.
pub(super) struct InFlight<S: Saga> {
    pub(super) myself: Mailbox<ConsumerMessage>,
    pub(super) record: Record,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) order: OrderId,
    pub(super) cause: Caused<S::Input>,
}

impl<S: Saga> InFlight<S> {
    /// Waits until the message is dealt with: committed, without effect, or a dead letter.
    pub(super) async fn see_through(self, wiring: Arc<Wiring<S>>, attempts: Attempts, mut answer: Answer<S>) {
        let mut attempt = 1;
        let mut pause = attempts.interval;
        let mut outage = Backoff::default();
        loop {
            let outcome = match answer {
                Ok(answer) => answer.await,
                Err(Unavailable) => Ok(Outcome::Unavailable),
            };
            let failure = match outcome {
                Ok(Outcome::Applied(_)) => break,
                Ok(Outcome::Nothing(why, _)) => {
                    count_nothing::<S>(why);
                    break;
                }
                Ok(Outcome::Rejected(why)) => {
                    dead_letter(&wiring, &self.record, attempt, "rejected", &why.to_string()).await;
                    break;
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
                    break;
                }
                Some(_) => {
                    attempt += 1;
                    // At least half of it: a part that failed may need the time to come back.
                    tokio::time::sleep(pause / 2 + Backoff::new(pause / 2, pause / 2).next_pause()).await;
                    pause = (pause * 2).min(attempts.interval * 4);
                }
            }
            answer = give(&wiring, self.order, self.cause.clone());
        }
        drop(self.permit);
        let _ = self.myself.cast(ConsumerMessage::Finished(self.record.at));
    }
}

pub(super) fn count_ignored<S: Saga>(why: &'static str) {
    metrics::counter!("events_ignored_total", "service" => S::SERVICE, "reason" => why).increment(1);
}

fn count_nothing<S: Saga>(why: Nothing) {
    count_ignored::<S>(match why {
        Nothing::Duplicate => "duplicate",
        Nothing::Late => "late",
        Nothing::Informs => "informs",
        Nothing::Unreachable => "unreachable",
    });
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
    tracing::warn!(service = S::SERVICE, topic, partition, offset, attempts, error, "a message is a dead letter");
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
    metrics::counter!("dead_letters_total", "service" => S::SERVICE, "topic" => topic.clone(), "reason" => reason)
        .increment(1);
}
