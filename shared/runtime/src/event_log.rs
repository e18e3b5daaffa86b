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

/// What a consumer is told.
#[derive(Debug)]
pub enum Delivery {
    /// A record.
    Record(Record),
    /// These partitions are this member's from now on.
    Assigned(Vec<Partition>),
    /// These are not any more. The log waits a bounded time for the answer, so that what is in flight can finish and
    /// its offsets be stored before the next owner begins.
    Revoked(Vec<Partition>, oneshot::Sender<()>),
    /// The subscription cannot go on and must be made anew.
    Broken(String),
}

/// A group member's open subscription. Dropping it leaves the group.
pub struct Subscription {
    /// Bounded: when nobody takes deliveries, the log waits (and keeps its membership meanwhile).
    pub deliveries: mpsc::Receiver<Delivery>,
    /// Where progress is stored.
    pub offsets: Box<dyn Offsets>,
}

/// A group member's progress.
pub trait Offsets: Send + Sync {
    /// The group has dealt with everything before `next` in this partition. Takes effect soon, and at the latest
    /// when the subscription is dropped.
    fn store(&self, partition: &Partition, next: i64);
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
}

/// The dead letters of a topic are on a topic of its name with this behind it.
pub const DEAD_LETTER_SUFFIX: &str = ".dlt";
