//! The rules of an order at order-service. `docs/sagas/order.md` shows every cell; it is generated from this file.

use contracts::{Money as Amount, OrderId, OrderLine, Payload, Reason, Timestamp};
use runtime::saga::{Decision, Named, Nothing, Rejection, Saga};
use std::convert::Infallible;

/// The saga of order-service.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderSaga;

/// How far an order has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

impl Named for Stage {
    const ALL: &'static [Self] = &[
        Stage::Unknown,
        Stage::AwaitingPayment,
        Stage::AwaitingInventory,
        Stage::Confirmed,
        Stage::Failed,
        Stage::Cancelled,
    ];

    fn name(self) -> &'static str {
        match self {
            Stage::Unknown => "UNKNOWN",
            Stage::AwaitingPayment => "AWAITING_PAYMENT",
            Stage::AwaitingInventory => "AWAITING_INVENTORY",
            Stage::Confirmed => "CONFIRMED",
            Stage::Failed => "FAILED",
            Stage::Cancelled => "CANCELLED",
        }
    }
}

/// What is known of the customer's money. It follows the stage and never decides it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

impl Named for Money {
    const ALL: &'static [Self] = &[Money::Unknown, Money::None, Money::Charged, Money::RefundDue, Money::Refunded];

    fn name(self) -> &'static str {
        match self {
            Money::Unknown => "UNKNOWN",
            Money::None => "NONE",
            Money::Charged => "CHARGED",
            Money::RefundDue => "REFUND_DUE",
            Money::Refunded => "REFUNDED",
        }
    }
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
}

/// Where an order stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Order {
    /// How far it has come.
    pub stage: Stage,
    /// What is known of the money.
    pub money: Money,
    /// What was ordered.
    pub details: Details,
    /// Why it failed or was cancelled.
    pub reason: Option<Reason>,
}

/// What can come to an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A customer orders.
    Place(Details),
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
}

/// What can happen to an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It was accepted.
    Placed(Details),
    /// The money was told of.
    MoneyMoved(Money),
    /// The payment went through; the stock is next.
    PaymentAccepted,
    /// It is paid for and held.
    Confirmed,
    /// It will not be delivered.
    Failed(Reason),
    /// It was called off.
    Cancelled(String),
}

/// The payment was declined.
pub const PAYMENT_DECLINED: &str = "PAYMENT_DECLINED";
/// There is not enough of something.
pub const OUT_OF_STOCK: &str = "OUT_OF_STOCK";
/// Somebody called the order off.
pub const CANCELLED: &str = "CANCELLED";

impl Saga for OrderSaga {
    const SERVICE: &'static str = "order-service";
    const READS: &'static [contracts::EventType] = crate::messages::READS;
    type State = Order;
    type Input = Input;
    type Event = Event;
    type Effect = Infallible;

    fn decide(order: &Order, input: &Input) -> Decision<Event> {
        match order.stage {
            Stage::Unknown => match input {
                Input::Place(details) => Decision::event(Event::Placed(details.clone())),
                Input::Cancel(_)
                | Input::PaymentConfirmed
                | Input::PaymentFailed(_)
                | Input::InventoryReserved
                | Input::InventoryFailed(_)
                | Input::RefundRequested
                | Input::PaymentRefunded
                | Input::InventoryReleased => Decision::Rejected(Rejection::UnknownOrder),
            },
            Stage::AwaitingPayment => match input {
                Input::Place(_) => Decision::Nothing(Nothing::Duplicate),
                Input::Cancel(reason) => end(order, input, Event::Cancelled(reason.clone())),
                Input::PaymentConfirmed => with_money(order, input, vec![Event::PaymentAccepted], Nothing::Duplicate),
                Input::PaymentFailed(reason) => end(order, input, failed(PAYMENT_DECLINED, reason)),
                // The stock's answer may overtake the payment's, and decides all the same.
                Input::InventoryReserved => Decision::event(Event::Confirmed),
                Input::InventoryFailed(reason) => end(order, input, failed(OUT_OF_STOCK, reason)),
                Input::RefundRequested | Input::PaymentRefunded => with_money(order, input, vec![], Nothing::Duplicate),
                Input::InventoryReleased => Decision::Nothing(Nothing::Unreachable),
            },
            Stage::AwaitingInventory => match input {
                Input::Place(_) | Input::PaymentConfirmed => Decision::Nothing(Nothing::Duplicate),
                Input::Cancel(reason) => end(order, input, Event::Cancelled(reason.clone())),
                Input::InventoryReserved => Decision::event(Event::Confirmed),
                Input::InventoryFailed(reason) => end(order, input, failed(OUT_OF_STOCK, reason)),
                Input::RefundRequested | Input::PaymentRefunded => with_money(order, input, vec![], Nothing::Duplicate),
                Input::PaymentFailed(_) | Input::InventoryReleased => Decision::Nothing(Nothing::Unreachable),
            },
            Stage::Confirmed => match input {
                Input::Place(_) | Input::InventoryReserved => Decision::Nothing(Nothing::Duplicate),
                Input::Cancel(reason) => end(order, input, Event::Cancelled(reason.clone())),
                Input::PaymentConfirmed => with_money(order, input, vec![], Nothing::Duplicate),
                Input::PaymentFailed(_)
                | Input::InventoryFailed(_)
                | Input::RefundRequested
                | Input::PaymentRefunded
                | Input::InventoryReleased => Decision::Nothing(Nothing::Unreachable),
            },
            Stage::Failed => match input {
                Input::Place(_) => Decision::Nothing(Nothing::Duplicate),
                Input::Cancel(_) => Decision::Rejected(Rejection::AlreadyFailed),
                Input::PaymentConfirmed | Input::PaymentFailed(_) | Input::RefundRequested | Input::PaymentRefunded => {
                    with_money(order, input, vec![], Nothing::Late)
                }
                Input::InventoryReserved | Input::InventoryFailed(_) => Decision::Nothing(Nothing::Late),
                Input::InventoryReleased => Decision::Nothing(Nothing::Informs),
            },
            Stage::Cancelled => match input {
                Input::Place(_) | Input::Cancel(_) => Decision::Nothing(Nothing::Duplicate),
                Input::PaymentConfirmed | Input::PaymentFailed(_) | Input::RefundRequested | Input::PaymentRefunded => {
                    with_money(order, input, vec![], Nothing::Late)
                }
                Input::InventoryReserved | Input::InventoryFailed(_) => Decision::Nothing(Nothing::Late),
                Input::InventoryReleased => Decision::Nothing(Nothing::Informs),
            },
        }
    }

    fn evolve(order: Order, event: &Event) -> Order {
        match event {
            Event::Placed(details) => Order { stage: Stage::AwaitingPayment, details: details.clone(), ..order },
            Event::MoneyMoved(money) => Order { money: *money, ..order },
            Event::PaymentAccepted => Order { stage: Stage::AwaitingInventory, ..order },
            Event::Confirmed => Order { stage: Stage::Confirmed, ..order },
            Event::Failed(reason) => Order { stage: Stage::Failed, reason: Some(reason.clone()), ..order },
            Event::Cancelled(message) => {
                let reason = Reason { code: CANCELLED.into(), message: message.clone() };
                Order { stage: Stage::Cancelled, reason: Some(reason), ..order }
            }
        }
    }

    fn pending(_: &Order) -> Option<(Timestamp, Infallible)> {
        None
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

fn failed(code: &str, message: &str) -> Event {
    Event::Failed(Reason { code: code.into(), message: message.into() })
}

/// The end of an order. What was charged is to be given back from here on.
fn end(order: &Order, input: &Input, event: Event) -> Decision<Event> {
    let money = match money_after(order.money, input, false) {
        Money::Charged => Money::RefundDue,
        money @ (Money::Unknown | Money::None | Money::RefundDue | Money::Refunded) => money,
    };
    Decision::Events(std::iter::once(event).chain(moved(order, money)).collect())
}

/// These events, and what the input tells of the money; nothing, for this reason, if it tells nothing new.
fn with_money(order: &Order, input: &Input, mut events: Vec<Event>, otherwise: Nothing) -> Decision<Event> {
    let ended = matches!(order.stage, Stage::Failed | Stage::Cancelled);
    events.extend(moved(order, money_after(order.money, input, ended)));
    if events.is_empty() { Decision::Nothing(otherwise) } else { Decision::Events(events) }
}

fn moved(order: &Order, money: Money) -> Option<Event> {
    (order.money != money).then_some(Event::MoneyMoved(money))
}

/// The money after an input, for an order that has `ended` without delivery or has not.
fn money_after(money: Money, input: &Input, ended: bool) -> Money {
    match input {
        Input::PaymentConfirmed => match money {
            Money::Unknown if ended => Money::RefundDue,
            Money::Unknown => Money::Charged,
            known @ (Money::None | Money::Charged | Money::RefundDue | Money::Refunded) => known,
        },
        Input::PaymentFailed(_) => match money {
            Money::Unknown => Money::None,
            known @ (Money::None | Money::Charged | Money::RefundDue | Money::Refunded) => known,
        },
        Input::RefundRequested => match money {
            Money::Unknown | Money::Charged => Money::RefundDue,
            known @ (Money::None | Money::RefundDue | Money::Refunded) => known,
        },
        Input::PaymentRefunded => match money {
            Money::Unknown | Money::Charged | Money::RefundDue | Money::Refunded => Money::Refunded,
            Money::None => Money::None,
        },
        Input::Place(_)
        | Input::Cancel(_)
        | Input::InventoryReserved
        | Input::InventoryFailed(_)
        | Input::InventoryReleased => money,
    }
}

#[cfg(test)]
mod tests;
