//! The envelope around every payload, and the one place that reads what others wrote.

use crate::{EventType, OrderId, Payload, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use uuid::Uuid;

/// The version of the contract that we write. Readers accept every minor version of major version 1.
const VERSION: &str = "1.0";

/// An event with what every event carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The key under which receivers recognise a duplicate.
    pub event_id: Uuid,
    /// Ties together all that came of one request; may be empty.
    pub correlation_id: String,
    /// What happened.
    pub payload: Payload,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Written<'a, P> {
    /// The key under which receivers recognise a duplicate.
    event_id: Uuid,
    /// What happened; the topic carries nothing else.
    event_type: &'static str,
    /// Readers accept every minor version of major version 1.
    #[schemars(extend("pattern" = r"^1(\..*)?$"))]
    version: &'static str,
    /// Ties together all that came of one request; may be empty.
    correlation_id: &'a str,
    /// When the step behind the event was decided.
    timestamp: Timestamp,
    /// The event's own fields.
    payload: &'a P,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read<'a> {
    event_id: Uuid,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(default)]
    correlation_id: Option<String>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

impl Envelope {
    /// The message's value: UTF-8 JSON.
    pub fn encode(&self, timestamp: Timestamp) -> Vec<u8> {
        encode(self.event_id, &self.correlation_id, &self.payload, timestamp)
    }
}

/// A message's value: UTF-8 JSON.
pub fn encode(event_id: Uuid, correlation_id: &str, payload: &Payload, timestamp: Timestamp) -> Vec<u8> {
    let event_type = payload.event_type().name();
    let written = Written { event_id, event_type, version: VERSION, correlation_id, timestamp, payload };
    let mut value = Vec::with_capacity(512);
    serde_json::to_writer(&mut value, &written).expect("payloads have string keys and no failing serializer");
    value
}

/// A message that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly every message is an event")]
pub enum Decoded {
    /// An event of ours.
    Event(Envelope),
    /// An event of a type that this topic does not have, to be ignored and counted.
    UnknownType(String),
}

/// Why a message can never be handled: it belongs on the dead-letter topic, with this as the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// No value, or an empty one.
    #[error("the message has no value")]
    NoValue,
    /// Bytes that are no text.
    #[error("the value is not UTF-8: {0}")]
    NotUtf8(std::str::Utf8Error),
    /// Not JSON, or not an envelope.
    #[error("the envelope cannot be read: {0}")]
    Envelope(String),
    /// A major version that this program does not know.
    #[error("version {0:?} is not known here, only 1.x is")]
    UnknownVersion(String),
    /// A payload that lacks a field, or holds one of another type.
    #[error("the payload of {0} cannot be read: {1}")]
    Payload(&'static str, String),
    /// A key that does not name the order.
    #[error("the key {key:?} is not the orderId {order}")]
    WrongKey {
        /// The key, as text.
        key: String,
        /// The payload's order.
        order: OrderId,
    },
}

/// Reads a message as it came from a topic.
pub fn decode(topic: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Decoded, BadMessage> {
    let value = value.filter(|value| !value.is_empty()).ok_or(BadMessage::NoValue)?;
    let text = without_nul(std::str::from_utf8(value).map_err(BadMessage::NotUtf8)?);
    // serde would also take the fields of an object from an array, in their order.
    let object = |json: &str| json.trim_start().starts_with('{').then_some(()).ok_or("not an object".to_owned());
    object(&text).map_err(BadMessage::Envelope)?;
    let envelope: Read<'_> = serde_json::from_str(&text).map_err(|error| BadMessage::Envelope(error.to_string()))?;
    if envelope.version.split('.').next() != Some("1") {
        return Err(BadMessage::UnknownVersion(envelope.version.into_owned()));
    }
    let Some(event_type) = EventType::find(topic, &envelope.event_type) else {
        return Ok(Decoded::UnknownType(envelope.event_type.into_owned()));
    };
    let payload = envelope.payload.ok_or_else(|| BadMessage::Envelope("missing field `payload`".to_owned()))?.get();
    let payload = object(payload)
        .and_then(|()| event_type.parse(payload).map_err(|error| error.to_string()))
        .map_err(|why| BadMessage::Payload(event_type.name(), why))?;
    let key = String::from_utf8_lossy(key.unwrap_or_default());
    if Uuid::try_parse(&key) != Ok(payload.order_id().0) {
        return Err(BadMessage::WrongKey { key: key.into_owned(), order: payload.order_id() });
    }
    Ok(Decoded::Event(Envelope {
        event_id: envelope.event_id,
        correlation_id: envelope.correlation_id.unwrap_or_default(),
        payload,
    }))
}

/// JSON with U+FFFD in place of the character NUL, which PostgreSQL stores in no text: its escape is the one way in.
fn without_nul(json: &str) -> Cow<'_, str> {
    const NUL: &str = "\\u0000";
    let mut whole = Cow::Borrowed(json);
    let mut from = 0;
    while let Some(at) = whole[from..].find(NUL).map(|at| from + at) {
        let escaped = whole[..at].bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1;
        if !escaped {
            whole.to_mut().replace_range(at..at + NUL.len(), "\\ufffd");
        }
        from = at + NUL.len();
    }
    whole
}

#[cfg(test)]
mod tests;
