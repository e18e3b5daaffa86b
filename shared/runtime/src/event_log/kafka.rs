//! Apache Kafka, through librdkafka.

mod bulletin;
mod lost;
mod reader;
mod writer;

use super::{
    Change, DEAD_LETTER_SUFFIX, Deliveries, EventLog, Extent, LogError, Membership, NewRecord, Partition, Subscription,
};
use crate::backoff::Backoff;
use async_trait::async_trait;
use contracts::EventType;
use futures::future::join_all;
use rdkafka::Offset;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use reader::{Reader, Rebalancing, partitions};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use writer::Writer;

/// How to reach Kafka, and what to ask of it.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// Partitions of a topic that is created.
    pub partitions: i32,
    /// Replicas of a topic that is created.
    pub replication_factor: i32,
    /// A stable name of this member, so that a restart takes its partitions back at once.
    pub instance_id: Option<String>,
}

/// Apache Kafka as the event log.
pub struct KafkaLog {
    settings: KafkaSettings,
    writer: Arc<Writer>,
    /// How many partitions the topics have, once they are there.
    topics: OnceCell<i32>,
}

/// Deliveries that may wait between the client's thread and the consumer.
const WAITING: usize = 256;
/// The largest dead letter: any message with its headers.
const DEAD_LETTER_BYTES: &str = "4194304";
/// How long a question to the brokers may take.
const ASK: Duration = Duration::from_secs(5);
/// How long leaving waits for the last of them.
const LAST_ASK: Duration = Duration::from_secs(2);

fn failed(error: &KafkaError) -> LogError {
    LogError(error.to_string())
}

impl KafkaLog {
    /// Makes the producer. It connects in the background and waits for a broker that is away.
    pub fn new(settings: KafkaSettings) -> Result<Self, LogError> {
        let writer = Writer::start(&settings)?;
        Ok(KafkaLog { settings, writer, topics: OnceCell::new() })
    }

    fn client(settings: &KafkaSettings) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &settings.bootstrap_servers)
            .set("client.id", "order-system")
            .set("reconnect.backoff.max.ms", "1000")
            .set("topic.metadata.refresh.interval.ms", "30000");
        config
    }

    /// Creates the topics that are missing, once, and waits for a broker that is away. Until then nothing is read or
    /// written: a broker may make a topic by itself as soon as it is asked for it, with a partition count of its own.
    async fn create_topics(&self) {
        let create = || async {
            let mut backoff = Backoff::default();
            loop {
                match self.try_create_topics().await {
                    Ok(partitions) => return partitions,
                    Err(error) => {
                        let servers = &self.settings.bootstrap_servers;
                        tracing::warn!(%error, servers, "Kafka's topics cannot be prepared; trying again");
                        backoff.wait().await;
                    }
                }
            }
        };
        self.topics.get_or_init(create).await;
    }

    async fn try_create_topics(&self) -> Result<i32, LogError> {
        let admin: AdminClient<DefaultClientContext> =
            Self::client(&self.settings).create().map_err(|error| failed(&error))?;
        let replication = || TopicReplication::Fixed(self.settings.replication_factor);
        let names: Vec<(&str, String)> = EventType::ALL
            .iter()
            .map(|event_type| (event_type.topic(), format!("{}{DEAD_LETTER_SUFFIX}", event_type.topic())))
            .collect();
        let wanted: Vec<NewTopic<'_>> = names
            .iter()
            .flat_map(|(topic, dead_letters)| {
                // An event that answers one of the usual megabyte may be a little longer than it.
                let topic =
                    NewTopic::new(topic, self.settings.partitions, replication()).set("max.message.bytes", "2097152");
                [topic, NewTopic::new(dead_letters, 1, replication()).set("max.message.bytes", DEAD_LETTER_BYTES)]
            })
            .chain([bulletin::topic(replication())])
            .collect();
        let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(10)));
        let results = admin.create_topics(&wanted, &options).await.map_err(|error| failed(&error))?;
        results.into_iter().try_for_each(|result| match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => Ok(()),
            // Who may not create them may still find them there.
            Err((
                topic,
                error @ (RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed),
            )) => {
                tracing::warn!(topic, %error, "a topic could not be created");
                Ok(())
            }
            Err((topic, error)) => Err(LogError(format!("topic {topic} could not be created: {error}"))),
        })?;
        Self::compare_partitions(admin).await
    }

    /// How many partitions the topics have. An order's actor has one home only where all of them have the same. Where
    /// they have not, nothing is lost (the version guard sees to that), but steps conflict; so it is said.
    async fn compare_partitions(admin: AdminClient<DefaultClientContext>) -> Result<i32, LogError> {
        let fetch = move || admin.inner().fetch_metadata(None, Duration::from_secs(10));
        let metadata = tokio::task::spawn_blocking(fetch).await.map_err(|panic| LogError(panic.to_string()))?;
        let metadata = metadata.map_err(|error| failed(&error))?;
        let ours = |topic: &str| EventType::ALL.iter().any(|event_type| event_type.topic() == topic);
        let topics = metadata.topics().iter().filter(|topic| ours(topic.name()));
        let counts: BTreeMap<usize, Vec<&str>> = topics.fold(BTreeMap::new(), |mut counts, topic| {
            counts.entry(topic.partitions().len()).or_default().push(topic.name());
            counts
        });
        // What was created a moment ago, by this program or by one that started with it, may not be known to the broker
        // that answers: without all topics, this replica would own nothing, for as long as it runs.
        let visible: usize = counts.iter().filter(|(count, _)| **count > 0).map(|(_, topics)| topics.len()).sum();
        if visible < EventType::ALL.len() {
            return Err(LogError(format!("the brokers know {visible} of {} topics so far", EventType::ALL.len())));
        }
        if counts.len() > 1 {
            tracing::warn!(?counts, "the topics differ in their number of partitions; see docs/messages.md");
        }
        let most = counts.last_key_value().map_or(0, |(count, _)| *count);
        i32::try_from(most).map_err(|error| LogError(error.to_string()))
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<(), LogError>> {
        self.create_topics().await;
        join_all(records.iter().map(|record| self.writer.send(record))).await
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Subscription, LogError> {
        self.create_topics().await;
        let mut config = Self::client(&self.settings);
        config
            .set("group.id", group)
            .set("group.protocol", "classic")
            // Partition k of every topic goes to the same member, so that an order has one home.
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "1500")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.offset.store", "false")
            .set("auto.commit.interval.ms", "500")
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", "16384");
        if let Some(id) = &self.settings.instance_id {
            config.set("group.instance.id", id);
        }
        let (deliveries, changes, records) = Deliveries::channel(WAITING);
        let context = Rebalancing { deliveries: deliveries.clone() };
        let consumer: BaseConsumer<Rebalancing> =
            config.create_with_context(context).map_err(|error| failed(&error))?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|error| failed(&error))?;

        let consumer = Arc::new(consumer);
        let closed = Arc::new(AtomicBool::new(false));
        let left = CancellationToken::new();
        let member =
            KafkaMember { consumer: Arc::downgrade(&consumer), closed: Arc::clone(&closed), left: left.clone() };
        let runtime = tokio::runtime::Handle::current();
        let broken = deliveries.clone();
        let kept = Arc::clone(&consumer);
        let (group, settings) = (group.to_owned(), self.settings.clone());
        let name = format!("{group} kafka");
        let reader = Reader { group, settings, consumer, deliveries, closed, runtime, away: Cell::new(None) };
        std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                if panic::catch_unwind(AssertUnwindSafe(|| reader.run())).is_err() {
                    broken.change(Change::Broken("the thread that reads has panicked".into()));
                }
                // Who asks how far the log goes may still hold it, and then leaves the group in our place.
                let until = Instant::now() + LAST_ASK;
                while Arc::strong_count(&kept) > 1 && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(2));
                }
                // Leaves the group, which takes a moment.
                drop(kept);
                left.cancel();
            })
            .map_err(|error| LogError(error.to_string()))?;
        Ok(Subscription { changes, records, membership: Arc::new(member) })
    }

    fn is_remote(&self) -> bool {
        true
    }

    /// As Java's default partitioner does it, and librdkafka's `murmur2_random`.
    fn partition_of(&self, key: &[u8]) -> Option<i32> {
        let partitions = self.topics.get().filter(|partitions| **partitions > 0)?;
        let hash = murmur2::murmur2(key, murmur2::KAFKA_SEED) & 0x7fff_ffff;
        i32::try_from(hash).ok().map(|hash| hash % partitions)
    }
}

struct KafkaMember {
    // The thread owns the consumer, since dropping one blocks.
    consumer: Weak<BaseConsumer<Rebalancing>>,
    closed: Arc<AtomicBool>,
    left: CancellationToken,
}

#[async_trait]
impl Membership for KafkaMember {
    fn store(&self, partition: &Partition, next: i64) {
        // librdkafka stores the offset after the one it is given. After a revoke this fails, as it should: the
        // partition's progress is its next owner's.
        let Some(consumer) = self.consumer.upgrade() else { return };
        if let Err(error) = consumer.store_offset(&partition.topic, partition.partition, next - 1) {
            tracing::debug!(topic = partition.topic, partition = partition.partition, %error, "offset not stored");
        }
    }

    async fn extents(&self) -> Result<Vec<Extent>, LogError> {
        let Some(consumer) = self.consumer.upgrade() else { return Err(LogError("the group was left".into())) };
        let ask = move || extents(&consumer).map_err(|error| failed(&error));
        tokio::task::spawn_blocking(ask).await.map_err(|panic| LogError(panic.to_string()))?
    }

    async fn leave(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.left.cancelled().await;
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

/// Each question is one request to a broker, however many partitions it has: asked one by one, each would wait behind the
/// fetch that the broker holds back.
fn extents(consumer: &BaseConsumer<Rebalancing>) -> Result<Vec<Extent>, KafkaError> {
    let assigned = consumer.assignment()?;
    if assigned.count() == 0 {
        return Ok(Vec::new());
    }
    // The place of a time goes for these two as well.
    let ask = |place: Offset| {
        let mut asked = assigned.clone();
        asked.set_all_offsets(place)?;
        consumer.offsets_for_times(asked, ASK)
    };
    let committed = consumer.committed_offsets(assigned.clone(), ASK)?;
    let (begins, ends) = (ask(Offset::Beginning)?, ask(Offset::End)?);
    let offset = |list: &TopicPartitionList, partition: &Partition| {
        let found = list.find_partition(&partition.topic, partition.partition);
        found.and_then(|found| found.offset().to_raw()).filter(|offset| *offset >= 0)
    };
    let extent = |partition: Partition| {
        let (begin, end) = (offset(&begins, &partition), offset(&ends, &partition));
        let (Some(begin), Some(end)) = (begin, end) else {
            return Err(KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition));
        };
        // A group that has stored nothing here is at the beginning.
        let stored = offset(&committed, &partition).unwrap_or(begin).max(begin);
        Ok(Extent { partition, stored, end })
    };
    partitions(&assigned).into_iter().map(extent).collect()
}

#[cfg(test)]
mod tests;
