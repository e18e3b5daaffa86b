//! What is on Kafka's topics, read to the end without a group, with the time at which the broker had it.

use anyhow::{Context, Result, ensure};
use contracts::{EventType, OrderId, event_id};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use runtime::event_log::{NewRecord, Partition, Position, Record};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long the broker may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The highest version of an order that is looked for behind an event's id.
const VERSIONS: i64 = 64;

/// A record, and when the broker appended it, in milliseconds.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The record.
    pub record: Record,
    /// When it was appended.
    pub at: i64,
}

/// The same record, to be appended once more.
pub fn again(record: &Record) -> NewRecord {
    NewRecord {
        topic: record.at.partition.topic.clone(),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
    }
}

fn consumer(servers: &str, group: &str) -> Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers).set("group.id", group).set("enable.auto.commit", "false");
    Ok(config.create()?)
}

/// Every partition of these topics, and the offset at its end.
fn ends(consumer: &BaseConsumer, topics: &[String]) -> Result<BTreeMap<(String, i32), i64>> {
    let mut ends = BTreeMap::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            let (_, end) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE)?;
            ends.insert((topic.clone(), partition.id()), end);
        }
    }
    Ok(ends)
}

/// Reads these topics from their beginning to the end that they have now. Blocks.
pub fn read_to_end(servers: &str, topics: &[String]) -> Result<Vec<Appended>> {
    let consumer = consumer(servers, "audit-reader")?;
    let mut left: BTreeMap<(String, i32), i64> = ends(&consumer, topics)?;
    left.retain(|_, end| *end > 0);
    let mut assignment = TopicPartitionList::new();
    for (topic, partition) in left.keys() {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut appended = Vec::new();
    let mut heard = Instant::now();
    while !left.is_empty() {
        ensure!(heard.elapsed() < PATIENCE, "the broker went silent; not read: {left:?}");
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        heard = Instant::now();
        let partition = Partition { topic: message.topic().to_owned(), partition: message.partition() };
        let key = (partition.topic.clone(), partition.partition);
        if left.get(&key).is_some_and(|end| message.offset() + 1 >= *end) {
            left.remove(&key);
        }
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect()
        });
        let at = Position { partition, offset: message.offset() };
        let (key, value) = (message.key().map(<[u8]>::to_vec), message.payload().map(<[u8]>::to_vec));
        let record = Record { at, key, value, headers };
        appended.push(Appended { record, at: message.timestamp().to_millis().unwrap_or_default() });
    }
    Ok(appended)
}

/// How many records of these topics a group has not read yet. Blocks.
pub fn lag(servers: &str, group: &str, topics: &[String]) -> Result<i64> {
    let consumer = consumer(servers, group)?;
    let ends = ends(&consumer, topics)?;
    let mut wanted = TopicPartitionList::new();
    for (topic, partition) in ends.keys() {
        wanted.add_partition(topic, *partition);
    }
    let committed = consumer.committed_offsets(wanted, PATIENCE)?;
    let read = |topic: &str, partition: i32| {
        let element = committed.find_partition(topic, partition);
        element.and_then(|element| element.offset().to_raw()).unwrap_or(0).max(0)
    };
    Ok(ends.iter().map(|((topic, partition), end)| end - read(topic, *partition)).sum())
}

/// An event as it is on the topics: its first appearance, and how often it appears.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its type.
    pub event_type: EventType,
    /// The service that says it.
    pub service: &'static str,
    /// The order.
    pub order: Uuid,
    /// The version of the order that it tells of, at the service that says it.
    pub version: Option<i64>,
    /// When it was first appended, in milliseconds.
    pub first: i64,
    /// How many records say it.
    pub times: usize,
    /// What it says.
    pub value: Value,
}

/// The events behind these records. An event's copies must be equal.
pub fn events(appended: &[Appended]) -> Result<HashMap<Uuid, Event>> {
    let mut events: HashMap<Uuid, Event> = HashMap::new();
    for Appended { record, at } in appended {
        let value: Value = serde_json::from_slice(record.value.as_deref().unwrap_or_default())?;
        let id: Uuid = value["eventId"].as_str().context("no eventId")?.parse()?;
        let order: Uuid = value["payload"]["orderId"].as_str().context("no orderId")?.parse()?;
        let topic = &record.at.partition.topic;
        let event_type =
            EventType::ALL.iter().find(|event_type| event_type.topic() == topic).context("a strange topic")?;
        match events.get_mut(&id) {
            Some(known) => {
                ensure!(
                    known.value == value,
                    "I-6: two events {id} of order {order} differ: {} and {value}",
                    known.value
                );
                known.first = known.first.min(*at);
                known.times += 1;
            }
            None => {
                let service = event_type.sender();
                let is_of = |version: &i64| event_id(service, OrderId(order), *version, event_type.name()) == id;
                let version = (1..=VERSIONS).find(is_of);
                events.insert(
                    id,
                    Event { event_type: *event_type, service, order, version, first: *at, times: 1, value },
                );
            }
        }
    }
    Ok(events)
}

/// What of these is not in order: I-6, and I-2 as far as the topics show it. For every order and sending service, first
/// appearances must be in the order in which the events happened. With what is wrong comes whose it is.
pub fn out_of_order(events: &HashMap<Uuid, Event>) -> Vec<(Uuid, String)> {
    let mut by_sender: HashMap<(Uuid, &str), Vec<&Event>> = HashMap::new();
    let mut wrong = Vec::new();
    for (id, event) in events {
        by_sender.entry((event.order, event.service)).or_default().push(event);
        if event.version.is_none() {
            wrong.push((event.order, format!("I-6: event {id} ({:?}) is of no version", event.event_type)));
        }
    }
    for ((order, service), mut said) in by_sender {
        said.sort_by_key(|event| event.version);
        for pair in said.windows(2) {
            if pair[0].version < pair[1].version && pair[0].first > pair[1].first {
                let what = |event: &Event| format!("{:?} (version {:?})", event.event_type, event.version);
                let late = pair[0].first - pair[1].first;
                wrong
                    .push((order, format!("I-6: {service} said {} {late} ms before {}", what(pair[1]), what(pair[0]))));
            }
        }
        let types: HashSet<&str> = said.iter().map(|event| event.event_type.name()).collect();
        if types.contains("OrderFailed") && (types.contains("OrderConfirmed") || types.contains("OrderCancelled")) {
            wrong.push((order, format!("I-2: {service} said {types:?}")));
        }
    }
    wrong
}

/// I-8: copies of one dead letter are of one record, by their `dlt-original-*` headers, and hold it as it was.
pub fn check_dead_letters(letters: &[Record], records: &[Appended]) -> Result<()> {
    let originals: HashMap<(&str, String, String), &Record> = records
        .iter()
        .map(|appended| {
            let at = &appended.record.at;
            let place = (at.partition.topic.as_str(), at.partition.partition.to_string(), at.offset.to_string());
            (place, &appended.record)
        })
        .collect();
    for letter in letters {
        let header = |name: &str| letter.header(name).with_context(|| format!("I-8: no {name} on {letter:?}"));
        let (topic, partition) = (header("dlt-original-topic")?, header("dlt-original-partition")?);
        let place = (topic, partition.to_owned(), header("dlt-original-offset")?.to_owned());
        let original = originals.get(&place).with_context(|| format!("I-8: no record is at {place:?}"))?;
        ensure!(original.key == letter.key && original.value == letter.value, "I-8: {letter:?} is not {original:?}");
    }
    Ok(())
}
