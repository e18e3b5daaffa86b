//! The reading side of a Kafka client.

use super::KafkaSettings;
use super::lost::is_lost;
use crate::event_log::{Change, Deliveries, Partition, Position, Read, Record, say_paused};
use rdkafka::Offset;
use rdkafka::client::ClientContext;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::consumer::{CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a revoke waits for what is in flight.
const REVOKE_WAIT: Duration = Duration::from_secs(5);
/// How long one poll waits for a record.
const POLL: Duration = Duration::from_millis(100);
/// How often is looked whether partitions were passed without a record.
const PASS: Duration = Duration::from_millis(500);
/// After how long without brokers is looked whether they are there for others.
const DOUBTFUL: Duration = Duration::from_secs(5);
/// How long a full channel is waited for before the partitions are paused and polling goes on.
const FULL_WAIT: Duration = Duration::from_secs(1);

/// What reads: on a thread of its own, since librdkafka's callbacks and the closing of a consumer block.
pub(super) struct Reader {
    pub(super) group: String,
    pub(super) settings: KafkaSettings,
    pub(super) consumer: Arc<BaseConsumer<Rebalancing>>,
    pub(super) deliveries: Deliveries,
    pub(super) closed: Arc<AtomicBool>,
    pub(super) runtime: tokio::runtime::Handle,
    /// The brokers were found away.
    pub(super) away: Cell<Option<Away>>,
}

/// Since when the brokers are away, or it was last seen that they are not there for others either; and when they were last
/// asked.
#[derive(Clone, Copy)]
pub(super) struct Away {
    since: Instant,
    asked: Instant,
}

impl Reader {
    /// Reads until the member leaves, the client breaks, or nobody listens any more.
    pub(super) fn run(self) {
        say_paused(&self.group, false);
        let mut passed = Passed { generation: 0, at: HashMap::new(), looked: Instant::now() };
        while !self.closed.load(Ordering::Relaxed) {
            if passed.looked.elapsed() >= PASS && !self.pass(&mut passed) {
                break;
            }
            // It is said once, perhaps to a poll that only served the callbacks.
            if let Some((code, reason)) = self.consumer.client().fatal_error() {
                self.deliveries.change(Change::Broken(format!("{code}: {reason}")));
                break;
            }
            match self.consumer.poll(POLL) {
                None => {
                    if let Err(lost) = self.see_if_back() {
                        self.deliveries.change(Change::Broken(format!("this client has lost the brokers: {lost}")));
                        break;
                    }
                }
                Some(Ok(message)) => {
                    self.is_back();
                    if !self.deliver(self.deliveries.generation(), record(&message).into()) {
                        break;
                    }
                }
                Some(Err(error)) => self.note(&error),
            }
        }
        if let Err(error) = self.consumer.commit_consumer_state(CommitMode::Sync)
            && error.rdkafka_error_code() != Some(RDKafkaErrorCode::NoOffset)
        {
            tracing::warn!(%error, "the last offsets were not committed; their records will come again");
        }
    }

    /// What is not fatal librdkafka retries by itself.
    fn note(&self, error: &KafkaError) {
        tracing::warn!(group = self.group, %error, "kafka consumer");
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            let now = Instant::now();
            self.away.set(Some(Away { since: self.away.get().map_or(now, |away| away.since), asked: now }));
            self.deliveries.change(Change::Away(error.to_string()));
        }
    }

    /// Asks brokers that were away from time to time: librdkafka says when it loses them, and not when it finds them. An
    /// error if this client never will.
    fn see_if_back(&self) -> Result<(), KafkaError> {
        let Some(mut away) = self.away.get().filter(|away| away.asked.elapsed() > FULL_WAIT) else { return Ok(()) };
        match self.consumer.client().fetch_metadata(None, FULL_WAIT) {
            Ok(_) => self.is_back(),
            Err(error) => {
                if away.since.elapsed() > DOUBTFUL {
                    if is_lost(&self.settings, self.consumer.client()) {
                        return Err(error);
                    }
                    away.since = Instant::now();
                }
                away.asked = Instant::now();
                self.away.set(Some(away));
            }
        }
        Ok(())
    }

    fn is_back(&self) {
        if self.away.take().is_some() {
            self.deliveries.change(Change::Back);
        }
    }

    /// Says how far each partition was passed, when all records before that are handed over: the end of a transaction is
    /// no record, and would else be waited for.
    fn pass(&self, passed: &mut Passed) -> bool {
        passed.looked = Instant::now();
        // One for all: while a delivery waits, partitions may be taken away, and what is said of them counts no more.
        let generation = self.deliveries.generation();
        if std::mem::replace(&mut passed.generation, generation) != generation {
            passed.at.clear();
        }
        let Ok(positions) = self.consumer.position() else { return true };
        positions.elements().iter().all(|element| {
            // It is none where nothing was read since the partition was assigned, or sought back to.
            let Offset::Offset(next) = element.offset() else { return true };
            let partition = Partition { topic: element.topic().to_owned(), partition: element.partition() };
            passed.at.insert(partition.clone(), next) == Some(next)
                || self.deliver(generation, Read::Nothing(Position { partition, offset: next - 1 }))
        })
    }

    /// Hands over what was read in this generation. While there is no room the partitions are paused and polling goes on, so
    /// that the member stays in its group. Returns whether anybody is still listening.
    fn deliver(&self, generation: u64, read: Read) -> bool {
        let mut paused = false;
        loop {
            let waited = self.runtime.block_on(async { tokio::time::timeout(FULL_WAIT, self.deliveries.room()).await });
            match waited {
                Ok(None) => return false,
                Ok(Some(room)) => {
                    room.put(generation, read);
                    if paused {
                        say_paused(&self.group, false);
                        self.log(self.consumer.resume(&self.assigned()), "resume");
                    }
                    return true;
                }
                Err(_) if self.closed.load(Ordering::Relaxed) => return false,
                Err(_) => {
                    if !paused {
                        say_paused(&self.group, true);
                        self.log(self.consumer.pause(&self.assigned()), "pause");
                    }
                    paused = true;
                    // Nothing is fetched while paused; this serves heartbeats and callbacks. A record that still comes
                    // is seeked back to.
                    let sought = match self.consumer.poll(Duration::ZERO) {
                        Some(Ok(message)) => {
                            let offset = Offset::Offset(message.offset());
                            self.consumer.seek(message.topic(), message.partition(), offset, FULL_WAIT)
                        }
                        Some(Err(error)) => {
                            self.note(&error);
                            Ok(())
                        }
                        None => self.see_if_back(),
                    };
                    if let Err(error) = sought {
                        // Its place is not known any more, or the brokers are lost. Who joins anew begins at what is stored.
                        self.deliveries.change(Change::Broken(error.to_string()));
                        return false;
                    }
                }
            }
        }
    }

    fn assigned(&self) -> TopicPartitionList {
        self.consumer.assignment().unwrap_or_else(|_| TopicPartitionList::new())
    }

    fn log(&self, result: Result<(), KafkaError>, what: &str) {
        if let Err(error) = result {
            tracing::warn!(group = self.group, %error, "kafka consumer could not {what}");
        }
    }
}

/// How far each partition was last said to be passed, and when that was looked at.
struct Passed {
    /// Of the assignment that it is about.
    generation: u64,
    at: HashMap<Partition, i64>,
    looked: Instant,
}

/// The headers of a message. A broker takes any bytes for a name, and the client panics at one that is not UTF-8: that
/// header is left out.
fn headers(message: &BorrowedMessage<'_>) -> Vec<(String, Vec<u8>)> {
    let Some(headers) = message.headers() else { return Vec::new() };
    let read = |n: usize| {
        let header = headers.try_get(n)?;
        Some((header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
    };
    let read = |n: usize| {
        panic::catch_unwind(AssertUnwindSafe(|| read(n))).unwrap_or_else(|_| {
            let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
            tracing::warn!(topic, partition, offset, n, "a header whose name is not UTF-8 is left out");
            None
        })
    };
    (0..headers.count()).filter_map(read).collect()
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = headers(message);
    let partition = Partition { topic: message.topic().to_owned(), partition: message.partition() };
    Record {
        at: Position { partition, offset: message.offset() },
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
    }
}

/// Turns the callbacks of a rebalance into deliveries.
pub(super) struct Rebalancing {
    pub(super) deliveries: Deliveries,
}

impl ClientContext for Rebalancing {}

impl ConsumerContext for Rebalancing {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(revoked) = rebalance {
            let (done, finished) = oneshot::channel();
            if self.deliveries.change(Change::Revoked(partitions(revoked), done)) {
                wait(finished);
            }
            // Nothing to commit is an error, too.
            let _ = consumer.commit_consumer_state(CommitMode::Sync);
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(assigned) = rebalance {
            // Nobody listens any more only when the subscription is being dropped.
            self.deliveries.change(Change::Assigned(partitions(assigned)));
        }
    }
}

fn wait(mut finished: oneshot::Receiver<()>) {
    let deadline = Instant::now() + REVOKE_WAIT;
    while finished.try_recv() == Err(oneshot::error::TryRecvError::Empty) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(super) fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements()
        .iter()
        .map(|element| Partition { topic: element.topic().to_owned(), partition: element.partition() })
        .collect()
}
