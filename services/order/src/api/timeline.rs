//! An order's timeline: what it has been through, over all services, and what is still to come.

use super::view::OrderStatus;
use crate::saga::{Cause, Money, Order, OrderSaga, Passage, Stage};
use contracts::{EventType, event_id};
use poem_openapi::{Enum, Object};
use runtime::saga::{Instance, Named, Saga};
use uuid::Uuid;

/// What an entry of a timeline is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum EntryKind {
    /// A caller asked for something.
    Request,
    /// A deadline passed or was moved.
    Deadline,
    /// A service told the others of something.
    Event,
    /// The order is in another state.
    Transition,
}

/// One thing that happened.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct TimelineEntry {
    /// When order-service took note of it, ISO 8601, UTC.
    at: String,
    /// What it is.
    kind: EntryKind,
    /// The service that did it.
    service: String,
    /// The type of the event, such as `PaymentConfirmed`; or what was asked for, or what passed, such as
    /// `CANCEL_REQUESTED`; or the state that the order went to, such as `AWAITING_INVENTORY`.
    name: String,
    /// The event's id, if it is one.
    #[oai(skip_serializing_if_is_none)]
    event_id: Option<Uuid>,
    /// How the order stood then.
    status: OrderStatus,
    /// What was known of the money then.
    money: String,
    /// The version of the order that this made.
    version: i64,
}

/// A step that is still to come.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct ComingStep {
    /// The service that is to do it.
    service: String,
    /// The events of which one will tell of it.
    events: Vec<String>,
    /// Until when it is waited for, ISO 8601, UTC; none while it is not its turn, and for what nothing waits for.
    #[oai(skip_serializing_if_is_none)]
    deadline: Option<String>,
}

/// An order's timeline.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct Timeline {
    /// The order.
    order_id: Uuid,
    /// How it stands.
    status: OrderStatus,
    /// What has happened, in the order in which order-service took note of it.
    entries: Vec<TimelineEntry>,
    /// What is still to come, in order, if all goes well.
    next: Vec<ComingStep>,
}

impl From<Instance<OrderSaga>> for Timeline {
    fn from(instance: Instance<OrderSaga>) -> Self {
        let history = &instance.state.history;
        // Every step has one passage and one applied input; an order from before there were timelines has fewer passages.
        let first = instance.version - i64::try_from(history.len()).unwrap_or(0) + 1;
        let inputs = &instance.applied[instance.applied.len().saturating_sub(history.len())..];
        let mut entries = Vec::new();
        let mut before = (Stage::Unknown, Money::Unknown);
        for ((passage, version), input) in history.iter().zip(first..).zip(inputs) {
            entries.extend(entries_of(&instance, passage, before, version, *input));
            before = (passage.stage, passage.money);
        }
        Timeline {
            order_id: instance.order.0,
            status: instance.state.stage.into(),
            entries,
            next: coming(&instance.state),
        }
    }
}

fn entries_of(
    instance: &Instance<OrderSaga>,
    passage: &Passage,
    (stage, money): (Stage, Money),
    version: i64,
    input: Uuid,
) -> Vec<TimelineEntry> {
    let Passage { at, cause, .. } = *passage;
    let entry = |kind, service: &str, name: &str, event_id, (stage, money): (Stage, Money)| TimelineEntry {
        at: at.to_string(),
        kind,
        service: service.to_owned(),
        name: name.to_owned(),
        event_id,
        status: stage.into(),
        money: money.name().to_owned(),
        version,
    };
    let (before, after) = ((stage, money), (passage.stage, passage.money));
    let mut entries = vec![match (cause, cause.event_type()) {
        (_, Some(event)) => entry(EntryKind::Event, event.sender(), event.name(), Some(input), before),
        (Cause::Placed | Cause::CancelRequested, None) => {
            entry(EntryKind::Request, OrderSaga::SERVICE, cause.name(), None, before)
        }
        (_, None) => entry(EntryKind::Deadline, OrderSaga::SERVICE, cause.name(), None, before),
    }];
    if stage != passage.stage {
        entries.push(entry(EntryKind::Transition, OrderSaga::SERVICE, passage.stage.name(), None, after));
        if let Some(event) = told(passage.stage) {
            let id = event_id(OrderSaga::SERVICE, instance.order, version, event.name());
            entries.push(entry(EntryKind::Event, OrderSaga::SERVICE, event.name(), Some(id), after));
        }
    }
    entries
}

/// What the others are told of an order that comes to this stage.
fn told(stage: Stage) -> Option<EventType> {
    match stage {
        Stage::AwaitingPayment => Some(EventType::OrderCreated),
        Stage::Confirmed => Some(EventType::OrderConfirmed),
        Stage::Failed => Some(EventType::OrderFailed),
        Stage::Cancelled => Some(EventType::OrderCancelled),
        Stage::Unknown | Stage::AwaitingInventory => None,
    }
}

fn coming(order: &Order) -> Vec<ComingStep> {
    use EventType::{
        InventoryFailed, InventoryReleased, InventoryReserved, OrderConfirmed, PaymentConfirmed, PaymentFailed,
        PaymentRefunded,
    };
    let deadline = order.deadline.map(|deadline| deadline.to_string());
    let step = |events: &[EventType], deadline: Option<String>| ComingStep {
        service: events.first().map_or("", |event| event.sender()).to_owned(),
        events: events.iter().map(|event| event.name().to_owned()).collect(),
        deadline,
    };
    let has = |cause| order.history.iter().any(|passage| passage.cause == cause);
    match order.stage {
        Stage::Unknown => vec![],
        Stage::AwaitingPayment => vec![
            step(&[PaymentConfirmed, PaymentFailed], deadline),
            step(&[InventoryReserved, InventoryFailed], None),
            step(&[OrderConfirmed], None),
        ],
        Stage::AwaitingInventory => {
            vec![step(&[InventoryReserved, InventoryFailed], deadline), step(&[OrderConfirmed], None)]
        }
        // The stock's answer may overtake the payment's.
        Stage::Confirmed if order.money == Money::Unknown => vec![step(&[PaymentConfirmed], None)],
        Stage::Confirmed => vec![],
        Stage::Failed | Stage::Cancelled => {
            let refund = (order.money == Money::RefundDue).then(|| step(&[PaymentRefunded], None));
            let held = has(Cause::InventoryReserved) && !has(Cause::InventoryReleased);
            refund.into_iter().chain(held.then(|| step(&[InventoryReleased], None))).collect()
        }
    }
}
