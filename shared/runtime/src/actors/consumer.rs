//! The consumer: reads the log, gives each event to its order, and stores the group's progress behind the commits.
//!
//! What is in flight is bounded here, since mailboxes are not. Messages of one order are handed on in the order in
//! which they were read. A message that has to be tried again does not hold up later ones of its order: the sagas
//! take events in any order.

use super::order::Outcome;
use super::publisher::PublisherMessage;
use super::router::RouterMessage;
use super::{Unavailable, Wiring};
use crate::acknowledgements::Acknowledgements;
use crate::backoff::Backoff;
use crate::event_log::{
    Change, DEAD_LETTER_SUFFIX, Extent, LogError, Membership, NewRecord, Partition, Position, Record,
};
use crate::health::Part;
use crate::saga::{Caused, Nothing, Origin, Saga};
use async_trait::async_trait;
use contracts::{Decoded, Envelope, OrderId, decode};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Messages of one service that are in flight at a time.
const WINDOW: usize = 2_000;
/// How often is looked for messages that do not come to their end.
const LOOK: Duration = Duration::from_secs(1);
/// How long a partition may stand still with a message in hand while everything that it needs is there.
const STUCK: Duration = Duration::from_secs(20);
/// How long the last events may take to be sent when the service ends.
const FLUSH: Duration = Duration::from_secs(3);

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
    /// The group was joined.
    Joined(Arc<dyn Membership>),
    /// From the log: a record, with its place in the window.
    Read(Record, OwnedSemaphorePermit),
    /// From the log: something about the group.
    Changed(Change),
    /// A record was dealt with.
    Finished(Position),
    /// Answer when everything has been dealt with that is on the log now, in this member's partitions.
    CatchUp(RpcReplyPort<()>),
    /// The log says how far it goes now.
    Extents(Result<Vec<Extent>, LogError>, RpcReplyPort<()>),
    /// Time to see whether what was begun comes to its end.
    Look,
    /// Read no more, finish what is in flight, have its events sent, leave the group, and end.
    Leave,
}

/// The actor.
pub struct Consumer<S: Saga> {
    /// The others.
    pub wiring: Arc<Wiring<S>>,
    /// The budget of one message.
    pub attempts: Attempts,
}

/// What a group member knows.
pub struct Reading {
    /// Also ends with this value.
    _feed: AbortOnDropHandle<()>,
    /// Tells the feed to read no more.
    quiet: CancellationToken,
    member: Option<Arc<dyn Membership>>,
    partitions: HashMap<Partition, Progress>,
    revoking: Vec<(Vec<Partition>, oneshot::Sender<()>)>,
    catching_up: Vec<(Vec<Extent>, RpcReplyPort<()>)>,
    leaving: bool,
}

/// A partition's records in flight, and everything before them.
#[derive(Default)]
struct Progress {
    in_flight: Acknowledgements,
    /// Everything before it is dealt with.
    done: i64,
    /// Since when nothing moved while something was in flight.
    still_since: Option<Instant>,
}

impl Reading {
    fn begin(&mut self, at: &Position) {
        let progress = self.partitions.entry(at.partition.clone()).or_default();
        progress.in_flight.begin(at.offset);
        progress.still_since.get_or_insert_with(Instant::now);
    }

    fn finish(&mut self, at: &Position) {
        let Some(progress) = self.partitions.get_mut(&at.partition) else { return };
        if let Some(next) = progress.in_flight.finish(at.offset) {
            progress.done = next;
            progress.still_since = (!progress.in_flight.is_idle()).then(Instant::now);
            if let Some(member) = &self.member {
                member.store(&at.partition, next);
            }
        }
        self.let_go();
        self.answer();
    }

    /// Gives back the partitions that are to be revoked and have nothing in flight.
    fn let_go(&mut self) {
        let partitions = &self.partitions;
        let idle = |revoked: &Partition| partitions.get(revoked).is_none_or(|progress| progress.in_flight.is_idle());
        let ready: Vec<_> = self.revoking.extract_if(.., |(revoked, _)| revoked.iter().all(idle)).collect();
        for (revoked, done) in ready {
            self.partitions.retain(|partition, _| !revoked.contains(partition));
            // A log that waited too long has gone on.
            let _ = done.send(());
        }
    }

    /// Answers those who wait until everything up to some extent is dealt with.
    fn answer(&mut self) {
        let partitions = &self.partitions;
        let reached = |extent: &Extent| {
            extent.stored >= extent.end
                || partitions.get(&extent.partition).is_some_and(|progress| progress.done >= extent.end)
        };
        for (_, reply) in self.catching_up.extract_if(.., |(extents, _)| extents.iter().all(reached)) {
            // Who asked may have given up.
            let _ = reply.send(());
        }
    }

    fn is_idle(&self) -> bool {
        self.partitions.values().all(|progress| progress.in_flight.is_idle())
    }

    /// What stands still has a reason.
    fn excuse(&mut self) {
        for progress in self.partitions.values_mut().filter(|progress| progress.still_since.is_some()) {
            progress.still_since = Some(Instant::now());
        }
    }

    /// The partition that has stood still for longest, and for how long.
    fn stillest(&self) -> Option<(&Partition, Duration)> {
        let still = |(partition, progress): (_, &Progress)| Some((partition, progress.still_since?.elapsed()));
        self.partitions.iter().filter_map(still).max_by_key(|(_, still)| *still)
    }
}

impl<S: Saga> Consumer<S> {
    fn receive(
        &self,
        myself: &ActorRef<ConsumerMessage>,
        reading: &mut Reading,
        record: Record,
        permit: OwnedSemaphorePermit,
    ) {
        reading.begin(&record.at);
        let topic = &record.at.partition.topic;
        let envelope = match decode(topic, record.key.as_deref(), record.value.as_deref()) {
            Ok(Decoded::Event(envelope)) => envelope,
            Ok(Decoded::UnknownType(event_type)) => {
                tracing::debug!(service = S::SERVICE, topic, event_type, "an event of unknown type is ignored");
                count_ignored::<S>("unknown-type");
                return reading.finish(&record.at);
            }
            Err(bad) => return self.bury(myself.clone(), record, permit, bad.to_string()),
        };
        let order = envelope.payload.order_id();
        let Some(cause) = caused::<S>(&record, envelope) else { return reading.finish(&record.at) };
        let answer = give(&self.wiring, order, cause.clone());
        let delivery = InFlight { myself: myself.clone(), record, permit, order, cause };
        tokio::spawn(delivery.see_through(Arc::clone(&self.wiring), self.attempts, answer));
    }

    /// A message that cannot be read is a dead letter at once: it would not become readable.
    fn bury(&self, myself: ActorRef<ConsumerMessage>, record: Record, permit: OwnedSemaphorePermit, error: String) {
        let wiring = Arc::clone(&self.wiring);
        tokio::spawn(async move {
            dead_letter(&wiring, &record, 1, "unreadable", &error).await;
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
        origin: Origin::Log,
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
    permit: OwnedSemaphorePermit,
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

/// Writes a message to its dead-letter topic, and waits until it is there: nothing is skipped. `reason` is for the
/// counter, `error` for people.
async fn dead_letter<S: Saga>(wiring: &Wiring<S>, record: &Record, attempts: u32, reason: &'static str, error: &str) {
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

/// Joins the group, which waits while the log is away, and feeds the actor what comes: no more than the window allows,
/// and nothing while it could not be dealt with. Once it is to be quiet, it passes on what changes, but reads no more.
async fn feed<S: Saga>(wiring: Arc<Wiring<S>>, consumer: ActorRef<ConsumerMessage>, quiet: CancellationToken) {
    let topics: Vec<String> = S::READS.iter().map(|event_type| event_type.topic().to_owned()).collect();
    let mut subscription = match wiring.log.subscribe(S::SERVICE, &topics).await {
        Ok(subscription) => subscription,
        Err(error) => {
            let _ = consumer.cast(ConsumerMessage::Changed(Change::Broken(error.to_string())));
            return;
        }
    };
    let mut open = consumer.cast(ConsumerMessage::Joined(subscription.membership)).is_ok();
    let window = Arc::new(Semaphore::new(WINDOW));
    while open {
        let next_record = async {
            wiring.health.until_reading_helps().await;
            let permit = Arc::clone(&window).acquire_owned().await.ok()?;
            Some((subscription.records.next().await?, permit))
        };
        let message = tokio::select! {
            biased;
            () = quiet.cancelled(), if !quiet.is_cancelled() => continue,
            change = subscription.changes.recv() => change.map(ConsumerMessage::Changed),
            read = next_record, if !quiet.is_cancelled() => read.map(|(record, permit)| ConsumerMessage::Read(record, permit)),
        };
        open = message.is_some_and(|message| consumer.cast(message).is_ok());
    }
}

impl<S: Saga> Consumer<S> {
    fn changed(&self, reading: &mut Reading, change: Change) -> Result<(), ActorProcessingErr> {
        match change {
            Change::Assigned(partitions) => {
                tracing::info!(service = S::SERVICE, partitions = partitions.len(), "reading the event log");
                self.wiring.ownership.set(partitions.iter().map(|partition| partition.partition).collect());
                // A replica without partitions stands by, which is well, too.
                self.wiring.health.set(Part::EventLog, Ok(()));
            }
            Change::Revoked(partitions, done) => {
                tracing::info!(service = S::SERVICE, partitions = partitions.len(), "giving partitions back");
                self.wiring.ownership.set(BTreeSet::new());
                self.wiring.health.set(Part::EventLog, Err("no partitions are assigned".to_owned()));
                // Their new owners will say when they have caught up.
                reading.catching_up.clear();
                reading.revoking.push((partitions, done));
                reading.let_go();
            }
            Change::Away(why) => self.wiring.health.set(Part::EventLog, Err(why)),
            Change::Back => self.wiring.health.set(Part::EventLog, Ok(())),
            Change::Broken(why) => {
                self.wiring.ownership.set(BTreeSet::new());
                self.wiring.health.set(Part::EventLog, Err(why.clone()));
                return Err(why.into());
            }
        }
        Ok(())
    }

    /// Asks the log how far it goes.
    fn catch_up(&self, myself: ActorRef<ConsumerMessage>, reading: &Reading, reply: RpcReplyPort<()>) {
        // Dropping the reply says that it is not known.
        let Some(member) = reading.member.clone() else { return };
        tokio::spawn(async move {
            let extents = member.extents().await;
            let _ = myself.cast(ConsumerMessage::Extents(extents, reply));
        });
    }

    /// A message that has been in hand for long, while all that it needs is there, is stuck.
    fn look(&self, reading: &mut Reading) {
        let health = &self.wiring.health;
        if ![Part::Database, Part::Provider, Part::EventLog].into_iter().all(|part| health.is_well(part)) {
            reading.excuse();
        }
        let stillest = reading.stillest();
        let seconds = stillest.map_or(0, |(_, still)| still.as_secs());
        metrics::gauge!("consumer_standstill_seconds", "service" => S::SERVICE).set(seconds as f64);
        let progress = match stillest {
            Some((at, still)) if still > STUCK => {
                Err(format!("{} partition {} has not moved for {} s", at.topic, at.partition, still.as_secs()))
            }
            Some(_) | None => Ok(()),
        };
        if let Err(why) = &progress {
            tracing::error!(service = S::SERVICE, why, "a message does not come to its end");
        }
        health.set(Part::Progress, progress);
    }

    /// Leaves the group when nothing is in flight any more and its events are out, so that the next owner of the
    /// partitions finds nothing to repeat.
    fn leave_if_idle(&self, myself: &ActorRef<ConsumerMessage>, reading: &mut Reading) {
        if !reading.leaving || !reading.is_idle() {
            return;
        }
        reading.leaving = false;
        let (wiring, member, myself) = (Arc::clone(&self.wiring), reading.member.take(), myself.clone());
        tokio::spawn(async move {
            let flushed = wiring.publisher.call(PublisherMessage::Flush);
            if tokio::time::timeout(FLUSH, flushed).await.is_err() {
                tracing::warn!(service = S::SERVICE, "not every event could be sent; the rest waits in the outbox");
            }
            if let Some(member) = member {
                member.leave().await;
            }
            myself.stop(None);
        });
    }
}

#[async_trait]
impl<S: Saga> Actor for Consumer<S> {
    type Msg = ConsumerMessage;
    type State = Reading;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<ConsumerMessage>, (): ()) -> Result<Reading, ActorProcessingErr> {
        myself.send_interval(LOOK, || ConsumerMessage::Look);
        let quiet = CancellationToken::new();
        let feed = tokio::spawn(feed::<S>(Arc::clone(&self.wiring), myself, quiet.clone()));
        Ok(Reading {
            _feed: AbortOnDropHandle::new(feed),
            quiet,
            member: None,
            partitions: HashMap::new(),
            revoking: Vec::new(),
            catching_up: Vec::new(),
            leaving: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ConsumerMessage>,
        message: ConsumerMessage,
        reading: &mut Reading,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ConsumerMessage::Joined(member) => reading.member = Some(member),
            ConsumerMessage::Read(record, permit) => self.receive(&myself, reading, record, permit),
            ConsumerMessage::Changed(change) => self.changed(reading, change)?,
            ConsumerMessage::Finished(at) => reading.finish(&at),
            ConsumerMessage::CatchUp(reply) => self.catch_up(myself.clone(), reading, reply),
            ConsumerMessage::Extents(Ok(extents), reply) => {
                reading.catching_up.push((extents, reply));
                reading.answer();
            }
            ConsumerMessage::Extents(Err(error), _) => {
                tracing::warn!(service = S::SERVICE, %error, "the log does not say how far it goes; deadlines wait");
            }
            ConsumerMessage::Look => self.look(reading),
            ConsumerMessage::Leave => {
                reading.quiet.cancel();
                reading.leaving = true;
            }
        }
        self.leave_if_idle(&myself, reading);
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<ConsumerMessage>, _: &mut Reading) -> Result<(), ActorProcessingErr> {
        self.wiring.ownership.set(BTreeSet::new());
        Ok(())
    }
}
