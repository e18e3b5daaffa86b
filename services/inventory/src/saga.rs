//! The rules of an order's reservation. `docs/sagas/inventory.md` shows every cell; it is generated from this file.
//!
//! A reservation needs the order's lines and its payment, which come from two services in any order.

use contracts::{Amount, MissingLine, OrderId, Payload, PaymentId, Timestamp, unfillable};
use runtime::saga::{Decision, Due, Nothing, Saga};
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
        match reservation.stage {
            Stage::Unknown => match input {
                Input::OrderCreated(lines) => Decision::event(Event::LinesLearned(lines.clone())),
                Input::PaymentConfirmed(payment) => {
                    let until = self.deadline.map(|millis| at.plus_millis(millis));
                    Decision::event(Event::PaymentHeld(payment.clone(), until))
                }
                Input::Closed(Close::Ended(why) | Close::Refunded(why)) => Decision::event(Event::Closed(why.clone())),
                Input::OrderOverdue | Input::StockSuffices | Input::StockShort(_) => {
                    Decision::Nothing(Nothing::Unreachable)
                }
            },
            Stage::AwaitingPayment => match input {
                Input::OrderCreated(_) => Decision::Nothing(Nothing::Duplicate),
                Input::PaymentConfirmed(payment) => {
                    both_known(Event::PaymentLearned(payment.clone()), &reservation.lines, payment)
                }
                Input::Closed(Close::Ended(why) | Close::Refunded(why)) => Decision::event(Event::Closed(why.clone())),
                Input::OrderOverdue | Input::StockSuffices | Input::StockShort(_) => {
                    Decision::Nothing(Nothing::Unreachable)
                }
            },
            Stage::AwaitingOrder => match input {
                Input::OrderCreated(lines) => match &reservation.payment {
                    Some(payment) => both_known(Event::LinesLearned(lines.clone()), lines, payment),
                    None => Decision::Nothing(Nothing::Unreachable),
                },
                Input::PaymentConfirmed(_) => Decision::Nothing(Nothing::Duplicate),
                Input::Closed(close) => closed(Event::Closed, close),
                Input::OrderOverdue => failed("the order was not heard of in time".into(), Vec::new()),
                Input::StockSuffices | Input::StockShort(_) => Decision::Nothing(Nothing::Unreachable),
            },
            Stage::Allocating => match input {
                Input::StockSuffices => Decision::event(Event::Reserved),
                Input::StockShort(missing) => failed("not enough stock".into(), missing.clone()),
                Input::OrderCreated(_) | Input::PaymentConfirmed(_) | Input::Closed(_) | Input::OrderOverdue => {
                    Decision::Nothing(Nothing::Unreachable)
                }
            },
            Stage::Reserved => match input {
                Input::OrderCreated(_) | Input::PaymentConfirmed(_) => Decision::Nothing(Nothing::Duplicate),
                Input::Closed(close) => closed(Event::Released, close),
                Input::OrderOverdue => Decision::Nothing(Nothing::Late),
                Input::StockSuffices | Input::StockShort(_) => Decision::Nothing(Nothing::Unreachable),
            },
            Stage::Failed => match input {
                Input::OrderCreated(_) | Input::PaymentConfirmed(_) => Decision::Nothing(Nothing::Duplicate),
                Input::Closed(_) => Decision::Nothing(Nothing::Informs),
                Input::OrderOverdue => Decision::Nothing(Nothing::Late),
                Input::StockSuffices | Input::StockShort(_) => Decision::Nothing(Nothing::Unreachable),
            },
            Stage::Released => match input {
                Input::OrderCreated(_) | Input::PaymentConfirmed(_) | Input::Closed(_) => {
                    Decision::Nothing(Nothing::Duplicate)
                }
                Input::OrderOverdue => Decision::Nothing(Nothing::Late),
                Input::StockSuffices | Input::StockShort(_) => Decision::Nothing(Nothing::Unreachable),
            },
            Stage::Closed => match input {
                Input::OrderCreated(_) => Decision::Nothing(Nothing::Late),
                // A foreign payment-service hears of the end in no other way.
                Input::PaymentConfirmed(payment) => match &reservation.payment {
                    None => {
                        let reason = reservation.reason.clone().unwrap_or_default();
                        Decision::Events(vec![Event::PaymentLearned(payment.clone()), Event::RefundRequested(reason)])
                    }
                    Some(_) => Decision::Nothing(Nothing::Duplicate),
                },
                Input::Closed(_) => Decision::Nothing(Nothing::Duplicate),
                Input::OrderOverdue => Decision::Nothing(Nothing::Late),
                Input::StockSuffices | Input::StockShort(_) => Decision::Nothing(Nothing::Unreachable),
            },
        }
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

/// The second of the two things that a reservation needs has come: to the stock, unless the order is impossible.
fn both_known(learned: Event, lines: &[Line], payment: &Payment) -> Decision<Event> {
    let impossible = unfillable(lines.iter().map(|line| (line.product_id.as_str(), line.quantity)))
        .or_else(|| payment.amount.positive().err());
    let mut events = vec![learned];
    if let Some(why) = impossible {
        events.extend(failure(why, Vec::new()));
    }
    Decision::Events(events)
}

fn failed(reason: String, missing: Vec<MissingLine>) -> Decision<Event> {
    Decision::Events(failure(reason, missing).into())
}

fn failure(reason: String, missing: Vec<MissingLine>) -> [Event; 2] {
    [Event::Failed { reason: reason.clone(), missing }, Event::RefundRequested(reason)]
}

/// The end of an order whose payment is known.
fn closed(end: fn(String) -> Event, close: &Close) -> Decision<Event> {
    Decision::Events(match close {
        Close::Ended(why) => vec![end(why.clone()), Event::RefundRequested(why.clone())],
        Close::Refunded(why) => vec![end(why.clone())],
    })
}

#[cfg(test)]
mod tests;
