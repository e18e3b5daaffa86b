//! The consumer: reads the log, gives each event to its order, and stores the group's progress behind the commits.
//!
//! What is in flight is bounded here, since mailboxes are not. Messages of one order are handed on in the order in
//! which they were read. A message that has to be tried again does not hold up later ones of its order: the sagas
//! take events in any order.

mod message;
mod reading;

use super::Wiring;
use super::mailbox::{Mail, Mailbox};
use super::publisher::PublisherMessage;
use crate::event_log::{Change, Extent, LogError, Membership, Position, Read, Record};
use crate::health::Part;
use crate::saga::Saga;
use async_trait::async_trait;
use contracts::{Decoded, decode};
pub use message::count_nothing;
use message::{InFlight, REASONS, caused, count_dead_letters, count_ignored, dead_letter, give};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use reading::Reading;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Messages of one service that are in flight at a time.
const WINDOW: usize = 2_000;
/// How often is looked for messages that do not come to their end.
const LOOK: Duration = Duration::from_secs(1);
/// How often the log is asked how far it goes.
const MEASURE_LAG: Duration = Duration::from_secs(5);
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
    Read(Arc<Record>, OwnedSemaphorePermit),
    /// From the log: there is nothing to be dealt with here.
    Passed(Position),
    /// From the log: something about the group.
    Changed(Change),
    /// A record was dealt with.
    Finished(Arc<Record>),
    /// Say of each partition number of this member when everything has been dealt with that is on the log there now.
    /// Nothing more is said of what goes to another member.
    CatchUp(UnboundedSender<i32>),
    /// The log says how far it goes now.
    Extents(Result<Vec<Extent>, LogError>, UnboundedSender<i32>),
    /// The log says how far it goes now, for the measure of how far behind this member is.
    Lag(Vec<Extent>),
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

impl<S: Saga> Consumer<S> {
    fn receive(
        &self,
        myself: &Mailbox<ConsumerMessage>,
        reading: &mut Reading,
        record: Arc<Record>,
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
        let Some(cause) = caused::<S>(&record, envelope).map(Arc::new) else { return reading.finish(&record.at) };
        let answer = give(&self.wiring, order, Arc::clone(&cause));
        let began_at = self.wiring.clock.now();
        let delivery = InFlight { myself: myself.clone(), record, permit, order, cause, began_at };
        tokio::spawn(delivery.see_through(Arc::clone(&self.wiring), self.attempts, answer));
    }

    /// A message that cannot be read is a dead letter at once: it would not become readable.
    fn bury(&self, myself: Mailbox<ConsumerMessage>, record: Arc<Record>, permit: OwnedSemaphorePermit, error: String) {
        let wiring = Arc::clone(&self.wiring);
        tokio::spawn(async move {
            dead_letter(&wiring, &record, 1, "unreadable", &error).await;
            drop(permit);
            let _ = myself.cast(ConsumerMessage::Finished(record));
        });
    }
}

/// Joins the group, which waits while the log is away, and feeds the actor what comes: no more than the window allows,
/// and nothing while it could not be dealt with. Once it is to be quiet, it passes on what changes, but reads no more.
async fn feed<S: Saga>(wiring: Arc<Wiring<S>>, consumer: Mailbox<ConsumerMessage>, quiet: CancellationToken) {
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
            Some(match subscription.records.read().await? {
                Read::Record(record) => ConsumerMessage::Read(record, permit),
                Read::Nothing(at) => ConsumerMessage::Passed(at),
            })
        };
        let message = tokio::select! {
            biased;
            () = quiet.cancelled(), if !quiet.is_cancelled() => continue,
            change = subscription.changes.recv() => change.map(ConsumerMessage::Changed),
            read = next_record, if !quiet.is_cancelled() => read,
        };
        open = match message {
            Some(message) => consumer.cast(message).is_ok(),
            None => {
                if !quiet.is_cancelled() {
                    let _ =
                        consumer.cast(ConsumerMessage::Changed(Change::Broken("the subscription has ended".into())));
                }
                false
            }
        };
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
            Change::Back => {
                self.wiring.load.note_log_away(self.wiring.clock.now());
                self.wiring.health.set(Part::EventLog, Ok(()));
            }
            Change::Broken(why) => {
                self.wiring.ownership.set(BTreeSet::new());
                self.wiring.health.set(Part::EventLog, Err(why.clone()));
                return Err(why.into());
            }
        }
        Ok(())
    }

    /// Asks the log how far it goes.
    fn catch_up(&self, myself: Mailbox<ConsumerMessage>, reading: &Reading, read: UnboundedSender<i32>) {
        let Some(member) = reading.member.clone() else { return };
        tokio::spawn(async move {
            let extents = member.extents().await;
            let _ = myself.cast(ConsumerMessage::Extents(extents, read));
        });
    }

    /// Asks the log how far it goes, now and then, and not again before it has answered.
    fn ask_lag(&self, myself: &Mailbox<ConsumerMessage>, reading: &mut Reading) {
        let is_due = reading.lag_asked_at.is_none_or(|asked| asked.elapsed() >= MEASURE_LAG);
        if let Some(member) = reading.member.clone().filter(|_| is_due && Arc::strong_count(&reading.asking_lag) == 1) {
            reading.lag_asked_at = Some(Instant::now());
            let (myself, asking) = (myself.clone(), Arc::clone(&reading.asking_lag));
            tokio::spawn(async move {
                if let Ok(extents) = member.extents().await {
                    let _ = myself.cast(ConsumerMessage::Lag(extents));
                }
                drop(asking);
            });
        }
    }

    /// A database that does not answer is away. A message that has been in hand for long, while all that it needs is
    /// there, is stuck.
    fn look(&self, reading: &mut Reading) {
        let health = &self.wiring.health;
        if let Some(silence) = self.wiring.load.silence() {
            health.set(Part::Database, Err(format!("no answer for {} s", silence.as_secs())));
        }
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
    fn leave_if_idle(&self, myself: &Mailbox<ConsumerMessage>, reading: &mut Reading) {
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
            myself.stop();
        });
    }
}

#[async_trait]
impl<S: Saga> Actor for Consumer<S> {
    type Msg = Mail<ConsumerMessage>;
    type State = Reading;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Mail<ConsumerMessage>>, (): ()) -> Result<Reading, ActorProcessingErr> {
        let myself = self.wiring.consumer.mailbox(myself);
        // What the last one read is none of this one's until the group says so, also if the last one could not say that.
        self.wiring.ownership.set(BTreeSet::new());
        self.wiring.health.set(Part::EventLog, Err("the group is being joined".to_owned()));
        myself.send_interval(LOOK, || ConsumerMessage::Look);
        // A rate of what has not happened yet is 0, and not unknown.
        for event_type in S::READS {
            REASONS.iter().for_each(|reason| count_dead_letters::<S>(event_type.topic(), reason, 0));
        }
        let quiet = CancellationToken::new();
        let feed = tokio::spawn(feed::<S>(Arc::clone(&self.wiring), myself, quiet.clone()));
        Ok(Reading::new(AbortOnDropHandle::new(feed), quiet))
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<ConsumerMessage>>,
        mail: Mail<ConsumerMessage>,
        reading: &mut Reading,
    ) -> Result<(), ActorProcessingErr> {
        let (myself, (message, _handling)) = (self.wiring.consumer.mailbox(myself), mail.open());
        match message {
            ConsumerMessage::Joined(member) => reading.member = Some(member),
            ConsumerMessage::Read(record, permit) => self.receive(&myself, reading, record, permit),
            ConsumerMessage::Passed(at) => reading.pass(&at),
            ConsumerMessage::Changed(change) => self.changed(reading, change)?,
            ConsumerMessage::Finished(record) => reading.finish(&record.at),
            ConsumerMessage::CatchUp(read) => self.catch_up(myself.clone(), reading, read),
            ConsumerMessage::Extents(Ok(extents), read) => reading.catch_up(extents, read),
            ConsumerMessage::Extents(Err(error), _) => {
                tracing::warn!(service = S::SERVICE, %error, "the log does not say how far it goes; deadlines wait");
            }
            ConsumerMessage::Lag(extents) => reading.measure_lag(S::SERVICE, &extents),
            ConsumerMessage::Look => {
                self.look(reading);
                reading.tell_who_catches_up();
                self.ask_lag(&myself, reading);
            }
            ConsumerMessage::Leave => {
                reading.quiet.cancel();
                reading.leaving = true;
            }
        }
        self.leave_if_idle(&myself, reading);
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Mail<ConsumerMessage>>, _: &mut Reading) -> Result<(), ActorProcessingErr> {
        self.wiring.ownership.set(BTreeSet::new());
        Ok(())
    }
}
