//! What is on the topics, checked against the AsyncAPI document.

use anyhow::{Context, Result, ensure};
use contracts::{EventType, OrderId, event_id};
use jsonschema::Validator;
use runtime::event_log::{DEAD_LETTER_SUFFIX, Record};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The highest version of an order that is looked for behind an event's id.
const VERSIONS: i64 = 64;

/// What the document says of one topic.
struct Message {
    value: Validator,
    headers: Validator,
}

/// The schemas of the AsyncAPI document, by topic.
pub struct Schemas(BTreeMap<String, Message>);

impl Schemas {
    /// Those of the document that this program writes.
    pub fn generated() -> Result<Self> {
        let document = order_system::asyncapi::document()?;
        let channels = document["channels"].as_object().context("no channels")?;
        let mut messages = BTreeMap::new();
        for (name, channel) in channels {
            let references = channel["messages"].as_object().context("no messages")?;
            ensure!(references.len() == 1, "{name} has not one message");
            let message =
                references.values().next().map(|reference| resolved(&document, reference)).context(name.clone())?;
            let message = Message {
                value: validator(resolved(&document, &message["payload"]))?,
                headers: validator(resolved(&document, &message["headers"]))?,
            };
            messages.insert(channel["address"].as_str().context("no address")?.to_owned(), message);
        }
        Ok(Schemas(messages))
    }

    /// Whether a value is a good message of this topic, and what is wrong with it if not.
    pub fn check_value(&self, topic: &str, value: &Value) -> Result<()> {
        let message = self.0.get(topic).with_context(|| format!("the document has no topic {topic}"))?;
        let wrong: Vec<String> =
            message.value.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        ensure!(wrong.is_empty(), "{topic}: {value} is not what the document says: {wrong:?}");
        Ok(())
    }

    /// Whether a record of ours is what the document says: its value, its headers, its key and its sender.
    pub fn check(&self, record: &Record) -> Result<()> {
        let topic = record.at.partition.topic.as_str();
        let message = self.0.get(topic).with_context(|| format!("the document has no topic {topic}"))?;
        let headers: Map<String, Value> =
            record.headers.iter().map(|(name, value)| (name.clone(), json!(String::from_utf8_lossy(value)))).collect();
        let headers = Value::Object(headers);
        let wrong: Vec<String> = message.headers.iter_errors(&headers).map(|e| e.to_string()).collect();
        ensure!(wrong.is_empty(), "{topic}: the headers {headers} are not what the document says: {wrong:?}");
        if topic.ends_with(DEAD_LETTER_SUFFIX) {
            return Ok(());
        }
        let value: Value = serde_json::from_slice(record.value.as_deref().context("no value")?)?;
        self.check_value(topic, &value)?;
        amounts_are_money(&value).with_context(|| format!("{topic}: {value}"))?;
        ensure!(headers["correlation-id"] == value["correlationId"], "{topic}: {headers} of {value}");
        let order = value["payload"]["orderId"].as_str().unwrap_or_default();
        ensure!(record.key.as_deref() == Some(order.as_bytes()), "{topic}: the key {:?} of {value}", record.key);
        is_of_its_sender(topic, order.parse()?, &value)
    }

    /// Checks all of these, and that every event type is among them. Returns how many there are of each topic.
    pub fn check_all(&self, records: &[Record]) -> Result<BTreeMap<String, usize>> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for record in records {
            self.check(record)?;
            *seen.entry(record.at.partition.topic.clone()).or_default() += 1;
        }
        let all: BTreeSet<&str> = EventType::ALL.iter().map(|event_type| event_type.topic()).collect();
        let unseen: Vec<_> = all.iter().filter(|topic| !seen.contains_key(**topic)).collect();
        ensure!(unseen.is_empty(), "nothing was ever on {unseen:?}");
        Ok(seen)
    }
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let reference = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    reference.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

fn validator(schema: &Value) -> Result<Validator> {
    ensure!(schema.get("$ref").is_none(), "nothing is at {schema}");
    Ok(jsonschema::draft202012::options().should_validate_formats(true).build(schema)?)
}

/// At most four decimal places, which no schema can say to a validator that counts in binary floats.
fn amounts_are_money(value: &Value) -> Result<()> {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            let is_amount = name.to_lowercase().contains("amount") || name.contains("Price");
            match value.as_number().filter(|_| is_amount) {
                Some(number) => {
                    contracts::Money::from_number(number).map(drop).with_context(|| format!("{name}: {number}"))
                }
                None => amounts_are_money(value),
            }
        }),
        Value::Array(values) => values.iter().try_for_each(amounts_are_money),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// An event's id is made of its sender's name.
fn is_of_its_sender(topic: &str, order: Uuid, value: &Value) -> Result<()> {
    let event_type = EventType::ALL.iter().find(|t| t.topic() == topic).context("a strange topic")?;
    let id = |version| event_id(event_type.sender(), OrderId(order), version, event_type.name()).to_string();
    ensure!((1..=VERSIONS).any(|version| value["eventId"] == id(version)), "{topic}: not of {}", event_type.sender());
    Ok(())
}
