//! The consumer: reads the log, gives each event to its order, and stores the group's progress behind the commits.
//!
//! What is in flight is bounded here, since mailboxes are not. Messages of one order are handed on in the order in
//! which they were read. A message that has to be tried again does not hold up later ones of its order: the sagas
//! take events in any order.

use super::order::Outcome;
use super::router::RouterMessage;
use super::{Unavailable, Wiring};
use crate::acknowledgements::Acknowledgements;
use crate::backoff::Backoff;
use crate::event_log::{DEAD_LETTER_SUFFIX, Delivery, EventLog, NewRecord, Offsets, Partition, Position, Record};
use crate::health::Part;
use crate::saga::{Caused, Nothing, Saga};
use async_trait::async_trait;
use contracts::{Decoded, Envelope, OrderId, decode};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Messages of one service that are in flight at a time.
const WINDOW: usize = 2_000;

/// How often one message is tried.
#[derive(Clone, Copy, Debug)]
pub struct Attempts {
    /// So many times, before it is a dead letter.
    pub max: u32,
    /// The first pause between two attempts; it doubles.
    pub interval: Duration,
}

/// A message to the consumer.
pub enum ConsumerMessage {
    /// The group was joined; here its progress is stored.
    Subscribed(Box<dyn Offsets>),
    /// From the log; a record has a place in the window.
    Delivered(Delivery, Option<OwnedSemaphorePermit>),
    /// A record was dealt with.
    Finished(Position),
}

/// The actor.
pub struct Consumer<S: Saga> {
    /// The others.
    pub wiring: Arc<Wiring<S>>,
    /// The budget of one message.
    pub attempts: Attempts,
}

/// A group member's state.
pub struct Membership {
    offsets: Option<Box<dyn Offsets>>,
    partitions: HashMap<Partition, Acknowledgements>,
    revoking: Vec<(Vec<Partition>, oneshot::Sender<()>)>,
}

impl Membership {
    fn finish(&mut self, at: &Position) {
        let Some(in_flight) = self.partitions.get_mut(&at.partition) else { return };
        if let (Some(next), Some(offsets)) = (in_flight.finish(at.offset), &self.offsets) {
            offsets.store(&at.partition, next);
        }
        self.let_go();
    }

    /// Gives back the partitions that are to be revoked and have nothing in flight.
    fn let_go(&mut self) {
        let partitions = &self.partitions;
        let idle = |revoked: &Partition| partitions.get(revoked).is_none_or(Acknowledgements::is_idle);
        let ready: Vec<_> = self.revoking.extract_if(.., |(revoked, _)| revoked.iter().all(idle)).collect();
        for (revoked, done) in ready {
            self.partitions.retain(|partition, _| !revoked.contains(partition));
            // A log that waited too long has gone on.
            let _ = done.send(());
        }
    }
}

impl<S: Saga> Consumer<S> {
    fn receive(
        &self,
        myself: &ActorRef<ConsumerMessage>,
        membership: &mut Membership,
        record: Record,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        membership.partitions.entry(record.at.partition.clone()).or_default().begin(record.at.offset);
        let topic = &record.at.partition.topic;
        let envelope = match decode(topic, record.key.as_deref(), record.value.as_deref()) {
            Ok(Decoded::Event(envelope)) => envelope,
            Ok(Decoded::UnknownType(event_type)) => {
                tracing::debug!(service = S::SERVICE, topic, event_type, "an event of unknown type is ignored");
                count_ignored::<S>("unknown-type");
                return membership.finish(&record.at);
            }
            Err(bad) => return self.bury(myself.clone(), record, permit, bad.to_string()),
        };
        let order = envelope.payload.order_id();
        let Some(cause) = caused::<S>(&record, envelope) else { return membership.finish(&record.at) };
        let answer = give(&self.wiring, order, cause.clone());
        let delivery = InFlight { myself: myself.clone(), record, permit, order, cause };
        tokio::spawn(delivery.see_through(Arc::clone(&self.wiring), self.attempts, answer));
    }

    /// A message that cannot be read is a dead letter at once: it would not become readable.
    fn bury(
        &self,
        myself: ActorRef<ConsumerMessage>,
        record: Record,
        permit: Option<OwnedSemaphorePermit>,
        error: String,
    ) {
        let wiring = Arc::clone(&self.wiring);
        tokio::spawn(async move {
            dead_letter(&wiring, &record, 1, &error).await;
            drop(permit);
            let _ = myself.cast(ConsumerMessage::Finished(record.at));
        });
    }
}

type Answer<S> = Result<oneshot::Receiver<Outcome<S>>, Unavailable>;

/// Hands an input to its order at once; the answer comes later.
fn give<S: Saga>(wiring: &Wiring<S>, order: OrderId, cause: Caused<S::Input>) -> Answer<S> {
    let (reply, answer) = oneshot::channel();
    wiring.router.cast(RouterMessage::Input(order, cause, reply.into()))?;
    Ok(answer)
}

fn caused<S: Saga>(record: &Record, envelope: Envelope) -> Option<Caused<S::Input>> {
    Some(Caused {
        id: envelope.event_id,
        correlation_id: envelope.correlation_id,
        traceparent: record.header("traceparent").unwrap_or_default().to_owned(),
        input: S::receive(envelope.payload)?,
    })
}

/// A message that an order has been given.
struct InFlight<S: Saga> {
    myself: ActorRef<ConsumerMessage>,
    record: Record,
    permit: Option<OwnedSemaphorePermit>,
    order: OrderId,
    cause: Caused<S::Input>,
}

impl<S: Saga> InFlight<S> {
    /// Waits until the message is dealt with: committed, without effect, or a dead letter.
    async fn see_through(self, wiring: Arc<Wiring<S>>, attempts: Attempts, mut answer: Answer<S>) {
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
                    dead_letter(&wiring, &self.record, attempt, &why.to_string()).await;
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
                    dead_letter(&wiring, &self.record, attempt, &why).await;
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

fn count_ignored<S: Saga>(why: &'static str) {
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

/// Writes a message to its dead-letter topic, and waits until it is there: nothing is skipped.
async fn dead_letter<S: Saga>(wiring: &Wiring<S>, record: &Record, attempts: u32, error: &str) {
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
    let mut backoff = Backoff::default();
    while let Some(Err(error)) = wiring.log.append(vec![letter.clone()]).await.pop() {
        tracing::error!(service = S::SERVICE, topic, partition, offset, %error, "a dead letter cannot be written; the partition waits");
        backoff.wait().await;
    }
    metrics::counter!("dead_letters_total", "service" => S::SERVICE, "topic" => topic.clone()).increment(1);
}

/// Joins the group, which waits while the log is away, and feeds the actor what comes, no more than the window allows.
async fn feed<S: Saga>(log: Arc<dyn EventLog>, consumer: ActorRef<ConsumerMessage>) {
    let topics: Vec<String> = S::READS.iter().map(|event_type| event_type.topic().to_owned()).collect();
    let mut subscription = match log.subscribe(S::SERVICE, &topics).await {
        Ok(subscription) => subscription,
        Err(error) => {
            let _ = consumer.cast(ConsumerMessage::Delivered(Delivery::Broken(error.to_string()), None));
            return;
        }
    };
    let mut open = consumer.cast(ConsumerMessage::Subscribed(subscription.offsets)).is_ok();
    let window = Arc::new(Semaphore::new(WINDOW));
    while open && let Some(delivery) = subscription.deliveries.recv().await {
        let permit = match &delivery {
            Delivery::Record(_) => Arc::clone(&window).acquire_owned().await.ok(),
            Delivery::Assigned(_) | Delivery::Revoked(..) | Delivery::Broken(_) => None,
        };
        open = consumer.cast(ConsumerMessage::Delivered(delivery, permit)).is_ok();
    }
}

#[async_trait]
impl<S: Saga> Actor for Consumer<S> {
    type Msg = ConsumerMessage;
    type State = Membership;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<ConsumerMessage>, (): ()) -> Result<Membership, ActorProcessingErr> {
        tokio::spawn(feed::<S>(Arc::clone(&self.wiring.log), myself));
        Ok(Membership { offsets: None, partitions: HashMap::new(), revoking: Vec::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<ConsumerMessage>,
        message: ConsumerMessage,
        membership: &mut Membership,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ConsumerMessage::Subscribed(offsets) => membership.offsets = Some(offsets),
            ConsumerMessage::Delivered(Delivery::Record(record), permit) => {
                self.receive(&myself, membership, record, permit);
            }
            ConsumerMessage::Delivered(Delivery::Assigned(partitions), _) => {
                tracing::info!(service = S::SERVICE, partitions = partitions.len(), "reading the event log");
                self.wiring.health.set(Part::EventLog, Ok(()));
            }
            ConsumerMessage::Delivered(Delivery::Revoked(partitions, done), _) => {
                tracing::info!(service = S::SERVICE, partitions = partitions.len(), "giving partitions back");
                self.wiring.health.set(Part::EventLog, Err("no partitions are assigned".to_owned()));
                membership.revoking.push((partitions, done));
                membership.let_go();
            }
            ConsumerMessage::Delivered(Delivery::Broken(why), _) => {
                self.wiring.health.set(Part::EventLog, Err(why.clone()));
                return Err(why.into());
            }
            ConsumerMessage::Finished(at) => membership.finish(&at),
        }
        Ok(())
    }
}
