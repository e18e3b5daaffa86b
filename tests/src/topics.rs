//! What is on the topics, checked field by field against the contract, and against the databases.

use crate::audit::Audited;
use anyhow::{Context, Result, ensure};
use contracts::EventType;
use inventory_service::saga::Stage as Held;
use order_service::saga::Stage;
use payment_service::saga::Stage as Paid;
use runtime::event_log::{Change, EventLog, Record, Subscription};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The fields of each payload, as the contract lists them; `[]` are the fields of the lines.
const FIELDS: &[(EventType, &str)] = &[
    (EventType::OrderCreated, "orderId customerId totalAmount currency items [productId quantity unitPrice]"),
    (EventType::PaymentConfirmed, "paymentId orderId amount currency status"),
    (EventType::PaymentFailed, "paymentId orderId amount currency status reason"),
    (EventType::InventoryReserved, "reservationId orderId items [productId quantity reservedQuantity]"),
    (EventType::InventoryFailed, "orderId reason items [productId requestedQuantity availableQuantity]"),
    (EventType::PaymentRefundRequested, "refundId paymentId orderId amount currency reason"),
    (EventType::OrderConfirmed, "orderId customerId status confirmedAt"),
    (EventType::OrderFailed, "orderId customerId status reason failedAt"),
    (EventType::OrderCancelled, "orderId customerId status reason cancelledAt"),
    (EventType::PaymentRefunded, "refundId paymentId orderId customerId amount currency status reason"),
    (EventType::InventoryReleased, "reservationId orderId items reason [productId quantity reservedQuantity]"),
];
const ENVELOPE: &str = "eventId eventType version correlationId timestamp payload";
const HEADERS: [&str; 3] = ["traceparent", "correlation-id", "event-type"];

/// How long the log may take for the next record: joining a group of Kafka takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads these topics from their beginning to the end that they have now, under a group of its own.
pub async fn read_all(log: &dyn EventLog, topics: &[String]) -> Result<Vec<Record>> {
    let mut subscription = log.subscribe(&format!("audit-{}", Uuid::new_v4()), topics).await?;
    let assigned = async {
        loop {
            if let Change::Assigned(_) = subscription.changes.recv().await.context("the subscription ended")? {
                return subscription.membership.extents().await.map_err(anyhow::Error::from);
            }
        }
    };
    let extents = tokio::time::timeout(PATIENCE, assigned).await.context("no partitions were assigned")??;
    let mut left: HashMap<_, _> =
        extents.into_iter().filter(|e| e.stored < e.end).map(|e| (e.partition, e.end)).collect();
    let mut records = Vec::new();
    while !left.is_empty() {
        let read = tokio::time::timeout(PATIENCE, next(&mut subscription)).await;
        let record = read.with_context(|| format!("nothing more came, but these go further: {left:?}"))??;
        let at = &record.at;
        if left.get(&at.partition).is_some_and(|end| at.offset + 1 >= *end) {
            left.remove(&at.partition);
        }
        records.push(record);
    }
    Ok(records)
}

/// The next record of a subscription, whatever else happens to it.
pub async fn next(subscription: &mut Subscription) -> Result<Record> {
    loop {
        tokio::select! {
            biased;
            change = subscription.changes.recv() => match change.context("the subscription ended")? {
                Change::Assigned(_) | Change::Away(_) | Change::Back => {}
                Change::Revoked(_, done) => drop(done.send(())),
                Change::Broken(why) => anyhow::bail!(why),
            },
            record = subscription.records.next() => return record.map(Arc::unwrap_or_clone).context("the subscription ended"),
        }
    }
}

/// Every topic of the contract.
pub fn event_topics() -> Vec<String> {
    EventType::ALL.iter().map(|event_type| event_type.topic().to_owned()).collect()
}

fn names(object: &Value) -> BTreeSet<&str> {
    object.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

/// Checks that an event of ours has exactly the listed fields, amounts as numbers, and its headers.
pub fn check_fields(record: &Record) -> Result<Value> {
    let topic = &record.at.partition.topic;
    let text = String::from_utf8(record.value.clone().context("no value")?)?;
    let event: Value = serde_json::from_str(&text)?;
    let (event_type, fields) =
        FIELDS.iter().find(|(event_type, _)| event_type.topic() == topic).with_context(|| format!("topic {topic}"))?;
    ensure!(event["eventType"] == event_type.name() && event["version"] == "1.0", "{topic}: {text}");
    ensure!(names(&event) == ENVELOPE.split(' ').collect(), "{topic}: the envelope of {text}");
    let (own, lines) = fields.split_once('[').unwrap_or((fields, "]"));
    let payload = &event["payload"];
    // Only an order that came with a contact carries one on.
    let mut expected: BTreeSet<&str> = own.split_whitespace().collect();
    expected.extend(payload["contact"]["email"].as_str().map(|_| "contact"));
    ensure!(names(payload) == expected, "{topic}: the payload of {text}");
    for line in payload["items"].as_array().into_iter().flatten() {
        ensure!(names(line) == lines.trim_end_matches(']').split(' ').collect(), "{topic}: the lines of {text}");
    }
    for amount in ["totalAmount", "amount"] {
        ensure!(payload.get(amount).is_none_or(Value::is_number), "{topic}: {amount} of {text}");
    }
    let key = record.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    ensure!(payload["orderId"] == key.as_ref(), "{topic}: key {key} of {text}");
    for header in HEADERS {
        ensure!(record.header(header).is_some_and(|value| !value.is_empty()), "{topic}: no header {header} on {text}");
    }
    Ok(event)
}

/// Checks that every state change has its event and every event its state change: one event id each.
pub fn check_against(records: &[Record], books: &Audited) -> Result<()> {
    let mut ids: HashMap<(Uuid, String), HashSet<String>> = HashMap::new();
    for record in records {
        let event: Value = serde_json::from_slice(record.value.as_deref().unwrap_or_default())?;
        let order: Uuid = event["payload"]["orderId"].as_str().unwrap_or_default().parse()?;
        let id = event["eventId"].as_str().unwrap_or_default().to_owned();
        ids.entry((order, record.at.partition.topic.clone())).or_default().insert(id);
    }
    let count =
        |order: &Uuid, event_type: EventType| ids.get(&(*order, event_type.topic().to_owned())).map_or(0, HashSet::len);
    let expect = |order: &Uuid, event_type: EventType, expected: bool| {
        let found = count(order, event_type);
        ensure!(found == usize::from(expected), "order {order} has {found} events of {event_type:?}");
        Ok(())
    };
    for (id, order) in &books.orders {
        let stage = order.state.stage;
        expect(id, EventType::OrderCreated, true)?;
        expect(id, EventType::OrderFailed, stage == Stage::Failed)?;
        expect(id, EventType::OrderCancelled, stage == Stage::Cancelled)?;
        let confirmed = count(id, EventType::OrderConfirmed);
        ensure!(confirmed == usize::from(stage == Stage::Confirmed) || stage == Stage::Cancelled, "order {id}");
    }
    for (id, payment) in &books.payments {
        let stage = payment.state.stage;
        expect(id, EventType::PaymentConfirmed, matches!(stage, Paid::Confirmed | Paid::Refunded))?;
        expect(id, EventType::PaymentFailed, stage == Paid::Failed)?;
        expect(id, EventType::PaymentRefunded, stage == Paid::Refunded)?;
    }
    for (id, reservation) in &books.reservations {
        let stage = reservation.state.stage;
        expect(id, EventType::InventoryReserved, matches!(stage, Held::Reserved | Held::Released))?;
        expect(id, EventType::InventoryFailed, stage == Held::Failed)?;
        expect(id, EventType::InventoryReleased, stage == Held::Released)?;
    }
    Ok(())
}
