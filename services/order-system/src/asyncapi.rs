//! The AsyncAPI document: all that the services say to each other, made from the contract's types and from what each
//! saga reads.

use anyhow::Result;
use contracts::EventType;
use inventory_service::saga::InventorySaga;
use notification_service::saga::NotificationSaga;
use order_service::saga::OrderSaga;
use payment_service::saga::PaymentSaga;
use runtime::event_log::DEAD_LETTER_SUFFIX;
use runtime::saga::Saga;
use runtime::trace::Context;
use serde_json::{Map, Value, json};

/// The name of the document, beside those of the services.
pub const NAME: &str = "events.asyncapi.yaml";

/// The trace of the examples.
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The services, and what each reads.
pub const READERS: [(&str, &[EventType]); 4] = [
    (OrderSaga::SERVICE, OrderSaga::READS),
    (PaymentSaga::SERVICE, PaymentSaga::READS),
    (InventorySaga::SERVICE, InventorySaga::READS),
    (NotificationSaga::SERVICE, NotificationSaga::READS),
];

/// The document.
pub fn document() -> Result<Value> {
    let (mut channels, mut operations) = (Map::new(), Map::new());
    let (mut messages, mut schemas) = (Map::new(), Map::new());
    for event_type in EventType::ALL.iter().copied() {
        let (topic, name) = (event_type.topic(), event_type.name());
        channels.insert(topic.into(), channel(event_type));
        channels.insert(format!("{topic}{DEAD_LETTER_SUFFIX}"), dead_letter_channel(event_type));
        messages.insert(name.into(), message(event_type)?);
        schemas.insert(name.into(), schema(event_type));
        schemas.insert(format!("{name}Headers"), headers(event_type));
        let sender = event_type.sender();
        operations.insert(format!("{sender}.sends.{name}"), sends(sender, event_type));
        for (reader, _) in READERS.iter().filter(|(_, reads)| reads.contains(&event_type)) {
            operations.insert(format!("{reader}.reads.{name}"), reads(reader, event_type));
            operations.insert(format!("{reader}.gives-up.{name}"), gives_up(reader, event_type));
            operations.insert(format!("{reader}.keeps.{name}"), keeps(reader, event_type));
        }
    }
    messages.insert("DeadLetter".into(), dead_letter());
    schemas.insert("DeadLetterHeaders".into(), dead_letter_headers());
    Ok(json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Events of the order system",
            "version": "1.0",
            "license": {"name": "Apache-2.0"},
            "description": "All that the services say to each other over Kafka. The key of every record is the orderId. \
                Delivery is at least once: receivers recognise a duplicate by its eventId. Unknown fields are to be \
                ignored, anywhere; within version 1 only optional fields are added. Amounts are JSON numbers with at \
                most 4 decimal places, to be read without a binary float.",
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": {
            "host": "localhost:9092",
            "protocol": "kafka",
            "description": "The broker of compose.yaml, seen from its machine.",
        }},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }))
}

/// The document as text.
pub fn yaml() -> Result<String> {
    Ok(serde_yaml_ng::to_string(&serde_yaml_ng::from_str::<serde_yaml_ng::Value>(&document()?.to_string())?)?)
}

/// The JSON Schemas of the events, each a file of its own for those who have no use for the document around them.
pub fn schema_files() -> impl Iterator<Item = (String, String)> {
    EventType::ALL.iter().map(|event_type| {
        let schema = serde_json::to_string_pretty(&event_type.schema()).expect("a schema is JSON");
        (format!("{}.schema.json", event_type.topic()), schema + "\n")
    })
}

fn channel(event_type: EventType) -> Value {
    let name = event_type.name();
    json!({
        "address": event_type.topic(),
        "messages": {name: {"$ref": format!("#/components/messages/{name}")}},
        "bindings": {"kafka": {
            "topic": event_type.topic(),
            "partitions": 6,
            "topicConfiguration": {"max.message.bytes": 2_097_152},
            "bindingVersion": "0.5.0",
        }},
    })
}

fn dead_letter_channel(event_type: EventType) -> Value {
    let topic = format!("{}{DEAD_LETTER_SUFFIX}", event_type.topic());
    json!({
        "address": topic,
        "description": format!("Messages of {} that a reader could never handle.", event_type.topic()),
        "messages": {"DeadLetter": {"$ref": "#/components/messages/DeadLetter"}},
        "bindings": {"kafka": {
            "topic": topic,
            "partitions": 1,
            "topicConfiguration": {"max.message.bytes": 4_194_304},
            "bindingVersion": "0.5.0",
        }},
    })
}

fn message(event_type: EventType) -> Result<Value> {
    let name = event_type.name();
    let example: Value = serde_json::from_str(event_type.example())?;
    let event_id = example["eventId"].as_str().unwrap_or_default().parse()?;
    let headers = json!({
        "traceparent": Context::child_of(Context::read(TRACE), event_id).to_string(),
        "correlation-id": example["correlationId"],
        "event-type": name,
    });
    Ok(json!({
        "name": name,
        "title": name,
        "summary": event_type.schema().get("description"),
        "contentType": "application/json",
        "headers": {"$ref": format!("#/components/schemas/{name}Headers")},
        "payload": {"$ref": format!("#/components/schemas/{name}")},
        "correlationId": {"location": "$message.payload#/correlationId"},
        "bindings": {"kafka": {"key": key(), "bindingVersion": "0.5.0"}},
        "examples": [{"name": name, "headers": headers, "payload": example}],
    }))
}

/// The schema without its `$schema`: inside the document the dialect is AsyncAPI's, which says the same in these words.
fn schema(event_type: EventType) -> Value {
    let mut schema = event_type.schema();
    schema.remove("$schema");
    schema.to_value()
}

fn key() -> Value {
    json!({"type": "string", "format": "uuid", "description": "The orderId of the payload."})
}

fn headers(event_type: EventType) -> Value {
    let mut headers = event_headers();
    headers["event-type"]["const"] = event_type.name().into();
    json!({
        "type": "object",
        "description": "On every message of these services. Readers need none of them.",
        "properties": headers,
    })
}

fn event_headers() -> Value {
    json!({
        "traceparent": {
            "type": "string",
            "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
            "description": "W3C trace context: the trace of the request, with a span id made from the eventId.",
        },
        "correlation-id": {"type": "string", "description": "The correlationId of the value."},
        "event-type": {"type": "string", "description": "The eventType of the value."},
        "dlt-redriven": {
            "type": "string",
            "pattern": "^[0-9]+$",
            "description": "On a dead letter that was sent again: how often.",
        },
    })
}

fn dead_letter() -> Value {
    json!({
        "name": "DeadLetter",
        "title": "DeadLetter",
        "summary": "A message that could never be handled, with its key, value and headers as they were, and why.",
        "contentType": "application/octet-stream",
        "headers": {"$ref": "#/components/schemas/DeadLetterHeaders"},
        "payload": {"description": "The value as it was: maybe no event, maybe not JSON, maybe nothing at all."},
        "bindings": {"kafka": {
            "key": {"type": "string", "description": "The key as it was."},
            "bindingVersion": "0.5.0",
        }},
    })
}

fn dead_letter_headers() -> Value {
    let mut headers = event_headers();
    let number = json!({"type": "string", "pattern": "^[0-9]+$"});
    let added = json!({
        "dlt-original-topic": {"type": "string", "enum": EventType::ALL.iter().map(|t| t.topic()).collect::<Vec<_>>()},
        "dlt-original-partition": number,
        "dlt-original-offset": number,
        "dlt-consumer-group": {"type": "string", "description": "Who could not handle it."},
        "dlt-attempts": number,
        "dlt-error": {"type": "string", "description": "Why, at most 1 KiB."},
        "dlt-timestamp": {"type": "string", "format": "date-time"},
    });
    let required: Vec<&String> = added.as_object().into_iter().flat_map(Map::keys).collect();
    let all = headers.as_object_mut().into_iter().flat_map(std::mem::take);
    let all: Map<String, Value> = all.chain(added.as_object().cloned().unwrap_or_default()).collect();
    json!({
        "type": "object",
        "description": "The headers of the message as they were, and why it is here. Copies of one message share their \
            dlt-original headers.",
        "properties": all,
        "required": required,
    })
}

fn sends(service: &str, event_type: EventType) -> Value {
    let (topic, name) = (event_type.topic(), event_type.name());
    json!({
        "action": "send",
        "title": format!("{service} says {name}"),
        "tags": [{"name": service}],
        "channel": {"$ref": format!("#/channels/{topic}")},
        "messages": [{"$ref": format!("#/channels/{topic}/messages/{name}")}],
    })
}

fn reads(service: &str, event_type: EventType) -> Value {
    let mut operation = sends(service, event_type);
    operation["action"] = "receive".into();
    operation["title"] = format!("{service} reads {}", event_type.name()).into();
    operation["bindings"] = group(service);
    operation
}

fn group(name: &str) -> Value {
    json!({"kafka": {"groupId": {"type": "string", "const": name}, "bindingVersion": "0.5.0"}})
}

/// Every service keeps the dead letters of its own group as rows.
fn keeps(service: &str, event_type: EventType) -> Value {
    let mut operation = gives_up(service, event_type);
    operation["action"] = "receive".into();
    operation["title"] = format!("{service} keeps what it gave up of {}", event_type.name()).into();
    operation["bindings"] = group(&format!("{service}.dead-letters"));
    operation
}

fn gives_up(service: &str, event_type: EventType) -> Value {
    let topic = format!("{}{DEAD_LETTER_SUFFIX}", event_type.topic());
    json!({
        "action": "send",
        "title": format!("{service} gives {} up", event_type.name()),
        "tags": [{"name": service}, {"name": "dead letters"}],
        "channel": {"$ref": format!("#/channels/{topic}")},
        "messages": [{"$ref": format!("#/channels/{topic}/messages/DeadLetter")}],
    })
}
