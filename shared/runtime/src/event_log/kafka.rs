//! Apache Kafka, through librdkafka.

use super::{
    DEAD_LETTER_SUFFIX, Delivery, EventLog, LogError, NewRecord, Offsets, Partition, Position, Record, Subscription,
};
use crate::backoff::Backoff;
use async_trait::async_trait;
use contracts::EventType;
use futures::future::join_all;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::consumer::{CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::util::Timeout;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{OnceCell, mpsc, oneshot};

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
    producer: FutureProducer,
    topics: OnceCell<()>,
}

/// Deliveries that may wait between the client's thread and the consumer.
const DELIVERIES: usize = 256;
/// The largest dead letter: any message with its headers.
const DEAD_LETTER_BYTES: &str = "4194304";
/// How long a revoke waits for what is in flight.
const REVOKE_WAIT: Duration = Duration::from_secs(5);
/// How long one poll waits for a record.
const POLL: Duration = Duration::from_millis(100);
/// How long a full channel is waited for before the partitions are paused and polling goes on.
const FULL_WAIT: Duration = Duration::from_secs(1);

fn failed(error: &KafkaError) -> LogError {
    LogError(error.to_string())
}

impl KafkaLog {
    /// Makes the producer. It connects in the background and waits for a broker that is away.
    pub fn new(settings: KafkaSettings) -> Result<Self, LogError> {
        let producer = Self::client(&settings)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("message.timeout.ms", "0")
            // The brokers' limits decide; ours must not stop a dead letter that the topic would take.
            .set("message.max.bytes", DEAD_LETTER_BYTES)
            // Java's default, so that producers in other languages put an order in the same partition.
            .set("partitioner", "murmur2_random")
            .create()
            .map_err(|error| failed(&error))?;
        Ok(KafkaLog { settings, producer, topics: OnceCell::new() })
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
            while let Err(error) = self.try_create_topics().await {
                tracing::warn!(%error, servers = self.settings.bootstrap_servers, "Kafka's topics cannot be prepared; trying again");
                backoff.wait().await;
            }
        };
        self.topics.get_or_init(create).await;
    }

    async fn try_create_topics(&self) -> Result<(), LogError> {
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
            .collect();
        let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(10)));
        let results = admin.create_topics(&wanted, &options).await.map_err(|error| failed(&error))?;
        results.into_iter().try_for_each(|result| match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => Ok(()),
            Err((topic, error)) => Err(LogError(format!("topic {topic} could not be created: {error}"))),
        })?;
        self.compare_partitions().await
    }

    /// An order's actor has one home only where all topics have the same partitions. Where they have not, nothing is
    /// lost (the version guard sees to that), but steps conflict; so it is said.
    async fn compare_partitions(&self) -> Result<(), LogError> {
        let producer = self.producer.clone();
        let fetch = move || producer.client().fetch_metadata(None, Duration::from_secs(10));
        let metadata = tokio::task::spawn_blocking(fetch).await.map_err(|panic| LogError(panic.to_string()))?;
        let metadata = metadata.map_err(|error| failed(&error))?;
        let ours = |topic: &str| EventType::ALL.iter().any(|event_type| event_type.topic() == topic);
        let topics = metadata.topics().iter().filter(|topic| ours(topic.name()));
        let counts: BTreeMap<usize, Vec<&str>> = topics.fold(BTreeMap::new(), |mut counts, topic| {
            counts.entry(topic.partitions().len()).or_default().push(topic.name());
            counts
        });
        if counts.len() > 1 {
            tracing::warn!(?counts, "the topics differ in their number of partitions; see docs/messages.md");
        }
        Ok(())
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<(), LogError>> {
        self.create_topics().await;
        join_all(records.iter().map(|record| async move {
            let headers = record
                .headers
                .iter()
                .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
            let message = FutureRecord::<Vec<u8>, Vec<u8>> {
                topic: &record.topic,
                partition: None,
                payload: record.value.as_ref(),
                key: record.key.as_ref(),
                timestamp: None,
                headers: Some(headers),
            };
            self.producer.send(message, Timeout::Never).await.map(drop).map_err(|(error, _)| failed(&error))
        }))
        .await
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Subscription, LogError> {
        self.create_topics().await;
        let (sender, deliveries) = mpsc::channel(DELIVERIES);
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
        let context = Rebalancing { deliveries: sender.clone() };
        let consumer: BaseConsumer<Rebalancing> =
            config.create_with_context(context).map_err(|error| failed(&error))?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|error| failed(&error))?;

        let consumer = Arc::new(consumer);
        let closed = Arc::new(AtomicBool::new(false));
        let offsets = KafkaOffsets { consumer: Arc::downgrade(&consumer), closed: Arc::clone(&closed) };
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new()
            .name(format!("{group} kafka"))
            .spawn(move || poll(&consumer, &sender, &closed, &runtime))
            .map_err(|error| LogError(error.to_string()))?;
        Ok(Subscription { deliveries, offsets: Box::new(offsets) })
    }
}

struct KafkaOffsets {
    // The thread owns the consumer, since dropping one blocks.
    consumer: Weak<BaseConsumer<Rebalancing>>,
    closed: Arc<AtomicBool>,
}

impl Offsets for KafkaOffsets {
    fn store(&self, partition: &Partition, next: i64) {
        // librdkafka stores the offset after the one it is given. After a revoke this fails, as it should: the
        // partition's progress is its next owner's.
        let Some(consumer) = self.consumer.upgrade() else { return };
        if let Err(error) = consumer.store_offset(&partition.topic, partition.partition, next - 1) {
            tracing::debug!(topic = partition.topic, partition = partition.partition, %error, "offset not stored");
        }
    }
}

impl Drop for KafkaOffsets {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

/// Runs on a thread of its own: librdkafka's callbacks and the closing of a consumer block.
fn poll(
    consumer: &BaseConsumer<Rebalancing>,
    deliveries: &mpsc::Sender<Delivery>,
    closed: &AtomicBool,
    runtime: &tokio::runtime::Handle,
) {
    while !closed.load(Ordering::Relaxed) {
        match consumer.poll(POLL) {
            None => {}
            Some(Ok(message)) => {
                let delivery = Delivery::Record(record(&message));
                if !deliver(consumer, deliveries, delivery, closed, runtime) {
                    break;
                }
            }
            Some(Err(error)) => {
                if let Some((code, reason)) = consumer.client().fatal_error() {
                    let broken = Delivery::Broken(format!("{code}: {reason}"));
                    deliver(consumer, deliveries, broken, closed, runtime);
                    break;
                }
                // Everything else librdkafka retries by itself.
                tracing::warn!(%error, "kafka consumer");
            }
        }
    }
    if let Err(error) = consumer.commit_consumer_state(CommitMode::Sync)
        && error.rdkafka_error_code() != Some(RDKafkaErrorCode::NoOffset)
    {
        tracing::warn!(%error, "the last offsets were not committed; their records will come again");
    }
}

/// Hands a delivery over. While there is no room the partitions are paused and polling goes on, so that the member
/// stays in its group. Returns whether anybody is still listening.
fn deliver(
    consumer: &BaseConsumer<Rebalancing>,
    deliveries: &mpsc::Sender<Delivery>,
    delivery: Delivery,
    closed: &AtomicBool,
    runtime: &tokio::runtime::Handle,
) -> bool {
    let mut paused = false;
    loop {
        let room = runtime.block_on(async { tokio::time::timeout(FULL_WAIT, deliveries.reserve()).await });
        let assigned = || consumer.assignment().unwrap_or_else(|_| TopicPartitionList::new());
        match room {
            Ok(Err(_)) => return false,
            Ok(Ok(permit)) => {
                permit.send(delivery);
                if paused && let Err(error) = consumer.resume(&assigned()) {
                    tracing::warn!(%error, "kafka consumer could not resume");
                }
                return true;
            }
            Err(_) if closed.load(Ordering::Relaxed) => return false,
            Err(_) => {
                if !paused && let Err(error) = consumer.pause(&assigned()) {
                    tracing::warn!(%error, "kafka consumer could not pause");
                }
                paused = true;
                // Nothing is fetched while paused; this serves heartbeats and callbacks. A record that still comes
                // is seeked back to.
                if let Some(Ok(message)) = consumer.poll(Duration::ZERO) {
                    let offset = rdkafka::Offset::Offset(message.offset());
                    if let Err(error) = consumer.seek(message.topic(), message.partition(), offset, POLL) {
                        tracing::warn!(%error, "kafka consumer could not seek back");
                    }
                }
            }
        }
    }
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect()
    });
    let partition = Partition { topic: message.topic().to_owned(), partition: message.partition() };
    Record {
        at: Position { partition, offset: message.offset() },
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
    }
}

/// Turns the callbacks of a rebalance into deliveries.
struct Rebalancing {
    deliveries: mpsc::Sender<Delivery>,
}

impl ClientContext for Rebalancing {}

impl ConsumerContext for Rebalancing {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(revoked) = rebalance {
            let (done, finished) = oneshot::channel();
            if self.deliveries.blocking_send(Delivery::Revoked(partitions(revoked), done)).is_ok() {
                wait(finished);
            }
            // Nothing to commit is an error, too.
            let _ = consumer.commit_consumer_state(CommitMode::Sync);
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(assigned) = rebalance {
            // Nobody listens any more only when the subscription is being dropped.
            let _ = self.deliveries.blocking_send(Delivery::Assigned(partitions(assigned)));
        }
    }
}

fn wait(mut finished: oneshot::Receiver<()>) {
    let deadline = std::time::Instant::now() + REVOKE_WAIT;
    while finished.try_recv() == Err(oneshot::error::TryRecvError::Empty) && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements()
        .iter()
        .map(|element| Partition { topic: element.topic().to_owned(), partition: element.partition() })
        .collect()
}
