//! The rules of an order's payment. `docs/sagas/payment.md` shows every cell; it is generated from this code.
//!
//! Charging and refunding are two steps each: the intent is committed, the provider is called under a key that is a
//! function of the payment, and the outcome is committed. No outcome is not a decline: it is asked for again, without
//! end, and from the tenth attempt on somebody is called to look at it.

mod decide;
mod state;

pub use state::{Acknowledged, Concern, Payment, Refund, RefundRequest, Stage};

use contracts::{Amount, Contact, Money, OrderId, Payload, RefundId, Timestamp};
use runtime::saga::{Decision, Due, Saga};

/// The saga of payment-service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaymentSaga;

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
        /// For whoever tells the customer of the refund.
        contact: Option<Contact>,
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
    /// The provider will not give back, however often it is asked, for this reason.
    RefundRefused(String),
    /// The provider has given no outcome.
    NoOutcome {
        /// What was seen of it.
        error: String,
        /// When to ask again.
        retry_at: Timestamp,
    },
    /// Somebody who looks after the payments wants something.
    Operator(Wish),
}

/// What can be wanted of a payment that needs attention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Ask the provider for the refund again, and now.
    RetryRefund,
    /// The money was given back by other means, with a note how.
    ResolveRefund(String),
    /// What is over when somebody has looked at it was looked at, with a note what came of it.
    Acknowledge(String),
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
        /// How to reach them.
        contact: Option<Contact>,
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
    /// The provider refused the refund.
    RefundRefused,
    /// The money was given back by other means; this is how.
    RefundNoted(String),
    /// The customer has the money back.
    Refunded,
    /// The provider gave no outcome.
    Postponed {
        /// What was seen of it.
        error: String,
        /// When to ask again.
        retry_at: Timestamp,
    },
    /// The provider is to be asked again now.
    Hastened,
    /// Somebody has to look at the payment; this is why, in words.
    AttentionNeeded(Concern, String),
    /// Somebody has looked at it, and says this.
    Acknowledged(String),
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
        decide::decide(payment, input)
    }

    fn evolve(payment: Payment, event: &Event) -> Payment {
        payment.after(event)
    }

    fn due(payment: &Payment) -> Option<(Timestamp, Due<Input, Effect>)> {
        let order = || Order {
            customer_id: payment.customer_id.clone(),
            amount: payment.amount,
            currency: payment.currency.clone(),
            attempts: payment.attempts,
        };
        let effect = match payment.stage {
            Stage::Charging | Stage::ChargingToRefund => Effect::Charge(order()),
            Stage::Refunding => Effect::Refund(order()),
            // Asked again, a provider that has refused would refuse again. That is for an operator to decide.
            Stage::RefundRefused => return None,
            Stage::Unknown | Stage::RefundHeld | Stage::Closed | Stage::Confirmed | Stage::Failed | Stage::Refunded => {
                return None;
            }
        };
        Some((payment.retry_at, Due::Outside(effect)))
    }

    fn is_done(payment: &Payment) -> bool {
        payment.stage == Stage::Confirmed
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

#[cfg(test)]
mod tests;
