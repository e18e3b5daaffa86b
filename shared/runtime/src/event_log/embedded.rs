//! A durable log in one SQLite file, for one process: what stands in for Kafka when nothing is configured.
//!
//! A topic is one partition. One task writes everything, many appends to a transaction, and wakes the readers. These
//! get from memory what was written last, and from the file what is older.
//! Group offsets are written a moment later, many together; losing one repeats records, as it should.

mod topic;
mod writer;

use super::{
    Change, Deliveries, EventLog, Extent, LogError, Membership, NewRecord, Partition, Position, Record, Subscription,
    say_paused,
};
use crate::clock::Clock;
use crate::database::Database;
use async_trait::async_trait;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use topic::Topic;
use writer::{Write, Writer};

mod records {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "log_records")]
    pub(super) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(super) topic: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub(super) position: i64,
        pub(super) key: Option<Vec<u8>>,
        pub(super) value: Option<Vec<u8>>,
        pub(super) headers: String,
        pub(super) appended_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(super) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod offsets {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "log_offsets")]
    pub(super) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(super) consumer_group: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub(super) topic: String,
        pub(super) next_position: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(super) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Records of one read, and appends of one transaction.
const PAGE: usize = 500;
/// Deliveries and writes that may wait.
const WAITING: usize = 1_000;
/// The pause before a failed write or read is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// The next position of each topic.
type Positions = HashMap<String, i64>;

/// What is in each topic, as far as it is committed.
type Topics = HashMap<String, Topic>;

/// The log of one process.
pub struct EmbeddedLog {
    database: Database,
    writes: mpsc::Sender<Write>,
    topics: watch::Receiver<Topics>,
    condition: watch::Receiver<Condition>,
}

/// Why nothing can be written now, if so.
type Condition = Option<String>;

impl EmbeddedLog {
    /// Opens the log in a migrated database.
    pub async fn open(database: Database, clock: Arc<dyn Clock>) -> Result<Self, DbErr> {
        let ends: Vec<(String, i64)> = records::Entity::find()
            .select_only()
            .column(records::Column::Topic)
            .column_as(records::Column::Position.max(), "position")
            .group_by(records::Column::Topic)
            .into_tuple()
            .all(&database.read)
            .await?;
        let topics = ends.into_iter().map(|(topic, last)| (topic, Topic::up_to(last + 1))).collect();
        let (sender, topics) = watch::channel(topics);
        let (writes, waiting) = mpsc::channel(WAITING);
        let (well, condition) = watch::channel(None);
        let writer = Writer::new(database.clone(), clock, sender, well);
        tokio::spawn(writer.run(waiting));
        Ok(EmbeddedLog { database, writes, topics, condition })
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<(), LogError>> {
        let count = records.len();
        let (answer, answered) = oneshot::channel();
        let sent = self.writes.send(Write::Append(records, answer)).await.is_ok();
        match (sent, answered.await) {
            (true, Ok(results)) => results,
            _ => vec![Err(closed()); count],
        }
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Subscription, LogError> {
        say_paused(group, false);
        // The group's last member may have left a moment ago.
        let (done, flushed) = oneshot::channel();
        self.writes.send(Write::Flush(done)).await.map_err(|_| closed())?;
        flushed.await.map_err(|_| closed())?;
        let stored = offsets::Entity::find()
            .filter(offsets::Column::ConsumerGroup.eq(group))
            .all(&self.database.read)
            .await
            .map_err(|error| LogError(error.to_string()))?;
        let mut next: Positions = HashMap::new();
        let stored: Positions = stored.into_iter().map(|row| (row.topic, row.next_position)).collect();
        for topic in topics {
            next.insert(topic.clone(), stored.get(topic).copied().unwrap_or(0));
            if !stored.contains_key(topic) {
                // What this group has not read is kept for it from now on.
                let write = Write::Offset { group: group.into(), topic: topic.clone(), next: 0 };
                self.writes.send(write).await.map_err(|_| closed())?;
            }
        }
        let (deliveries, changes, records) = Deliveries::channel(WAITING);
        let membership = EmbeddedMember {
            group: group.into(),
            writes: self.writes.clone(),
            topics: self.topics.clone(),
            stored: Mutex::new(next.clone()),
        };
        let (topics, condition) = (self.topics.clone(), self.condition.clone());
        tokio::spawn(read(self.database.clone(), topics, condition, next, deliveries));
        Ok(Subscription { changes, records, membership: Arc::new(membership) })
    }

    fn system(&self) -> &'static str {
        "embedded"
    }

    fn partition_of(&self, _: &[u8]) -> Option<i32> {
        Some(0)
    }
}

struct EmbeddedMember {
    group: Arc<str>,
    writes: mpsc::Sender<Write>,
    topics: watch::Receiver<Topics>,
    stored: Mutex<Positions>,
}

#[async_trait]
impl Membership for EmbeddedMember {
    fn store(&self, partition: &Partition, next: i64) {
        if let Some(stored) = self.stored.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&partition.topic) {
            *stored = next;
        }
        let write = Write::Offset { group: Arc::clone(&self.group), topic: partition.topic.clone(), next };
        // When there is no room, a later offset of this partition will stand for this one.
        let _ = self.writes.try_send(write);
    }

    async fn extents(&self) -> Result<Vec<Extent>, LogError> {
        let topics = self.topics.borrow();
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let extent = |(topic, stored): (&String, &i64)| Extent {
            partition: partition(topic),
            stored: *stored,
            end: topics.get(topic).map_or(0, |topic| topic.end),
        };
        Ok(stored.iter().map(extent).collect())
    }

    async fn leave(&self) {
        let (done, flushed) = oneshot::channel();
        if self.writes.send(Write::Flush(done)).await.is_ok() {
            // A log that is closed has written everything.
            let _ = flushed.await;
        }
    }
}

async fn read(
    database: Database,
    mut topics: watch::Receiver<Topics>,
    mut condition: watch::Receiver<Condition>,
    mut next: Positions,
    deliveries: Deliveries,
) {
    let assigned = next.keys().map(|topic| partition(topic)).collect();
    let mut open = deliveries.change(Change::Assigned(assigned));
    let mut well = true;
    while open {
        let why = condition.borrow_and_update().clone();
        if well != why.is_none() {
            well = why.is_none();
            open &= deliveries.change(why.map_or(Change::Back, Change::Away));
        }
        let behind: Vec<(String, Option<Vec<Arc<Record>>>)> = {
            let topics = topics.borrow_and_update();
            let behind = |(name, next): (&String, &i64)| {
                let topic = topics.get(name).filter(|topic| topic.end > *next)?;
                Some((name.clone(), topic.since(*next)))
            };
            next.iter().filter_map(behind).collect()
        };
        let is_behind = !behind.is_empty();
        for (topic, recent) in behind {
            let read = match recent {
                Some(recent) => Ok(recent),
                None => page(&database, &topic, next[&topic]).await,
            };
            match read {
                Ok(records) => {
                    if let (Some(last), Some(next)) = (records.last(), next.get_mut(&topic)) {
                        *next = last.at.offset + 1;
                    }
                    for record in records {
                        match deliveries.room().await {
                            Some(room) => room.put(deliveries.generation(), record),
                            None => open = false,
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the embedded event log could not read; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        if !is_behind {
            open &= tokio::select! {
                changed = topics.changed() => changed.is_ok(),
                changed = condition.changed() => changed.is_ok(),
                () = deliveries.closed() => false,
            };
        }
    }
}

async fn page(database: &Database, topic: &str, from: i64) -> Result<Vec<Arc<Record>>, DbErr> {
    let rows = records::Entity::find()
        .filter(records::Column::Topic.eq(topic))
        .filter(records::Column::Position.gte(from))
        .order_by_asc(records::Column::Position)
        .limit(PAGE as u64)
        .all(&database.read)
        .await?;
    rows.into_iter()
        .map(|row| {
            // They are no part of the message, so it is read without them.
            let headers: Vec<(String, String)> = serde_json::from_str(&row.headers).unwrap_or_else(|error| {
                tracing::error!(topic, position = row.position, %error, "the headers of a record are damaged");
                Vec::new()
            });
            Ok(Arc::new(Record {
                at: Position { partition: partition(topic), offset: row.position },
                key: row.key,
                value: row.value,
                headers: headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(),
            }))
        })
        .collect()
}

fn closed() -> LogError {
    LogError("the embedded event log is closed".into())
}

fn partition(topic: &str) -> Partition {
    Partition { topic: topic.to_owned(), partition: 0 }
}
