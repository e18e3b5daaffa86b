//! What inventory-service reads and writes on the log. `docs/messages.md` lists the fields.

use crate::saga::{Close, Event, Input, Line, Payment, Reservation};
use contracts::{
    EventType, InventoryFailed, InventoryReleased, InventoryReserved, OrderId, Payload, PaymentRefundRequested,
    RefundId, ReservationId, ReservedLine,
};

/// The events that inventory-service reads.
pub const READS: &[EventType] = &[
    EventType::OrderCreated,
    EventType::PaymentConfirmed,
    EventType::OrderFailed,
    EventType::OrderCancelled,
    EventType::PaymentRefunded,
];

/// What an event means for a reservation.
pub fn receive(payload: Payload) -> Option<Input> {
    match payload {
        Payload::OrderCreated(event) => {
            let line = |line: contracts::OrderLine| Line { product_id: line.product_id, quantity: line.quantity };
            Some(Input::OrderCreated(event.items.into_iter().map(line).collect()))
        }
        Payload::PaymentConfirmed(event) => Some(Input::PaymentConfirmed(Payment {
            payment_id: event.payment_id,
            amount: event.amount,
            currency: event.currency,
        })),
        Payload::OrderFailed(event) => Some(Input::Closed(Close::Ended(event.reason.message))),
        Payload::OrderCancelled(event) => Some(Input::Closed(Close::Ended(event.reason))),
        Payload::PaymentRefunded(event) => Some(Input::Closed(Close::Refunded(event.reason))),
        Payload::PaymentFailed(_)
        | Payload::InventoryReserved(_)
        | Payload::InventoryFailed(_)
        | Payload::PaymentRefundRequested(_)
        | Payload::OrderConfirmed(_)
        | Payload::InventoryReleased(_) => None,
    }
}

/// What the others are told.
pub fn emit(order_id: OrderId, reservation: &Reservation, event: &Event) -> Option<Payload> {
    let held = |line: &Line| ReservedLine {
        product_id: line.product_id.clone(),
        quantity: line.quantity,
        reserved_quantity: line.quantity,
    };
    match event {
        Event::Reserved => Some(Payload::InventoryReserved(InventoryReserved {
            reservation_id: ReservationId::of(order_id),
            order_id,
            items: reservation.lines.iter().map(held).collect(),
        })),
        Event::Failed { reason, missing } => {
            Some(Payload::InventoryFailed(InventoryFailed { order_id, reason: reason.clone(), items: missing.clone() }))
        }
        Event::Released(reason) => Some(Payload::InventoryReleased(InventoryReleased {
            reservation_id: ReservationId::of(order_id),
            order_id,
            items: reservation.lines.iter().map(held).collect(),
            reason: reason.clone(),
        })),
        Event::RefundRequested(reason) => {
            let payment = reservation.payment.as_ref()?;
            Some(Payload::PaymentRefundRequested(PaymentRefundRequested {
                refund_id: RefundId::of(&payment.payment_id),
                payment_id: payment.payment_id.clone(),
                order_id,
                amount: payment.amount.clone(),
                currency: payment.currency.clone(),
                reason: reason.clone(),
            }))
        }
        Event::LinesLearned(_) | Event::PaymentHeld(..) | Event::PaymentLearned(_) | Event::Closed(_) => None,
    }
}
