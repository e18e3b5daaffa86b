//! The payloads, one struct per event type, field for field as `docs/messages.md` lists them.

use crate::{Amount, Contact, Money, OrderId, PaymentId, RefundId, ReservationId, amount, is_iso4217, object, schema};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

/// The largest quantity of one line, so that sums over an order's lines stay far from overflow.
pub const MAX_QUANTITY: i64 = 1_000_000_000;

/// How an order, a payment or a refund ended, as events state it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// An order or a payment that went through.
    Confirmed,
    /// An order or a payment that did not.
    Failed,
    /// An order that was called off.
    Cancelled,
    /// A payment that was given back.
    Refunded,
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderLine {
    /// What is ordered.
    pub product_id: String,
    /// How many; a foreign service may send an impossible number.
    #[serde(deserialize_with = "amount::whole")]
    pub quantity: i64,
    /// The price of one.
    pub unit_price: Amount,
}

/// An order was accepted. From order-service, read by payment and inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderCreated {
    /// The order.
    pub order_id: OrderId,
    /// Who ordered.
    pub customer_id: String,
    /// What is charged.
    pub total_amount: Amount,
    /// ISO 4217.
    #[schemars(extend("pattern" = "^[A-Z]{3}$"))]
    pub currency: String,
    /// What is ordered.
    #[serde(deserialize_with = "object::list")]
    pub items: Vec<OrderLine>,
    /// How to reach the customer, if the order came with it.
    #[serde(default, deserialize_with = "crate::contact::read", skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
}

impl OrderCreated {
    /// What makes this order impossible to pay, if anything does.
    pub fn unpayable(&self) -> Option<String> {
        if let Err(why) = self.total_amount.positive() {
            return Some(why);
        }
        if !is_iso4217(&self.currency) {
            return Some(format!("{:?} is not a currency of ISO 4217", self.currency));
        }
        let impossible = |line: &OrderLine| match &line.unit_price {
            Amount::Exact(price) if *price >= Money::ZERO => None,
            Amount::Exact(price) => Some(format!("{:?} cannot cost {price}", line.product_id)),
            Amount::Impossible(price) => Some(format!("{:?} cannot cost {price}", line.product_id)),
        };
        if let Some(why) = self.items.iter().find_map(impossible) {
            return Some(why);
        }
        unfillable(self.items.iter().map(|line| (line.product_id.as_str(), line.quantity)))
    }
}

/// What makes these lines impossible to deliver, if anything does.
pub fn unfillable<'a>(lines: impl IntoIterator<Item = (&'a str, i64)>) -> Option<String> {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_none() {
        return Some("the order has no items".into());
    }
    lines
        .find(|(_, quantity)| !(1..=MAX_QUANTITY).contains(quantity))
        .map(|(product, quantity)| format!("a quantity of {quantity} of {product:?} cannot be delivered"))
}

/// The customer was charged. From payment-service, read by inventory and order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentConfirmed {
    /// The payment.
    pub payment_id: PaymentId,
    /// The order.
    pub order_id: OrderId,
    /// What was charged.
    pub amount: Amount,
    /// ISO 4217.
    #[schemars(extend("pattern" = "^[A-Z]{3}$"))]
    pub currency: String,
    /// `CONFIRMED`.
    #[schemars(schema_with = "schema::confirmed")]
    pub status: Status,
}

/// The customer was not charged and will not be. From payment-service, read by order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentFailed {
    /// The payment.
    pub payment_id: PaymentId,
    /// The order.
    pub order_id: OrderId,
    /// What was to be charged.
    pub amount: Amount,
    /// ISO 4217.
    pub currency: String,
    /// `FAILED`.
    #[schemars(schema_with = "schema::failed")]
    pub status: Status,
    /// Why, for people.
    pub reason: String,
}

/// A line that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservedLine {
    /// What is held.
    pub product_id: String,
    /// How many were ordered.
    #[serde(deserialize_with = "amount::whole")]
    pub quantity: i64,
    /// How many are held: all, since a reservation is all or nothing.
    #[serde(deserialize_with = "amount::whole")]
    pub reserved_quantity: i64,
}

/// A product of which there is too little.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissingLine {
    /// What is missing.
    pub product_id: String,
    /// How many the order needs, over all its lines.
    #[serde(deserialize_with = "amount::whole")]
    pub requested_quantity: i64,
    /// How many there were.
    #[serde(deserialize_with = "amount::whole")]
    pub available_quantity: i64,
}

/// Every line of the order is held. From inventory-service, read by order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryReserved {
    /// The reservation.
    pub reservation_id: ReservationId,
    /// The order.
    pub order_id: OrderId,
    /// What is held.
    #[serde(deserialize_with = "object::list")]
    pub items: Vec<ReservedLine>,
}

/// Nothing is held, since not everything can be. From inventory-service, read by order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryFailed {
    /// The order.
    pub order_id: OrderId,
    /// Why, for people.
    pub reason: String,
    /// The products of which there is too little.
    #[serde(deserialize_with = "object::list")]
    pub items: Vec<MissingLine>,
}

/// The charge is to be given back. From inventory-service, read by payment and order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRefundRequested {
    /// The refund.
    pub refund_id: RefundId,
    /// The payment.
    pub payment_id: PaymentId,
    /// The order.
    pub order_id: OrderId,
    /// All that was charged.
    pub amount: Amount,
    /// ISO 4217.
    pub currency: String,
    /// Why, for people.
    pub reason: String,
}

/// Paid for and held. From order-service, read by notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderConfirmed {
    /// The order.
    pub order_id: OrderId,
    /// Who ordered.
    pub customer_id: String,
    /// `CONFIRMED`.
    #[schemars(schema_with = "schema::confirmed")]
    pub status: Status,
    /// When, ISO 8601.
    #[schemars(extend("format" = "date-time"))]
    pub confirmed_at: String,
    /// How to reach the customer, if the order came with it.
    #[serde(default, deserialize_with = "crate::contact::read", skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
}

/// Why an order failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// For programs, such as `PAYMENT_DECLINED`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// The order will not be delivered. From order-service, read by payment, inventory and notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderFailed {
    /// The order.
    pub order_id: OrderId,
    /// Who ordered.
    pub customer_id: String,
    /// `FAILED`.
    #[schemars(schema_with = "schema::failed")]
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// When, ISO 8601.
    #[schemars(extend("format" = "date-time"))]
    pub failed_at: String,
    /// How to reach the customer, if the order came with it.
    #[serde(default, deserialize_with = "crate::contact::read", skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
}

/// The order was called off. From order-service, read by payment, inventory and notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderCancelled {
    /// The order.
    pub order_id: OrderId,
    /// Who ordered.
    pub customer_id: String,
    /// `CANCELLED`.
    #[schemars(schema_with = "schema::cancelled")]
    pub status: Status,
    /// Why, in the words of who called it off.
    pub reason: String,
    /// When, ISO 8601.
    #[schemars(extend("format" = "date-time"))]
    pub cancelled_at: String,
    /// How to reach the customer, if the order came with it.
    #[serde(default, deserialize_with = "crate::contact::read", skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
}

/// The charge was given back. From payment-service, read by order, inventory and notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRefunded {
    /// The refund.
    pub refund_id: RefundId,
    /// The payment.
    pub payment_id: PaymentId,
    /// The order.
    pub order_id: OrderId,
    /// Who gets it back.
    pub customer_id: String,
    /// What was given back: all that was charged.
    pub amount: Money,
    /// ISO 4217.
    #[schemars(extend("pattern" = "^[A-Z]{3}$"))]
    pub currency: String,
    /// `REFUNDED`.
    #[schemars(schema_with = "schema::refunded")]
    pub status: Status,
    /// Why, for people.
    pub reason: String,
    /// How to reach the customer, if the order came with it.
    #[serde(default, deserialize_with = "crate::contact::read", skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
}

/// What was held is free again. From inventory-service, read by order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryReleased {
    /// The reservation.
    pub reservation_id: ReservationId,
    /// The order.
    pub order_id: OrderId,
    /// What was held.
    #[serde(deserialize_with = "object::list")]
    pub items: Vec<ReservedLine>,
    /// Why, for people.
    pub reason: String,
}

macro_rules! payloads {
    ($($name:ident on $topic:literal from $sender:literal),* $(,)?) => {
        /// The type of an event, which names its topic and its payload.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventType { $(
            #[doc = concat!("On `", $topic, "`.")]
            $name,
        )* }

        impl EventType {
            /// Every event type there is.
            pub const ALL: &[EventType] = &[$(EventType::$name),*];

            /// The value of `eventType`.
            pub const fn name(self) -> &'static str {
                match self { $(EventType::$name => stringify!($name),)* }
            }

            /// The one topic that carries this type.
            pub const fn topic(self) -> &'static str {
                match self { $(EventType::$name => $topic,)* }
            }

            /// The service that says it.
            pub const fn sender(self) -> &'static str {
                match self { $(EventType::$name => $sender,)* }
            }

            /// The JSON Schema (2020-12) of the messages of this type: what whoever writes them keeps to, and what their
            /// readers rely on. It refers to nothing outside itself.
            pub fn schema(self) -> Schema {
                match self { $(EventType::$name => schema::of_message::<$name>(self),)* }
            }

            /// A message of this type, as its sender writes it.
            pub const fn example(self) -> &'static str {
                match self { $(EventType::$name => include_str!(concat!("../examples/", $topic, ".json")),)* }
            }

            pub(crate) fn parse(self, json: &str) -> serde_json::Result<Payload> {
                Ok(match self { $(EventType::$name => Payload::$name(serde_json::from_str(json)?),)* })
            }
        }

        /// The payload of an event.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(untagged)]
        pub enum Payload { $(
            #[doc = concat!("On `", $topic, "`.")]
            $name($name),
        )* }

        impl Payload {
            /// The type of this event.
            pub const fn event_type(&self) -> EventType {
                match self { $(Payload::$name(_) => EventType::$name,)* }
            }

            /// The order that this event is about.
            pub const fn order_id(&self) -> OrderId {
                match self { $(Payload::$name(payload) => payload.order_id,)* }
            }
        }
    };
}

payloads! {
    OrderCreated on "order.created" from "order-service",
    PaymentConfirmed on "payment.confirmed" from "payment-service",
    PaymentFailed on "payment.failed" from "payment-service",
    InventoryReserved on "inventory.reserved" from "inventory-service",
    InventoryFailed on "inventory.failed" from "inventory-service",
    PaymentRefundRequested on "payment.refund.requested" from "inventory-service",
    OrderConfirmed on "order.confirmed" from "order-service",
    OrderFailed on "order.failed" from "order-service",
    OrderCancelled on "order.cancelled" from "order-service",
    PaymentRefunded on "payment.refunded" from "payment-service",
    InventoryReleased on "inventory.released" from "inventory-service",
}

impl EventType {
    /// The type of this name on this topic, if there is one.
    pub fn find(topic: &str, name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.topic() == topic && known.name() == name)
    }
}
