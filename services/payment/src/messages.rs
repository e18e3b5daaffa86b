//! What payment-service reads and writes on the log. `docs/messages.md` lists the fields.

use crate::saga::{Event, Input, Payment, RefundRequest};
use contracts::{
    Amount, EventType, OrderId, Payload, PaymentConfirmed, PaymentFailed, PaymentId, PaymentRefunded, RefundId, Status,
};

/// The events that payment-service reads.
pub const READS: &[EventType] =
    &[EventType::OrderCreated, EventType::PaymentRefundRequested, EventType::OrderFailed, EventType::OrderCancelled];

/// What an event means for a payment.
pub fn receive(payload: Payload) -> Option<Input> {
    match payload {
        Payload::OrderCreated(event) => Some(Input::OrderCreated {
            unpayable: event.unpayable(),
            customer_id: event.customer_id,
            amount: event.total_amount,
            currency: event.currency,
            contact: event.contact,
        }),
        Payload::PaymentRefundRequested(event) => Some(Input::RefundRequested(RefundRequest {
            order_id: event.order_id,
            refund_id: event.refund_id,
            payment_id: event.payment_id,
            amount: event.amount,
            currency: event.currency,
            reason: event.reason,
        })),
        Payload::OrderFailed(event) => Some(Input::Closed(event.reason.message)),
        Payload::OrderCancelled(event) => Some(Input::Closed(event.reason)),
        Payload::PaymentConfirmed(_)
        | Payload::PaymentFailed(_)
        | Payload::InventoryReserved(_)
        | Payload::InventoryFailed(_)
        | Payload::OrderConfirmed(_)
        | Payload::PaymentRefunded(_)
        | Payload::InventoryReleased(_) => None,
    }
}

/// What the others are told.
pub fn emit(order_id: OrderId, payment: &Payment, event: &Event) -> Option<Payload> {
    let payment_id = || PaymentId::of(order_id);
    match event {
        Event::Confirmed => Some(Payload::PaymentConfirmed(PaymentConfirmed {
            payment_id: payment_id(),
            order_id,
            amount: Amount::Exact(payment.amount),
            currency: payment.currency.clone(),
            status: Status::Confirmed,
        })),
        Event::Failed { amount, currency, reason, .. } => Some(Payload::PaymentFailed(PaymentFailed {
            payment_id: payment_id(),
            order_id,
            amount: amount.clone(),
            currency: currency.clone(),
            status: Status::Failed,
            reason: reason.clone(),
        })),
        Event::Refunded => {
            let (refund, payment_id) = (payment.refund.as_ref(), payment_id());
            Some(Payload::PaymentRefunded(PaymentRefunded {
                refund_id: refund
                    .and_then(|refund| refund.requested_as.clone())
                    .unwrap_or_else(|| RefundId::of(&payment_id)),
                payment_id,
                order_id,
                customer_id: payment.customer_id.clone(),
                amount: payment.amount,
                currency: payment.currency.clone(),
                status: Status::Refunded,
                reason: refund.map(|refund| refund.reason.clone()).unwrap_or_default(),
                contact: payment.contact.clone(),
            }))
        }
        Event::ChargeIntended { .. }
        | Event::Closed(_)
        | Event::RefundHeld(_)
        | Event::RefundDue(_)
        | Event::RefundIntended(_)
        | Event::RefundNamed(_)
        | Event::RefundRefused
        | Event::RefundNoted(_)
        | Event::Postponed { .. }
        | Event::Hastened
        | Event::AttentionNeeded(..)
        | Event::Acknowledged(_) => None,
    }
}
