//! The one port between the actors and the log of events, and its two adapters: [`kafka`] and [`embedded`].
//!
//! # Delivery
//!
//! At least once, in order per key. A consumer group reads each topic from the offset that it stored last; an offset
//! is stored only after the effects of every record before it are committed, so a crash repeats records and never
//! skips one. Appending the same record twice appends it twice: recognising duplicates is the receivers' work.

pub mod embedded;
pub mod kafka;

use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// A record to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// Where to.
    pub topic: String,
    /// Decides the partition: records of one key stay in order.
    pub key: Option<Vec<u8>>,
    /// The message.
    pub value: Option<Vec<u8>>,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it was.
    pub at: Position,
    /// The key, if it has one.
    pub key: Option<Vec<u8>>,
    /// The message; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// The value of a header, if there is one and it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(value).ok()
    }
}

/// A part of a topic that is read in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
}

/// Where a record is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which partition.
    pub partition: Partition,
    /// Which record of it. Offsets grow, but may skip.
    pub offset: i64,
}

/// What a group member is told of its partitions. It overtakes the records that wait.
#[derive(Debug)]
pub enum Change {
    /// These partitions are this member's from now on.
    Assigned(Vec<Partition>),
    /// These are not any more. The log waits a bounded time for the answer, so that what is in flight can finish and
    /// its offsets be stored before the next owner begins.
    Revoked(Vec<Partition>, oneshot::Sender<()>),
    /// The log is away, and is waited for.
    Away(String),
    /// It is back.
    Back,
    /// The subscription cannot go on and must be made anew.
    Broken(String),
}

/// A group member's open subscription.
pub struct Subscription {
    /// What changes for this member.
    pub changes: mpsc::UnboundedReceiver<Change>,
    /// What it reads.
    pub records: Records,
    /// Where its progress is stored, and how it leaves.
    pub membership: Arc<dyn Membership>,
}

/// What comes of a partition.
#[derive(Clone, Debug)]
pub enum Read {
    /// A record.
    Record(Arc<Record>),
    /// There is nothing to be dealt with at this position: it is the log's own, such as the end of a transaction.
    Nothing(Position),
}

impl<R: Into<Arc<Record>>> From<R> for Read {
    fn from(record: R) -> Self {
        Read::Record(record.into())
    }
}

/// The records of a subscription. Bounded: when nobody takes them, the log waits (and keeps its membership meanwhile).
/// Records of partitions that were taken away since they were read are left out: their next owner has them.
pub struct Records {
    waiting: mpsc::Receiver<(u64, Read)>,
    generation: Arc<AtomicU64>,
}

impl Records {
    /// The next that comes; none when the subscription has ended. Can be cancelled without loss.
    pub async fn read(&mut self) -> Option<Read> {
        loop {
            let (generation, read) = self.waiting.recv().await?;
            if generation == self.generation.load(Ordering::SeqCst) {
                return Some(read);
            }
        }
    }

    /// The next record, for who keeps no count of what it has passed.
    pub async fn next(&mut self) -> Option<Arc<Record>> {
        loop {
            if let Read::Record(record) = self.read().await? {
                return Some(record);
            }
        }
    }
}

/// The log's end of a subscription.
#[derive(Clone)]
pub struct Deliveries {
    changes: mpsc::UnboundedSender<Change>,
    records: mpsc::Sender<(u64, Read)>,
    generation: Arc<AtomicU64>,
}

impl Deliveries {
    /// Both ends of a subscription in which so many records may wait.
    pub fn channel(waiting: usize) -> (Self, mpsc::UnboundedReceiver<Change>, Records) {
        let (changes, changed) = mpsc::unbounded_channel();
        let (records, waiting) = mpsc::channel(waiting);
        let generation = Arc::new(AtomicU64::new(0));
        let read = Records { waiting, generation: Arc::clone(&generation) };
        (Deliveries { changes, records, generation }, changed, read)
    }

    /// Tells of a change, and whether anybody listens. When partitions are revoked, the records that still wait are
    /// dropped, since with an eager protocol all partitions are.
    pub fn change(&self, change: Change) -> bool {
        if matches!(change, Change::Revoked(..)) {
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
        self.changes.send(change).is_ok()
    }

    /// How often partitions were revoked so far: to be asked when a record is read, and given with it.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Waits for room for a record; none when nobody listens any more.
    pub async fn room(&self) -> Option<Room<'_>> {
        self.records.reserve().await.ok().map(Room)
    }

    /// Waits until nobody listens any more.
    pub async fn closed(&self) {
        self.records.closed().await;
    }
}

/// Room for one record.
pub struct Room<'a>(mpsc::Permit<'a, (u64, Read)>);

impl Room<'_> {
    /// Delivers what was read in this generation.
    pub fn put(self, generation: u64, read: impl Into<Read>) {
        self.0.send((generation, read.into()));
    }
}

/// How far a group has come in a partition of this member, and how far the partition goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The partition.
    pub partition: Partition,
    /// Everything before this offset was dealt with, as far as it is stored.
    pub stored: i64,
    /// The offset of the next record that will be appended.
    pub end: i64,
}

/// A group member's progress.
#[async_trait]
pub trait Membership: Send + Sync {
    /// The group has dealt with everything before `next` in this partition. Takes effect soon, and at the latest
    /// when the member leaves.
    fn store(&self, partition: &Partition, next: i64);

    /// The partitions that are this member's now.
    async fn extents(&self) -> Result<Vec<Extent>, LogError>;

    /// Leaves the group, when what was stored is durable. Dropping the membership leaves it, too, some time later.
    async fn leave(&self);
}

/// The log did not take a record, or cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct LogError(pub String);

/// A durable log of records by topic, read by groups.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Appends, and answers for each record once it is durable. Records of one call and one key are appended in the
    /// order given; to keep the order across topics, wait for the answer. While the log is away this waits.
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<(), LogError>>;

    /// Joins a group, from the group's stored offsets or else from the beginning.
    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Subscription, LogError>;

    /// Whether it is another process, for which every append is work.
    fn is_remote(&self) -> bool {
        false
    }

    /// The log's name, for traces.
    fn system(&self) -> &'static str {
        "kafka"
    }

    /// The number of the partition into which records of this key go, in every topic; none while that is not known.
    fn partition_of(&self, key: &[u8]) -> Option<i32>;
}

/// Whether the partitions of a group stand still, for want of room.
fn say_paused(group: &str, paused: bool) {
    // A service has more than one group: its own, and that of its dead letters.
    let (service, _) = group.split_once('.').unwrap_or((group, ""));
    let labels = [("service", service.to_owned()), ("group", group.to_owned())];
    metrics::gauge!("kafka_consumer_paused", &labels).set(f64::from(u8::from(paused)));
}

/// The dead letters of a topic are on a topic of its name with this behind it.
pub const DEAD_LETTER_SUFFIX: &str = ".dlt";
