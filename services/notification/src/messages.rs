//! What notification-service reads on the log, and what it makes of it for the customer. It writes nothing there.

use crate::saga::{Details, Input, News, Occasion};
use contracts::{EventType, Payload};

/// The events that notification-service reads.
pub const READS: &[EventType] =
    &[EventType::OrderConfirmed, EventType::OrderFailed, EventType::OrderCancelled, EventType::PaymentRefunded];

/// What an event means for an order's notices.
pub fn receive(payload: Payload) -> Option<Input> {
    match payload {
        Payload::OrderConfirmed(event) => Some(Input::Told(News {
            occasion: Occasion::OrderConfirmed,
            text: format!("Your order {} is confirmed.", event.order_id),
            customer_id: event.customer_id,
            details: Details::default(),
            contact: event.contact,
        })),
        Payload::OrderFailed(event) => Some(Input::Told(News {
            occasion: Occasion::OrderFailed,
            text: format!("Your order {} could not be completed: {}.", event.order_id, event.reason.message),
            customer_id: event.customer_id,
            details: Details {
                reason: Some(event.reason.message),
                code: Some(event.reason.code),
                ..Details::default()
            },
            contact: event.contact,
        })),
        Payload::OrderCancelled(event) => Some(Input::Told(News {
            occasion: Occasion::OrderCancelled,
            text: format!("Your order {} is cancelled.", event.order_id),
            customer_id: event.customer_id,
            details: Details { reason: Some(event.reason), ..Details::default() },
            contact: event.contact,
        })),
        Payload::PaymentRefunded(event) => Some(Input::Told(News {
            occasion: Occasion::PaymentRefunded,
            text: format!("We have returned {} {} for your order {}.", event.amount, event.currency, event.order_id),
            customer_id: event.customer_id,
            details: Details {
                reason: Some(event.reason),
                amount: Some(event.amount),
                currency: Some(event.currency),
                ..Details::default()
            },
            contact: event.contact,
        })),
        Payload::OrderCreated(_)
        | Payload::PaymentConfirmed(_)
        | Payload::PaymentFailed(_)
        | Payload::InventoryReserved(_)
        | Payload::InventoryFailed(_)
        | Payload::PaymentRefundRequested(_)
        | Payload::InventoryReleased(_) => None,
    }
}
