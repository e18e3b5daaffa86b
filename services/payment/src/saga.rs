//! The rules of an order's payment. `docs/sagas/payment.md` shows every cell; it is generated from this file.
//!
//! Charging and refunding are two steps each: the intent is committed, the provider is called under a key that is a
//! function of the payment, and the outcome is committed. No outcome is not a decline: it is asked for again.

use contracts::{Amount, Money, OrderId, Payload, PaymentId, RefundId, Timestamp};
use runtime::saga::{Decision, Due, Named, Nothing, Saga};
use serde::{Deserialize, Serialize};

/// The saga of payment-service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaymentSaga;

/// How far a payment has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Never heard of.
    #[default]
    Unknown,
    /// A refund was asked for before the order was heard of.
    RefundHeld,
    /// The order was closed before it was heard of. It will not be charged.
    Closed,
    /// The charge is under way.
    Charging,
    /// The charge is under way, and is to be given back once it is through.
    ChargingToRefund,
    /// Charged.
    Confirmed,
    /// Not charged, and never will be.
    Failed,
    /// Charged; the refund is under way.
    Refunding,
    /// Charged and given back.
    Refunded,
}

impl Named for Stage {
    const ALL: &'static [Self] = &[
        Stage::Unknown,
        Stage::RefundHeld,
        Stage::Closed,
        Stage::Charging,
        Stage::ChargingToRefund,
        Stage::Confirmed,
        Stage::Failed,
        Stage::Refunding,
        Stage::Refunded,
    ];

    fn name(self) -> &'static str {
        match self {
            Stage::Unknown => "UNKNOWN",
            Stage::RefundHeld => "REFUND_HELD",
            Stage::Closed => "CLOSED",
            Stage::Charging => "CHARGING",
            Stage::ChargingToRefund => "CHARGING_TO_REFUND",
            Stage::Confirmed => "CONFIRMED",
            Stage::Failed => "FAILED",
            Stage::Refunding => "REFUNDING",
            Stage::Refunded => "REFUNDED",
        }
    }
}

/// A refund, due or done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The name that whoever asked first gave it; without one it is named after the payment.
    pub requested_as: Option<RefundId>,
    /// Why, for people.
    pub reason: String,
}

/// A `payment.refund.requested`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundRequest {
    /// Of which order.
    pub order_id: OrderId,
    /// What to call it.
    pub refund_id: RefundId,
    /// Of which payment.
    pub payment_id: PaymentId,
    /// How much.
    pub amount: Amount,
    /// ISO 4217.
    pub currency: String,
    /// Why, for people.
    pub reason: String,
}

/// Where a payment stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payment {
    /// How far it has come.
    pub stage: Stage,
    /// Who pays.
    pub customer_id: String,
    /// How much; zero while unknown, and where an impossible amount was refused.
    pub amount: Money,
    /// ISO 4217.
    pub currency: String,
    /// Why it was not charged, or why the order was closed.
    pub reason: Option<String>,
    /// The refund that is due or done.
    pub refund: Option<Refund>,
    /// A request that came before its order.
    pub held: Option<RefundRequest>,
    /// How often the provider has given no outcome, and when to ask again.
    pub attempts: u32,
    /// Not before this moment.
    pub retry_at: Timestamp,
    /// What somebody has to look at.
    pub attention: Option<String>,
}

/// What can come to a payment.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// `order.created`
    OrderCreated {
        /// Who pays.
        customer_id: String,
        /// How much.
        amount: Amount,
        /// ISO 4217.
        currency: String,
        /// Why it cannot be paid, if it cannot.
        unpayable: Option<String>,
    },
    /// `payment.refund.requested`
    RefundRequested(RefundRequest),
    /// `order.failed` or `order.cancelled`, with its reason.
    Closed(String),
    /// The provider has charged.
    Charged,
    /// The provider has declined, with its reason.
    Declined(String),
    /// The provider has given back.
    RefundDone,
    /// The provider has given no outcome.
    NoOutcome {
        /// What was seen of it.
        error: String,
        /// When to ask again.
        retry_at: Timestamp,
    },
}

/// What can happen to a payment.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The charge may be made from here on.
    ChargeIntended {
        /// Who pays.
        customer_id: String,
        /// How much.
        amount: Money,
        /// ISO 4217.
        currency: String,
    },
    /// The customer was charged.
    Confirmed,
    /// The customer was not charged, and never will be.
    Failed {
        /// Who was to pay.
        customer_id: String,
        /// How much, as it was asked for.
        amount: Amount,
        /// ISO 4217.
        currency: String,
        /// Why, for people.
        reason: String,
    },
    /// The order was closed before it was heard of.
    Closed(String),
    /// A refund request came before its order.
    RefundHeld(RefundRequest),
    /// The charge is to be given back once it is through.
    RefundDue(Refund),
    /// The refund may be made from here on.
    RefundIntended(Refund),
    /// Somebody asked for the refund that is already under way, and names it.
    RefundNamed(RefundId),
    /// A request asked for something else than was charged.
    RefundRefused(String),
    /// The customer has the money back.
    Refunded,
    /// The provider gave no outcome.
    Postponed {
        /// When to ask again.
        retry_at: Timestamp,
    },
}

/// What a payment wants of the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Take the money.
    Charge(Order),
    /// Give it back.
    Refund(Order),
}

/// What the provider is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Who pays.
    pub customer_id: String,
    /// How much.
    pub amount: Money,
    /// ISO 4217.
    pub currency: String,
    /// How often this was tried before.
    pub attempts: u32,
}

impl Saga for PaymentSaga {
    const SERVICE: &'static str = "payment-service";
    const READS: &'static [contracts::EventType] = crate::messages::READS;
    type State = Payment;
    type Input = Input;
    type Event = Event;
    type Effect = Effect;

    fn decide(&self, payment: &Payment, input: &Input, _: Timestamp) -> Decision<Event> {
        match payment.stage {
            Stage::Unknown => match input {
                Input::OrderCreated { .. } => begin(payment, input),
                Input::RefundRequested(request) => Decision::event(Event::RefundHeld(request.clone())),
                Input::Closed(reason) => Decision::event(Event::Closed(reason.clone())),
                Input::Charged | Input::Declined(_) | Input::RefundDone | Input::NoOutcome { .. } => unreachable(),
            },
            Stage::RefundHeld => match input {
                Input::OrderCreated { .. } => begin(payment, input),
                Input::RefundRequested(_) => Decision::Nothing(Nothing::Duplicate),
                Input::Closed(reason) => Decision::event(Event::Closed(reason.clone())),
                Input::Charged | Input::Declined(_) | Input::RefundDone | Input::NoOutcome { .. } => unreachable(),
            },
            Stage::Closed => match input {
                Input::OrderCreated { .. } => begin(payment, input),
                Input::RefundRequested(_) => Decision::Nothing(Nothing::Late),
                Input::Closed(_) => Decision::Nothing(Nothing::Duplicate),
                Input::Charged | Input::Declined(_) | Input::RefundDone | Input::NoOutcome { .. } => unreachable(),
            },
            Stage::Charging => match input {
                Input::OrderCreated { .. } => Decision::Nothing(Nothing::Duplicate),
                Input::RefundRequested(request) => asked(payment, request, Event::RefundDue),
                // The intent is committed: the provider may have charged already, so the charge is seen through.
                Input::Closed(reason) => Decision::event(Event::RefundDue(closed(reason))),
                Input::Charged => Decision::event(Event::Confirmed),
                Input::Declined(reason) => Decision::event(declined(payment, reason)),
                Input::NoOutcome { retry_at, .. } => Decision::event(Event::Postponed { retry_at: *retry_at }),
                Input::RefundDone => unreachable(),
            },
            Stage::ChargingToRefund => match input {
                Input::OrderCreated { .. } | Input::Closed(_) => Decision::Nothing(Nothing::Duplicate),
                Input::RefundRequested(request) => named(payment, request),
                Input::Charged => Decision::Events(
                    std::iter::once(Event::Confirmed)
                        .chain(payment.refund.clone().map(Event::RefundIntended))
                        .collect(),
                ),
                Input::Declined(reason) => Decision::event(declined(payment, reason)),
                Input::NoOutcome { retry_at, .. } => Decision::event(Event::Postponed { retry_at: *retry_at }),
                Input::RefundDone => unreachable(),
            },
            Stage::Confirmed => match input {
                Input::OrderCreated { .. } | Input::Charged => Decision::Nothing(Nothing::Duplicate),
                Input::RefundRequested(request) => asked(payment, request, Event::RefundIntended),
                Input::Closed(reason) => Decision::event(Event::RefundIntended(closed(reason))),
                Input::Declined(_) | Input::RefundDone | Input::NoOutcome { .. } => unreachable(),
            },
            Stage::Failed => match input {
                Input::OrderCreated { .. } | Input::Declined(_) => Decision::Nothing(Nothing::Duplicate),
                Input::Closed(_) => Decision::Nothing(Nothing::Late),
                Input::RefundRequested(_) | Input::Charged | Input::RefundDone | Input::NoOutcome { .. } => {
                    unreachable()
                }
            },
            Stage::Refunding => match input {
                Input::OrderCreated { .. } | Input::Closed(_) | Input::Charged => Decision::Nothing(Nothing::Duplicate),
                Input::RefundRequested(request) => named(payment, request),
                Input::RefundDone => Decision::event(Event::Refunded),
                Input::NoOutcome { retry_at, .. } => Decision::event(Event::Postponed { retry_at: *retry_at }),
                Input::Declined(_) => unreachable(),
            },
            Stage::Refunded => match input {
                Input::OrderCreated { .. }
                | Input::RefundRequested(_)
                | Input::Closed(_)
                | Input::Charged
                | Input::RefundDone => Decision::Nothing(Nothing::Duplicate),
                Input::Declined(_) | Input::NoOutcome { .. } => unreachable(),
            },
        }
    }

    fn evolve(payment: Payment, event: &Event) -> Payment {
        match event {
            Event::ChargeIntended { customer_id, amount, currency } => Payment {
                stage: Stage::Charging,
                customer_id: customer_id.clone(),
                amount: *amount,
                currency: currency.clone(),
                held: None,
                ..payment
            },
            Event::Confirmed => {
                Payment { stage: Stage::Confirmed, attempts: 0, retry_at: Timestamp::default(), ..payment }
            }
            Event::Failed { customer_id, amount, currency, reason } => Payment {
                stage: Stage::Failed,
                customer_id: customer_id.clone(),
                amount: match amount {
                    Amount::Exact(money) => *money,
                    Amount::Impossible(_) => Money::ZERO,
                },
                currency: currency.clone(),
                reason: Some(reason.clone()),
                refund: None,
                held: None,
                ..payment
            },
            Event::Closed(reason) => {
                Payment { stage: Stage::Closed, reason: Some(reason.clone()), held: None, ..payment }
            }
            Event::RefundHeld(request) => Payment { stage: Stage::RefundHeld, held: Some(request.clone()), ..payment },
            Event::RefundDue(refund) => {
                Payment { stage: Stage::ChargingToRefund, refund: Some(refund.clone()), ..payment }
            }
            Event::RefundIntended(refund) => {
                Payment { stage: Stage::Refunding, refund: Some(refund.clone()), ..payment }
            }
            Event::RefundNamed(id) => {
                let refund = payment.refund.map(|refund| Refund { requested_as: Some(id.clone()), ..refund });
                Payment { refund, ..payment }
            }
            Event::RefundRefused(why) => Payment { attention: Some(why.clone()), ..payment },
            Event::Refunded => {
                Payment { stage: Stage::Refunded, attempts: 0, retry_at: Timestamp::default(), ..payment }
            }
            Event::Postponed { retry_at } => {
                Payment { attempts: payment.attempts.saturating_add(1), retry_at: *retry_at, ..payment }
            }
        }
    }

    fn due(payment: &Payment) -> Option<(Timestamp, Due<Input, Effect>)> {
        let order = || Order {
            customer_id: payment.customer_id.clone(),
            amount: payment.amount,
            currency: payment.currency.clone(),
            attempts: payment.attempts,
        };
        match payment.stage {
            Stage::Charging | Stage::ChargingToRefund => {
                Some((payment.retry_at, Due::Outside(Effect::Charge(order()))))
            }
            Stage::Refunding => Some((payment.retry_at, Due::Outside(Effect::Refund(order())))),
            Stage::Unknown | Stage::RefundHeld | Stage::Closed | Stage::Confirmed | Stage::Failed | Stage::Refunded => {
                None
            }
        }
    }

    fn opens(input: &Input) -> bool {
        matches!(input, Input::OrderCreated { .. })
    }

    fn receive(payload: Payload) -> Option<Input> {
        crate::messages::receive(payload)
    }

    fn emit(order: OrderId, payment: &Payment, event: &Event, _: Timestamp) -> Option<Payload> {
        crate::messages::emit(order, payment, event)
    }
}

fn unreachable() -> Decision<Event> {
    Decision::Nothing(Nothing::Unreachable)
}

/// The answer to `order.created`, in the stages in which it is new.
fn begin(payment: &Payment, input: &Input) -> Decision<Event> {
    let Input::OrderCreated { customer_id, amount, currency, unpayable } = input else { return unreachable() };
    let failed = |reason: String| {
        Decision::event(Event::Failed {
            customer_id: customer_id.clone(),
            amount: amount.clone(),
            currency: currency.clone(),
            reason,
        })
    };
    if let (Stage::Closed, Some(reason)) = (payment.stage, &payment.reason) {
        return failed(format!("the order was closed before it was charged: {reason}"));
    }
    if let Some(why) = unpayable {
        return failed(why.clone());
    }
    let amount = match amount.positive() {
        Ok(amount) => amount,
        Err(why) => return failed(why),
    };
    let intended = Event::ChargeIntended { customer_id: customer_id.clone(), amount, currency: currency.clone() };
    // Now there is something to compare a held request with.
    let charging = PaymentSaga::evolve(payment.clone(), &intended);
    let held = payment.held.as_ref().map(|request| match differs(&charging, request) {
        None => Event::RefundDue(requested(request)),
        Some(why) => Event::RefundRefused(why),
    });
    Decision::Events(std::iter::once(intended).chain(held).collect())
}

fn requested(request: &RefundRequest) -> Refund {
    Refund { requested_as: Some(request.refund_id.clone()), reason: request.reason.clone() }
}

fn closed(reason: &str) -> Refund {
    Refund { requested_as: None, reason: reason.to_owned() }
}

fn declined(payment: &Payment, reason: &str) -> Event {
    Event::Failed {
        customer_id: payment.customer_id.clone(),
        amount: Amount::Exact(payment.amount),
        currency: payment.currency.clone(),
        reason: reason.to_owned(),
    }
}

/// The answer to a refund request where no refund is under way yet.
fn asked(payment: &Payment, request: &RefundRequest, then: fn(Refund) -> Event) -> Decision<Event> {
    match differs(payment, request) {
        None => Decision::event(then(requested(request))),
        Some(why) => refuse(payment, why),
    }
}

/// The answer to a refund request where the refund is under way: its first request may still name it.
fn named(payment: &Payment, request: &RefundRequest) -> Decision<Event> {
    let unnamed = payment.refund.as_ref().is_some_and(|refund| refund.requested_as.is_none());
    match differs(payment, request) {
        Some(why) => refuse(payment, why),
        None if unnamed => Decision::event(Event::RefundNamed(request.refund_id.clone())),
        None => Decision::Nothing(Nothing::Duplicate),
    }
}

fn refuse(payment: &Payment, why: String) -> Decision<Event> {
    if payment.attention.is_some() {
        return Decision::Nothing(Nothing::Duplicate);
    }
    Decision::event(Event::RefundRefused(why))
}

/// In what a refund request differs from what was charged.
fn differs(payment: &Payment, request: &RefundRequest) -> Option<String> {
    let refund = &request.refund_id;
    let ours = PaymentId::of(request.order_id);
    if request.payment_id != ours {
        return Some(format!("refund {refund} is of payment {}, which is not {ours}", request.payment_id));
    }
    if request.amount != Amount::Exact(payment.amount) || request.currency != payment.currency {
        return Some(format!("refund {refund} is not of {} {}, which was charged", payment.amount, payment.currency));
    }
    None
}

#[cfg(test)]
mod tests;
