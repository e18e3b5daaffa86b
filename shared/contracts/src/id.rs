//! Identities. An order's id is a UUID everywhere; the other ids are made by one service and opaque to the rest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};
use uuid::Uuid;

/// Namespace of every id that we derive (UUIDv5, RFC 9562 section 5.5) and do not draw.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f72_6465_722d_7379_7374_656d_2d69_6473);

fn derived(name: fmt::Arguments<'_>) -> Uuid {
    // Room for most names, so that the text need not grow: every step derives a few.
    let mut text = String::with_capacity(128);
    text.write_fmt(name).expect("writing to a string cannot fail");
    Uuid::new_v5(&NAMESPACE, text.as_bytes())
}

/// Orders from before this moment (2026-11-29 12:00 UTC, in milliseconds) keep the ids that were derived for them then.
const BESIDE_SINCE: u128 = 1_795_953_600_000;

/// An id derived for something that an order has one of, made to begin with the order's moment as the order's own id
/// does (UUIDv8, RFC 9562 section 5.8). In an index, new ones so stand next to each other; hashes would be all over it.
pub fn beside(order: OrderId, derived: Uuid) -> Uuid {
    let (order, derived) = (order.0.as_u128(), derived.as_u128());
    // The milliseconds since 1970 of a UUIDv7; what another order-service draws has other bits there, which do as well.
    let moment = order >> 80;
    match moment < BESIDE_SINCE {
        true => Uuid::from_u128(derived),
        false => Uuid::new_v8((moment << 80 | derived << 48 >> 48).to_be_bytes()),
    }
}

/// The id of the event of one type that a service emits with one version of one order. A step that runs twice
/// derives the same id again, so its receivers see a duplicate.
pub fn event_id(service: &str, order: OrderId, version: i64, event_type: &str) -> Uuid {
    derived(format_args!("{service}/{order}/{version}/{event_type}"))
}

/// An order, in every service: the Kafka key of all its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct OrderId(pub Uuid);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

opaque_id!(
    /// A payment, named by the payment service. Ours are UUIDs; a foreign service's may be any text.
    PaymentId
);
opaque_id!(
    /// A refund, named by whoever asked for it first.
    RefundId
);
opaque_id!(
    /// A reservation of stock, named by the inventory service.
    ReservationId
);

impl PaymentId {
    /// The one payment of an order.
    pub fn of(order: OrderId) -> Self {
        PaymentId(beside(order, derived(format_args!("payment/{order}"))).to_string())
    }
}

impl RefundId {
    /// The one refund of a payment that nobody else has named.
    pub fn of(payment: &PaymentId) -> Self {
        RefundId(derived(format_args!("refund/{payment}")).to_string())
    }
}

impl ReservationId {
    /// The one reservation of an order.
    pub fn of(order: OrderId) -> Self {
        ReservationId(derived(format_args!("reservation/{order}")).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(id: &str) -> OrderId {
        OrderId(id.parse().expect("an id"))
    }

    #[test]
    fn a_payments_id_stands_beside_its_orders_and_is_derived_alike_each_time() {
        let id = order("01a30000-0000-7aaa-8bbb-0123456789ab");
        assert_eq!(PaymentId::of(id).0, "01a30000-0000-8275-b314-c0465b3ba03a");
    }

    #[test]
    fn an_earlier_orders_payment_keeps_its_id() {
        let id = order("01990000-0000-7aaa-8bbb-0123456789ab");
        assert_eq!(PaymentId::of(id).0, derived(format_args!("payment/{id}")).to_string());
    }
}
