//! The rules of an order at order-service. `docs/sagas/order.md` shows every cell; it is generated from these rules.

mod decide;
mod history;

pub use history::{Cause, Passage};

use contracts::{Contact, Money as Amount, OrderId, OrderLine, Payload, Reason, Timestamp};
use runtime::saga::{Decision, Due, Nothing, Saga};
use std::convert::Infallible;
use std::sync::Arc;
use strum::{EnumString, IntoStaticStr, VariantArray};

/// The saga of order-service, with how long an order waits for each step, in milliseconds; none is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderSaga {
    /// For the payment's answer.
    pub payment_deadline: Option<i64>,
    /// For the stock's answer, once the payment's is here.
    pub inventory_deadline: Option<i64>,
}

/// How far an order has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, VariantArray, IntoStaticStr, EnumString)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Stage {
    /// Never heard of.
    #[default]
    Unknown,
    /// Accepted; the payment decides next.
    AwaitingPayment,
    /// Paid for; the stock decides next.
    AwaitingInventory,
    /// Paid for and held. Only a cancel can change that.
    Confirmed,
    /// Ended without delivery. Final.
    Failed,
    /// Called off. Final.
    Cancelled,
}

/// What is known of the customer's money. It follows the stage and never decides it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, VariantArray, IntoStaticStr, EnumString)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Money {
    /// The payment has not been heard of.
    #[default]
    Unknown,
    /// Nothing was charged, and nothing will be.
    None,
    /// The total was charged.
    Charged,
    /// The total was charged and is to be given back.
    RefundDue,
    /// The total was given back.
    Refunded,
}

/// What a customer ordered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// Who ordered.
    pub customer_id: String,
    /// What is charged.
    pub total: Amount,
    /// ISO 4217.
    pub currency: String,
    /// What is ordered.
    pub lines: Vec<OrderLine>,
    /// How to reach the customer, beside the log.
    pub contact: Option<Contact>,
}

impl Details {
    /// The same bytes whenever the same is ordered, in whatever words.
    pub fn asked(&self) -> Vec<u8> {
        let Details { customer_id, total, currency, lines, contact } = self;
        serde_json::to_vec(&(customer_id, total.ten_thousandths(), currency, lines, contact)).expect("an order is JSON")
    }
}

/// Where an order stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Order {
    /// How far it has come.
    pub stage: Stage,
    /// What is known of the money.
    pub money: Money,
    /// What was ordered.
    pub details: Arc<Details>,
    /// Why it failed or was cancelled.
    pub reason: Option<Reason>,
    /// Until when it waits where it stands.
    pub deadline: Option<Timestamp>,
    /// What it has been through: one passage per committed step.
    pub history: Vec<Passage>,
}

/// What can come to an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A customer orders.
    Place(Arc<Details>),
    /// A caller calls the order off, with a reason.
    Cancel(String),
    /// `payment.confirmed`
    PaymentConfirmed,
    /// `payment.failed`, with its reason.
    PaymentFailed(String),
    /// `inventory.reserved`
    InventoryReserved,
    /// `inventory.failed`, with its reason.
    InventoryFailed(String),
    /// `payment.refund.requested`
    RefundRequested,
    /// `payment.refunded`
    PaymentRefunded,
    /// `inventory.released`
    InventoryReleased,
    /// The payment's answer did not come in time.
    PaymentOverdue,
    /// The stock's answer did not come in time.
    InventoryOverdue,
    /// Time has passed, but the log was away meanwhile, so that nobody could answer.
    LogWasAway,
}

/// What can happen to an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It was accepted, and waits for the payment until then.
    Placed(Arc<Details>, Option<Timestamp>),
    /// The money was told of.
    MoneyMoved(Money),
    /// The payment went through; it waits for the stock until then.
    PaymentAccepted(Option<Timestamp>),
    /// It waits longer where it stands, until then.
    DeadlineMoved(Option<Timestamp>),
    /// It is paid for and held.
    Confirmed,
    /// It will not be delivered.
    Failed(Reason),
    /// It was called off.
    Cancelled(String),
    /// This was heard of it, at this moment; and if nothing else follows from it, why. The last event of every step.
    Noted(Cause, Timestamp, Option<Nothing>),
}

/// The payment was declined.
pub const PAYMENT_DECLINED: &str = "PAYMENT_DECLINED";
/// There is not enough of something.
pub const OUT_OF_STOCK: &str = "OUT_OF_STOCK";
/// The payment's answer did not come in time.
pub const PAYMENT_TIMEOUT: &str = "PAYMENT_TIMEOUT";
/// The stock's answer did not come in time.
pub const INVENTORY_TIMEOUT: &str = "INVENTORY_TIMEOUT";
/// Somebody called the order off.
pub const CANCELLED: &str = "CANCELLED";

impl Saga for OrderSaga {
    const SERVICE: &'static str = "order-service";
    const READS: &'static [contracts::EventType] = crate::messages::READS;
    const CALLERS_WAIT: bool = true;
    type State = Order;
    type Input = Input;
    type Event = Event;
    type Effect = Infallible;

    fn decide(&self, order: &Order, input: &Input, at: Timestamp) -> Decision<Event> {
        let cause = Cause::of(input);
        match decide::decide(self, order, input, at) {
            Decision::Events(mut events) => {
                events.push(Event::Noted(cause, at, None));
                Decision::Events(events)
            }
            // What another service says belongs in the timeline, also when nothing follows from it: once, and wherever
            // the order stands, so that reading it again changes nothing, whatever has happened since.
            Decision::Nothing(why)
                if cause.event_type().is_some() && !order.history.iter().any(|passage| passage.cause == cause) =>
            {
                Decision::event(Event::Noted(cause, at, Some(why)))
            }
            nothing @ (Decision::Nothing(_) | Decision::Rejected(_)) => nothing,
        }
    }

    fn evolve(order: Order, event: &Event) -> Order {
        match event {
            Event::Placed(details, until) => {
                Order { stage: Stage::AwaitingPayment, details: details.clone(), deadline: *until, ..order }
            }
            Event::MoneyMoved(money) => Order { money: *money, ..order },
            Event::PaymentAccepted(until) => Order { stage: Stage::AwaitingInventory, deadline: *until, ..order },
            Event::DeadlineMoved(until) => Order { deadline: *until, ..order },
            Event::Confirmed => Order { stage: Stage::Confirmed, deadline: None, ..order },
            Event::Failed(reason) => {
                Order { stage: Stage::Failed, reason: Some(reason.clone()), deadline: None, ..order }
            }
            Event::Cancelled(message) => {
                let reason = Reason { code: CANCELLED.into(), message: message.clone() };
                Order { stage: Stage::Cancelled, reason: Some(reason), deadline: None, ..order }
            }
            Event::Noted(cause, at, _) => {
                let mut order = order;
                order.history.push(Passage { at: *at, cause: *cause, stage: order.stage, money: order.money });
                order
            }
        }
    }

    fn due(order: &Order) -> Option<(Timestamp, Due<Input, Infallible>)> {
        let passed = match order.stage {
            Stage::AwaitingPayment => Input::PaymentOverdue,
            Stage::AwaitingInventory => Input::InventoryOverdue,
            Stage::Unknown | Stage::Confirmed | Stage::Failed | Stage::Cancelled => return None,
        };
        order.deadline.map(|deadline| (deadline, Due::Deadline { passed, excused: Some(Input::LogWasAway) }))
    }

    fn is_done(order: &Order) -> bool {
        order.stage == Stage::Confirmed
    }

    fn opens(input: &Input) -> bool {
        matches!(input, Input::Place(_))
    }

    fn receive(payload: Payload) -> Option<Input> {
        crate::messages::receive(payload)
    }

    fn emit(id: OrderId, order: &Order, event: &Event, at: Timestamp) -> Option<Payload> {
        crate::messages::emit(id, order, event, at)
    }
}

#[cfg(test)]
mod tests;
