//! What services say of themselves, over a topic of its own: kept for minutes, read from its end, in no group.

use super::{KafkaLog, KafkaSettings};
use crate::dashboard::{Board, Bulletin};
use crate::event_log::LogError;
use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::error::KafkaResult;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

/// The topic.
const TOPIC: &str = "service.snapshots";
/// How long what was said is kept, in milliseconds.
const KEPT: &str = "600000";
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(500);
/// After how long in which not even this process is heard the clients are made anew: they may have lost the brokers for
/// good (see [`super::lost`]).
const SILENCE: Duration = Duration::from_secs(30);

/// The topic, to be created.
pub(super) fn topic(replication: TopicReplication<'_>) -> NewTopic<'_> {
    NewTopic::new(TOPIC, 1, replication).set("retention.ms", KEPT).set("segment.ms", KEPT)
}

type Speaker = ThreadedProducer<DefaultProducerContext>;

struct Topic(RwLock<Speaker>);

impl Bulletin for Topic {
    fn post(&self, speaker: &str, text: &str) {
        let said = BaseRecord::to(TOPIC).key(speaker).payload(text);
        // A full queue means that the log is away: the next one will do.
        let _ = self.0.read().unwrap_or_else(PoisonError::into_inner).send(said);
    }
}

impl KafkaLog {
    /// Lets the services of this process be heard by others, and the others be heard on this board, for as long as it
    /// is there.
    pub fn join(&self, board: &Arc<Board>) -> Result<(), LogError> {
        let first = speaker(&self.settings).map_err(|error| super::failed(&error))?;
        let topic = Arc::new(Topic(RwLock::new(first)));
        board.and(Arc::clone(&topic) as Arc<dyn Bulletin>);
        let (settings, heard) = (self.settings.clone(), Arc::downgrade(board));
        let listen = move || loop {
            if let Err(error) = listen(&settings, &heard) {
                tracing::warn!(%error, "other services are not heard of; the dashboard shows those of this process");
                std::thread::sleep(SILENCE);
            }
            if heard.strong_count() == 0 {
                return;
            }
            if let Ok(new) = speaker(&settings) {
                // Its end takes a moment, for which nobody need wait.
                let _old = std::mem::replace(&mut *topic.0.write().unwrap_or_else(PoisonError::into_inner), new);
            }
        };
        // A thread of its own, since librdkafka's consumer blocks.
        std::thread::Builder::new()
            .name("bulletin".into())
            .spawn(listen)
            .map_err(|error| LogError(error.to_string()))?;
        Ok(())
    }
}

fn speaker(settings: &KafkaSettings) -> KafkaResult<Speaker> {
    KafkaLog::client(settings)
        // What cannot be said soon is not worth saying.
        .set("message.timeout.ms", "3000")
        .set("queue.buffering.max.messages", "100")
        .set("compression.type", "lz4")
        .create()
}

/// Listens until nothing is heard for long, or nobody wants to hear.
fn listen(settings: &KafkaSettings, board: &Weak<Board>) -> KafkaResult<()> {
    let mut config: ClientConfig = KafkaLog::client(settings);
    config
        // Required by the client; nothing is committed, and no group is joined.
        .set("group.id", "service.snapshots")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "latest")
        // The topic is created by whichever program comes first.
        .set("allow.auto.create.topics", "false");
    let consumer: BaseConsumer = config.create()?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(TOPIC, 0, Offset::End)?;
    consumer.assign(&from)?;
    let mut heard_at = Instant::now();
    while heard_at.elapsed() < SILENCE
        && let Some(board) = board.upgrade()
    {
        // Errors are a broker that is away, which the client waits for by itself.
        if let Some(Ok(message)) = consumer.poll(POLL)
            && let (Some(Ok(speaker)), Some(Ok(text))) = (message.key_view::<str>(), message.payload_view::<str>())
        {
            heard_at = Instant::now();
            board.hear(speaker, text);
        }
    }
    Ok(())
}
