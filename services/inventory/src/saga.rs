//! The rules of an order's reservation. `docs/sagas/inventory.md` shows every cell; it is generated from these rules.
//!
//! A reservation needs the order's lines and its payment, which come from two services in any order.

mod decide;

use contracts::{Amount, MissingLine, OrderId, Payload, PaymentId, Timestamp};
use runtime::saga::{Decision, Due, Saga};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use strum::{EnumString, IntoStaticStr, VariantArray};

/// The saga of inventory-service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InventorySaga {
    /// How long a payment is held for an order that is not heard of, in milliseconds; none is for ever.
    pub deadline: Option<i64>,
}

/// How far a reservation has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, VariantArray, IntoStaticStr, EnumString)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Stage {
    /// Never heard of.
    #[default]
    Unknown,
    /// The lines are known, the payment is not.
    AwaitingPayment,
    /// The payment is known and held, the lines are not.
    AwaitingOrder,
    /// Both are known. Only inside a transaction, while the stock is locked; never at rest.
    Allocating,
    /// Every line is held.
    Reserved,
    /// Nothing is held, since not everything could be. Final.
    Failed,
    /// What was held is free again. Final.
    Released,
    /// The order was closed before anything was held. Final.
    Closed,
}

/// What an order needs of one product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The product.
    pub product_id: String,
    /// How many; a foreign service may send an impossible number.
    pub quantity: i64,
}

/// The payment of an order, as it was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    /// The payment.
    pub payment_id: PaymentId,
    /// How much was charged.
    pub amount: Amount,
    /// ISO 4217.
    pub currency: String,
}

/// Where a reservation stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reservation {
    /// How far it has come.
    pub stage: Stage,
    /// The order's lines, once they are known.
    pub lines: Vec<Line>,
    /// The order's payment, once it is known.
    pub payment: Option<Payment>,
    /// The products of which there was too little.
    pub missing: Vec<MissingLine>,
    /// Why it failed, was released or was closed.
    pub reason: Option<String>,
    /// Until when the payment is held for the order.
    pub deadline: Option<Timestamp>,
}

/// Why an order is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Close {
    /// `order.failed` or `order.cancelled`, with its reason.
    Ended(String),
    /// `payment.refunded`: there is nothing left to ask back.
    Refunded(String),
}

/// What can come to a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// `order.created`
    OrderCreated(Vec<Line>),
    /// `payment.confirmed`
    PaymentConfirmed(Payment),
    /// `order.failed`, `order.cancelled` or `payment.refunded`
    Closed(Close),
    /// The order whose payment is held did not come in time.
    OrderOverdue,
    /// Under the locks: there is enough of everything.
    StockSuffices,
    /// Under the locks: there is too little of these.
    StockShort(Vec<MissingLine>),
}

/// What can happen to a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The order's lines became known.
    LinesLearned(Vec<Line>),
    /// The order's payment became known before the order, and is held for it until then.
    PaymentHeld(Payment, Option<Timestamp>),
    /// The order's payment became known.
    PaymentLearned(Payment),
    /// Every line is held from here on.
    Reserved,
    /// Nothing is held.
    Failed {
        /// Why, for people.
        reason: String,
        /// The products of which there was too little.
        missing: Vec<MissingLine>,
    },
    /// What was held is free again, for this reason.
    Released(String),
    /// The order was closed before anything was held, for this reason.
    Closed(String),
    /// The payment is to be given back, for this reason.
    RefundRequested(String),
}

impl Saga for InventorySaga {
    const SERVICE: &'static str = "inventory-service";
    const READS: &'static [contracts::EventType] = crate::messages::READS;
    type State = Reservation;
    type Input = Input;
    type Event = Event;
    type Effect = Infallible;

    fn decide(&self, reservation: &Reservation, input: &Input, at: Timestamp) -> Decision<Event> {
        decide::decide(self, reservation, input, at)
    }

    fn evolve(reservation: Reservation, event: &Event) -> Reservation {
        match event {
            Event::LinesLearned(lines) => {
                let stage = match reservation.payment {
                    None => Stage::AwaitingPayment,
                    Some(_) => Stage::Allocating,
                };
                Reservation { stage, lines: lines.clone(), deadline: None, ..reservation }
            }
            Event::PaymentHeld(payment, until) => Reservation {
                stage: Stage::AwaitingOrder,
                payment: Some(payment.clone()),
                deadline: *until,
                ..reservation
            },
            Event::PaymentLearned(payment) => {
                let stage = match reservation.stage {
                    Stage::AwaitingPayment => Stage::Allocating,
                    known @ (Stage::Unknown
                    | Stage::AwaitingOrder
                    | Stage::Allocating
                    | Stage::Reserved
                    | Stage::Failed
                    | Stage::Released
                    | Stage::Closed) => known,
                };
                Reservation { stage, payment: Some(payment.clone()), ..reservation }
            }
            Event::Reserved => Reservation { stage: Stage::Reserved, ..reservation },
            Event::Failed { reason, missing } => Reservation {
                stage: Stage::Failed,
                reason: Some(reason.clone()),
                missing: missing.clone(),
                deadline: None,
                ..reservation
            },
            Event::Released(why) => Reservation { stage: Stage::Released, reason: Some(why.clone()), ..reservation },
            Event::Closed(why) => {
                Reservation { stage: Stage::Closed, reason: Some(why.clone()), deadline: None, ..reservation }
            }
            Event::RefundRequested(_) => reservation,
        }
    }

    fn due(reservation: &Reservation) -> Option<(Timestamp, Due<Input, Infallible>)> {
        let overdue = Due::Deadline { passed: Input::OrderOverdue, excused: None };
        reservation.deadline.map(|deadline| (deadline, overdue))
    }

    fn is_done(reservation: &Reservation) -> bool {
        reservation.stage == Stage::Reserved
    }

    fn opens(input: &Input) -> bool {
        matches!(input, Input::OrderCreated(_))
    }

    fn receive(payload: Payload) -> Option<Input> {
        crate::messages::receive(payload)
    }

    fn emit(order: OrderId, reservation: &Reservation, event: &Event, _: Timestamp) -> Option<Payload> {
        crate::messages::emit(order, reservation, event)
    }
}

#[cfg(test)]
mod tests;
