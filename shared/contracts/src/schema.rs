//! JSON Schemas of the messages, made from the types that write and read them.
//!
//! A schema says what a good message is. Readers are more liberal: see `docs/messages.md`.

use crate::message::Written;
use crate::{Amount, EventType, Money, Status, Timestamp};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;
use std::borrow::Cow;

/// The schema of the messages with this payload.
pub(crate) fn of_message<P: JsonSchema + 'static>(event_type: EventType) -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.inline_subschemas = true);
    let mut generator = settings.into_generator();
    let payload = generator.root_schema_for::<P>();
    let mut schema = generator.into_root_schema_for::<Written<'static, P>>();
    schema.insert("title".into(), json!(event_type.name()));
    schema.insert("description".into(), payload.get("description").cloned().unwrap_or_default());
    if let Some(name) = schema.pointer_mut("/properties/eventType").and_then(serde_json::Value::as_object_mut) {
        name.insert("const".into(), json!(event_type.name()));
    }
    schema
}

fn exactly(status: Status) -> Schema {
    json_schema!({"type": "string", "const": status})
}

pub(crate) fn confirmed(_: &mut SchemaGenerator) -> Schema {
    exactly(Status::Confirmed)
}

pub(crate) fn failed(_: &mut SchemaGenerator) -> Schema {
    exactly(Status::Failed)
}

pub(crate) fn cancelled(_: &mut SchemaGenerator) -> Schema {
    exactly(Status::Cancelled)
}

pub(crate) fn refunded(_: &mut SchemaGenerator) -> Schema {
    exactly(Status::Refunded)
}

impl JsonSchema for Money {
    fn schema_name() -> Cow<'static, str> {
        "Money".into()
    }

    // No `multipleOf`: 99.99 is no multiple of 0.0001 to a validator that counts in binary floats.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number"})
    }
}

/// Any number: `payment.failed` repeats an impossible amount as it came.
impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Money::json_schema(generator)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}
