//! What writes the log: many appends to a transaction, and the groups' offsets now and then.

use super::{Condition, PAGE, Positions, RETRY, Topics, offsets, partition, records};
use crate::clock::Clock;
use crate::database::Database;
use crate::event_log::{LogError, NewRecord, Position, Record};
use crate::store::sql;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// How long a stored offset may wait for others to go with.
const OFFSETS_WAIT: Duration = Duration::from_millis(200);

/// How long records are kept at least, in milliseconds: seven days, as Kafka's are by default.
const KEPT: i64 = 7 * 24 * 3_600_000;
/// Older ones of a topic that are deleted at a time.
const FORGOTTEN: u64 = 1_000;
/// How often is looked for them,
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
/// and while there are more.
const FORGET_ON: Duration = Duration::from_secs(1);

/// The next position of each group in each topic.
type Offsets = HashMap<(Arc<str>, String), i64>;
type Answer = oneshot::Sender<Vec<Result<(), LogError>>>;

/// What is to be written.
pub(super) enum Write {
    Append(Vec<NewRecord>, Answer),
    Offset { group: Arc<str>, topic: String, next: i64 },
    Flush(oneshot::Sender<()>),
}

/// The one task that writes the log.
pub(super) struct Writer {
    database: Database,
    clock: Arc<dyn Clock>,
    topics: watch::Sender<Topics>,
    condition: watch::Sender<Condition>,
    /// What is stored and not yet written.
    offsets: Offsets,
}

impl Writer {
    /// Over this database; it tells what is committed, and why nothing can be, if so.
    pub(super) fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        topics: watch::Sender<Topics>,
        condition: watch::Sender<Condition>,
    ) -> Self {
        Writer { database, clock, topics, condition, offsets: HashMap::new() }
    }

    /// Writes what comes, until nobody can send any more.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Write>) {
        let mut writes = Vec::new();
        let mut offsets_due = None;
        // Not before the groups have said where they begin.
        let mut forget_at = None;
        loop {
            if forget_at.is_some_and(|at| at <= Instant::now()) {
                forget_at = Some(Instant::now() + self.forget().await);
            }
            let until: Option<Instant> = [offsets_due, forget_at].into_iter().flatten().min();
            // recv_many can be cancelled without loss.
            let receive = waiting.recv_many(&mut writes, PAGE);
            let received = match until {
                Some(until) => tokio::time::timeout_at(until, receive).await.ok(),
                None => Some(receive.await),
            };
            let mut appends = Vec::new();
            let mut flushes = Vec::new();
            for write in writes.drain(..) {
                match write {
                    Write::Append(records, answer) => appends.push((records, answer)),
                    Write::Offset { group, topic, next } => {
                        self.offsets.insert((group, topic), next);
                        offsets_due.get_or_insert_with(|| Instant::now() + OFFSETS_WAIT);
                    }
                    Write::Flush(done) => flushes.push(done),
                }
            }
            let closed = received == Some(0);
            let is_due = closed || !flushes.is_empty() || offsets_due.is_some_and(|due| due <= Instant::now());
            if is_due || !appends.is_empty() {
                let offsets = if is_due { std::mem::take(&mut self.offsets) } else { HashMap::new() };
                offsets_due = offsets_due.filter(|_| !is_due);
                self.write_until_done(appends, &offsets).await;
                if !offsets.is_empty() {
                    forget_at.get_or_insert_with(Instant::now);
                }
            }
            for done in flushes {
                // Nobody waits any more only when the program is ending.
                let _ = done.send(());
            }
            if closed {
                return;
            }
        }
    }

    async fn write_until_done(&self, appends: Vec<(Vec<NewRecord>, Answer)>, offsets: &Offsets) {
        let mut ends: Positions = self.topics.borrow().iter().map(|(name, topic)| (name.clone(), topic.end)).collect();
        let (mut written, mut answers) = (Vec::new(), Vec::new());
        for (records, answer) in appends {
            let results = records.into_iter().map(|record| place(record, &mut ends).map(|record| written.push(record)));
            answers.push((results.collect(), answer));
        }
        while let Err(error) = self.write(&written, offsets).await {
            if self.condition.send_replace(Some(error.to_string())).is_none() {
                tracing::error!(%error, "the embedded event log cannot write; trying again until it can");
            }
            tokio::time::sleep(RETRY).await;
        }
        if self.condition.send_if_modified(|condition| condition.take().is_some()) {
            tracing::info!("the embedded event log writes again");
        }
        self.topics.send_modify(|topics| {
            for record in written {
                match topics.get_mut(&record.at.partition.topic) {
                    Some(topic) => topic.push(record),
                    None => topics.entry(record.at.partition.topic.clone()).or_default().push(record),
                }
            }
        });
        for (results, answer) in answers {
            // Nobody waits any more only when the program is ending.
            let _ = answer.send(results);
        }
    }

    /// Deletes records that are old and that every group of their topic has read, a page at a time, and says when to do
    /// so again.
    async fn forget(&self) -> Duration {
        match self.try_forget().await {
            Ok(deleted) if deleted >= FORGOTTEN => FORGET_ON,
            Ok(_) => FORGET_EVERY,
            Err(error) => {
                tracing::warn!(%error, "old records could not be deleted; trying again in an hour");
                FORGET_EVERY
            }
        }
    }

    /// How many were deleted of the topic that had the most.
    async fn try_forget(&self) -> Result<u64, DbErr> {
        use records::Column::{AppendedAt, Position, Topic};
        let old = self.clock.now().plus_millis(-KEPT);
        // A topic that nobody reads is kept.
        let read: Vec<(String, i64)> = offsets::Entity::find()
            .select_only()
            .column(offsets::Column::Topic)
            .column_as(offsets::Column::NextPosition.min(), "read")
            .group_by(offsets::Column::Topic)
            .into_tuple()
            .all(&self.database.read)
            .await?;
        let mut most = 0;
        for (topic, read) in read {
            // The last one stays, whoever has read it: it says where the topic ends.
            let end = self.topics.borrow().get(&topic).map_or(0, |topic| topic.end);
            let of_topic = records::Entity::find().filter(Topic.eq(&topic)).order_by_asc(Position).limit(FORGOTTEN);
            let first: Vec<(i64, i64)> =
                of_topic.select_only().columns([Position, AppendedAt]).into_tuple().all(&self.database.read).await?;
            let is_over = |(position, at): &&(i64, i64)| *position < read.min(end - 1) && *at < old.0;
            if let Some((last, _)) = first.iter().take_while(is_over).last() {
                let over = records::Entity::delete_many().filter(Topic.eq(&topic)).filter(Position.lte(*last));
                most = most.max(over.exec(self.database.writer()).await?.rows_affected);
            }
        }
        Ok(most)
    }

    async fn write(&self, records: &[Arc<Record>], offsets: &Offsets) -> Result<(), DbErr> {
        let appended_at = self.clock.now().0;
        let transaction = self.database.begin().await?;
        let rows = records.iter().map(|record| row(record, appended_at)).collect();
        sql::insert::<records::Entity>(&transaction, rows).await?;
        let offset = |((group, topic), next): (&(Arc<str>, String), &i64)| offsets::Model {
            consumer_group: group.to_string(),
            topic: topic.clone(),
            next_position: *next,
        };
        let offsets = offsets.iter().map(offset).collect();
        let key = [offsets::Column::ConsumerGroup, offsets::Column::Topic];
        sql::upsert::<offsets::Entity>(&transaction, offsets, &key, &[offsets::Column::NextPosition]).await?;
        transaction.commit().await
    }
}

/// The record in its place, if it can be written.
fn place(record: NewRecord, ends: &mut Positions) -> Result<Arc<Record>, LogError> {
    let NewRecord { topic, key, value, headers } = record;
    // What this process writes has headers of text; so they can be read in the file, too.
    for (_, value) in &headers {
        std::str::from_utf8(value).map_err(|error| LogError(format!("a header that is not text: {error}")))?;
    }
    let partition = partition(&topic);
    let end = ends.entry(topic).or_default();
    let at = Position { partition, offset: *end };
    *end += 1;
    Ok(Arc::new(Record { at, key, value, headers }))
}

fn row(record: &Record, appended_at: i64) -> records::Model {
    let Record { at: Position { partition, offset }, key, value, headers } = record;
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name, String::from_utf8_lossy(value))).collect();
    records::Model {
        topic: partition.topic.clone(),
        position: *offset,
        key: key.clone(),
        value: value.clone(),
        headers: serde_json::to_string(&headers).expect("pairs of text are JSON"),
        appended_at,
    }
}
