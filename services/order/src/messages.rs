//! What order-service reads and writes on the log. `docs/messages.md` lists the fields.

use crate::saga::{Event, Input, Order};
use contracts::{
    Amount, EventType, OrderCancelled, OrderConfirmed, OrderCreated, OrderFailed, OrderId, Payload, Status, Timestamp,
};

/// The events that order-service reads.
pub const READS: &[EventType] = &[
    EventType::PaymentConfirmed,
    EventType::PaymentFailed,
    EventType::InventoryReserved,
    EventType::InventoryFailed,
    EventType::PaymentRefundRequested,
    EventType::PaymentRefunded,
    EventType::InventoryReleased,
];

/// What an event means for an order.
pub fn receive(payload: Payload) -> Option<Input> {
    match payload {
        Payload::PaymentConfirmed(_) => Some(Input::PaymentConfirmed),
        Payload::PaymentFailed(event) => Some(Input::PaymentFailed(event.reason)),
        Payload::InventoryReserved(_) => Some(Input::InventoryReserved),
        Payload::InventoryFailed(event) => Some(Input::InventoryFailed(event.reason)),
        Payload::PaymentRefundRequested(_) => Some(Input::RefundRequested),
        Payload::PaymentRefunded(_) => Some(Input::PaymentRefunded),
        Payload::InventoryReleased(_) => Some(Input::InventoryReleased),
        Payload::OrderCreated(_)
        | Payload::OrderConfirmed(_)
        | Payload::OrderFailed(_)
        | Payload::OrderCancelled(_) => None,
    }
}

/// What the others are told.
pub fn emit(order_id: OrderId, order: &Order, event: &Event, at: Timestamp) -> Option<Payload> {
    let customer_id = || order.details.customer_id.clone();
    let contact = &order.details.contact;
    match event {
        Event::Placed(details, _) => Some(Payload::OrderCreated(OrderCreated {
            order_id,
            customer_id: customer_id(),
            total_amount: Amount::Exact(details.total),
            currency: details.currency.clone(),
            items: details.lines.clone(),
            contact: contact.clone(),
        })),
        Event::Confirmed => Some(Payload::OrderConfirmed(OrderConfirmed {
            order_id,
            customer_id: customer_id(),
            status: Status::Confirmed,
            confirmed_at: at.to_string(),
            contact: contact.clone(),
        })),
        Event::Failed(reason) => Some(Payload::OrderFailed(OrderFailed {
            order_id,
            customer_id: customer_id(),
            status: Status::Failed,
            reason: reason.clone(),
            failed_at: at.to_string(),
            contact: contact.clone(),
        })),
        Event::Cancelled(reason) => Some(Payload::OrderCancelled(OrderCancelled {
            order_id,
            customer_id: customer_id(),
            status: Status::Cancelled,
            reason: reason.clone(),
            cancelled_at: at.to_string(),
            contact: contact.clone(),
        })),
        Event::MoneyMoved(_) | Event::PaymentAccepted(_) | Event::DeadlineMoved(_) | Event::Noted(..) => None,
    }
}
