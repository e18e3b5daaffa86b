//! The writing side of a Kafka client.

use super::lost::{finds_brokers, is_lost};
use super::{DEAD_LETTER_BYTES, KafkaLog, KafkaSettings, failed};
use crate::event_log::{LogError, NewRecord};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer, PurgeConfig};
use rdkafka::util::Timeout;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::OnceCell;

/// From so many bytes on a record is compressed: a topic that others made takes about a megabyte.
const LARGE: usize = 900_000;
/// The largest record that the client takes from us, compressed or not.
const LARGEST: &str = "1000000000";
/// How often is looked whether the brokers are lost,
const LOOK: Duration = Duration::from_secs(5);
/// and how long they may take for an answer.
const ASK: Duration = Duration::from_secs(1);

/// The producers, which are made anew when they have lost the brokers.
pub(super) struct Writer {
    settings: KafkaSettings,
    producers: RwLock<Arc<Producers>>,
}

/// What writes.
struct Producers {
    usual: FutureProducer,
    /// For what a topic may not take as it is. Few systems ever need it, so it is made when it is.
    compressing: OnceCell<FutureProducer>,
}

impl Producers {
    fn new(settings: &KafkaSettings) -> Result<Arc<Self>, LogError> {
        let usual = producing(settings).create().map_err(|error| failed(&error))?;
        Ok(Arc::new(Producers { usual, compressing: OnceCell::new() }))
    }

    /// The producer for this record. A topic's limit is one of what it gets over the wire: others may have sent more than
    /// that, compressed, and an answer, or its dead letter, is about as large.
    async fn of(&self, record: &NewRecord, settings: &KafkaSettings) -> Result<&FutureProducer, LogError> {
        let parts = [&record.key, &record.value].into_iter().flatten().map(Vec::len).sum::<usize>();
        if parts < LARGE {
            return Ok(&self.usual);
        }
        let make = || async {
            let mut config = producing(settings);
            config.set("compression.type", "gzip").set("message.max.bytes", LARGEST);
            config.create().map_err(|error| failed(&error))
        };
        self.compressing.get_or_try_init(make).await
    }

    fn all(&self) -> impl Iterator<Item = &FutureProducer> {
        [&self.usual].into_iter().chain(self.compressing.get())
    }

    /// Has whoever waits for a record be told that it was not sent.
    fn give_back(&self) {
        self.all().for_each(|producer| producer.purge(PurgeConfig::default().queue().inflight()));
    }
}

impl Writer {
    /// Makes the producers, and watches over them for as long as the writer is there.
    pub(super) fn start(settings: &KafkaSettings) -> Result<Arc<Self>, LogError> {
        let producers = RwLock::new(Producers::new(settings)?);
        let writer = Arc::new(Writer { settings: settings.clone(), producers });
        let watched = Arc::downgrade(&writer);
        // A thread of its own, since librdkafka's questions block.
        std::thread::Builder::new()
            .name("kafka writer".into())
            .spawn(move || watch(&watched))
            .map_err(|error| LogError(error.to_string()))?;
        Ok(writer)
    }

    fn producers(&self) -> Arc<Producers> {
        Arc::clone(&self.producers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a record, however long that takes.
    pub(super) async fn send(&self, record: &NewRecord) -> Result<(), LogError> {
        loop {
            let producers = self.producers();
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
            match producers.of(record, &self.settings).await?.send(message, Timeout::Never).await {
                Ok(_) => return Ok(()),
                // It was taken from a producer that had lost the brokers. The next one sends it.
                Err((
                    KafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight),
                    _,
                )) => {}
                Err((error, _)) => return Err(failed(&error)),
            }
        }
    }

    /// Puts new producers in the place of those that have lost the brokers, which are returned.
    fn renew(&self) -> Result<Arc<Producers>, LogError> {
        let new = Producers::new(&self.settings)?;
        let old = std::mem::replace(&mut *self.producers.write().unwrap_or_else(PoisonError::into_inner), new);
        old.give_back();
        Ok(old)
    }
}

fn watch(writer: &Weak<Writer>) {
    let mut lost: Vec<Arc<Producers>> = Vec::new();
    loop {
        std::thread::sleep(LOOK);
        let Some(writer) = writer.upgrade() else { return };
        // Some may have been given a record at the last moment.
        lost.retain(|old| {
            old.give_back();
            Arc::strong_count(old) > 1
        });
        let is_lost = |producer: &FutureProducer| {
            producer.in_flight_count() > 0
                && !finds_brokers(producer.client(), ASK)
                && is_lost(&writer.settings, producer.client())
        };
        if writer.producers().all().any(is_lost) {
            tracing::warn!("the Kafka producer has lost the brokers for good; it is made anew");
            match writer.renew() {
                Ok(old) => lost.push(old),
                Err(error) => tracing::error!(%error, "the Kafka producer cannot be made anew; trying again"),
            }
        }
    }
}

pub(super) fn producing(settings: &KafkaSettings) -> ClientConfig {
    let mut config = KafkaLog::client(settings);
    config
        .set("enable.idempotence", "true")
        // A broker takes any first sequence number from a producer that it does not know, on a new partition or
        // after a day without records. With a second request under way, one that is to be sent again would so be
        // overtaken, and librdkafka takes what was overtaken for stored (`rd_kafka_dr_implicit_ack`).
        .set("max.in.flight.requests.per.connection", "1")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("message.timeout.ms", "0")
        // The brokers' limits decide; ours must not stop a dead letter that the topic would take.
        .set("message.max.bytes", DEAD_LETTER_BYTES)
        // Java's default, so that producers in other languages put an order in the same partition.
        .set("partitioner", "murmur2_random");
    config
}
