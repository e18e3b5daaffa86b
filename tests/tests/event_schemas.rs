//! The AsyncAPI document and the JSON Schemas say what the messages really are.

use anyhow::{Context, Result};
use contracts::{Decoded, EventType, decode};
use e2e::api::{Service, example, order_of};
use e2e::embedded::Embedded;
use e2e::schemas::Schemas;
use serde_json::{Value, json};

/// Every type of event flows, of orders with and without a contact, and each record is what the document says.
#[tokio::test]
async fn all_that_flows_is_what_the_document_says() -> Result<()> {
    let embedded = Embedded::start().await?;
    let api = &embedded.api;
    let with_contact = |mut order: Value| {
        order["contact"] = json!({"email": "ann@example.org", "webhookUrl": "https://example.org/hook"});
        order
    };
    for order in [example(), with_contact(example())] {
        let id = api.place(&order).await?;
        assert_eq!(api.until_final(&id).await?["status"], "CONFIRMED");
        let cancel = api.request(reqwest::Method::POST, Service::Order, &format!("/api/orders/{id}/cancel"));
        assert_eq!(cancel.json(&json!({"reason": "ordered twice"})).send().await?.status(), 202);
        api.until(&id, "refunded", |order| order["money"] == "REFUNDED").await?;

        let mut declined = order;
        declined["customerId"] = json!("fail-payment");
        assert_eq!(api.until_final(&api.place(&declined).await?).await?["status"], "FAILED");
    }
    for order in [order_of("P2", 1_000_001), with_contact(order_of("P2", 1_000_001))] {
        let id = api.place(&order).await?;
        api.until(&id, "refunded", |order| order["money"] == "REFUNDED").await?;
    }
    let records = embedded.finish_with_records().await?;
    Schemas::generated()?.check_all(&records)?;
    Ok(())
}

fn is_read(event_type: EventType, key: &str, value: &Value) -> bool {
    let read = decode(event_type.topic(), Some(key.as_bytes()), Some(value.to_string().as_bytes()));
    matches!(read, Ok(Decoded::Event(_)))
}

/// The pointers of every field in this value.
fn fields(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(values) => values.iter().enumerate().map(|(i, value)| (i.to_string(), value)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (name, child) in children {
        let pointer = format!("{at}/{name}");
        fields(child, &pointer, found);
        if value.is_object() {
            found.push(pointer);
        }
    }
}

fn without(value: &Value, pointer: &str) -> Option<Value> {
    let mut value = value.clone();
    let (parent, name) = pointer.rsplit_once('/')?;
    value.pointer_mut(parent)?.as_object_mut()?.remove(name)?;
    Some(value)
}

fn with(value: &Value, pointer: &str, other: Value) -> Option<Value> {
    let mut value = value.clone();
    *value.pointer_mut(pointer)? = other;
    Some(value)
}

/// What the schemas allow is read, whatever is changed about a message; and they allow no field to be missing.
#[test]
fn what_the_schemas_allow_is_read() -> Result<()> {
    let schemas = Schemas::generated()?;
    for event_type in EventType::ALL.iter().copied() {
        let example: Value = serde_json::from_str(event_type.example())?;
        let key = example["payload"]["orderId"].as_str().context("no orderId")?.to_owned();
        let allowed = |value: &Value| schemas.check_value(event_type.topic(), value).is_ok();
        schemas.check_value(event_type.topic(), &example)?;

        let mut open = example.clone();
        open["later"] = json!({"a": 1});
        open["payload"]["later"] = json!([1]);
        open["version"] = json!("1.7");
        assert!(allowed(&open) && is_read(event_type, &key, &open), "{event_type:?}: unknown fields");

        let mut pointers = Vec::new();
        fields(&example, "", &mut pointers);
        for pointer in pointers {
            let missing = without(&example, &pointer).context("a field")?;
            assert!(!allowed(&missing), "{event_type:?} may lack {pointer}");
            for other in [json!(null), json!("x"), json!(""), json!(7), json!(7.5), json!([]), json!({}), json!(true)] {
                let changed = with(&example, &pointer, other).context("a field")?;
                let read = is_read(event_type, &key, &changed);
                assert!(!allowed(&changed) || read, "{event_type:?}: the schema allows {changed}");
            }
        }
    }
    Ok(())
}
