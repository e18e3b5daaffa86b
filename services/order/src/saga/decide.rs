//! What an order makes of what comes to it, cell by cell.

use super::{
    Event, INVENTORY_TIMEOUT, Input, Money, OUT_OF_STOCK, Order, OrderSaga, PAYMENT_DECLINED, PAYMENT_TIMEOUT, Stage,
};
use contracts::{Reason, Timestamp};
use runtime::saga::{Decision, Nothing, Rejection};

/// What this order makes of this input: every stage by every input.
pub(super) fn decide(saga: &OrderSaga, order: &Order, input: &Input, at: Timestamp) -> Decision<Event> {
    let until = |deadline: Option<i64>| deadline.map(|millis| at.plus_millis(millis));
    match order.stage {
        Stage::Unknown => match input {
            Input::Place(details) => Decision::event(Event::Placed(details.clone(), until(saga.payment_deadline))),
            Input::Cancel(_)
            | Input::PaymentConfirmed
            | Input::PaymentFailed(_)
            | Input::InventoryReserved
            | Input::InventoryFailed(_)
            | Input::RefundRequested
            | Input::PaymentRefunded
            | Input::InventoryReleased => Decision::Rejected(Rejection::UnknownOrder),
            Input::PaymentOverdue | Input::InventoryOverdue | Input::LogWasAway => {
                Decision::Nothing(Nothing::Unreachable)
            }
        },
        Stage::AwaitingPayment => match input {
            Input::Place(_) => Decision::Nothing(Nothing::Duplicate),
            Input::Cancel(reason) => end(order, input, Event::Cancelled(reason.clone())),
            Input::PaymentConfirmed => {
                let accepted = Event::PaymentAccepted(until(saga.inventory_deadline));
                with_money(order, input, vec![accepted], Nothing::Duplicate)
            }
            Input::PaymentFailed(reason) => end(order, input, failed(PAYMENT_DECLINED, reason)),
            // The stock's answer may overtake the payment's, and decides all the same.
            Input::InventoryReserved => Decision::event(Event::Confirmed),
            Input::InventoryFailed(reason) => end(order, input, failed(OUT_OF_STOCK, reason)),
            Input::RefundRequested | Input::PaymentRefunded => with_money(order, input, vec![], Nothing::Duplicate),
            Input::PaymentOverdue => end(order, input, failed(PAYMENT_TIMEOUT, "the payment was not answered in time")),
            Input::LogWasAway => Decision::event(Event::DeadlineMoved(until(saga.payment_deadline))),
            Input::InventoryReleased => Decision::Nothing(Nothing::Unreachable),
            Input::InventoryOverdue => Decision::Nothing(Nothing::Late),
        },
        Stage::AwaitingInventory => match input {
            Input::Place(_) | Input::PaymentConfirmed => Decision::Nothing(Nothing::Duplicate),
            Input::Cancel(reason) => end(order, input, Event::Cancelled(reason.clone())),
            Input::InventoryReserved => Decision::event(Event::Confirmed),
            Input::InventoryFailed(reason) => end(order, input, failed(OUT_OF_STOCK, reason)),
            Input::RefundRequested | Input::PaymentRefunded => with_money(order, input, vec![], Nothing::Duplicate),
            Input::InventoryOverdue => {
                end(order, input, failed(INVENTORY_TIMEOUT, "the stock was not answered in time"))
            }
            Input::PaymentFailed(_) | Input::InventoryReleased => Decision::Nothing(Nothing::Unreachable),
            Input::LogWasAway => Decision::event(Event::DeadlineMoved(until(saga.inventory_deadline))),
            Input::PaymentOverdue => Decision::Nothing(Nothing::Late),
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
            Input::PaymentOverdue | Input::InventoryOverdue | Input::LogWasAway => Decision::Nothing(Nothing::Late),
        },
        Stage::Failed => match input {
            Input::Place(_) => Decision::Nothing(Nothing::Duplicate),
            Input::Cancel(_) => Decision::Rejected(Rejection::AlreadyFailed),
            Input::PaymentConfirmed | Input::PaymentFailed(_) | Input::RefundRequested | Input::PaymentRefunded => {
                with_money(order, input, vec![], Nothing::Late)
            }
            Input::InventoryReserved | Input::InventoryFailed(_) => Decision::Nothing(Nothing::Late),
            Input::InventoryReleased => Decision::Nothing(Nothing::Informs),
            Input::PaymentOverdue | Input::InventoryOverdue | Input::LogWasAway => Decision::Nothing(Nothing::Late),
        },
        Stage::Cancelled => match input {
            Input::Place(_) | Input::Cancel(_) => Decision::Nothing(Nothing::Duplicate),
            Input::PaymentConfirmed | Input::PaymentFailed(_) | Input::RefundRequested | Input::PaymentRefunded => {
                with_money(order, input, vec![], Nothing::Late)
            }
            Input::InventoryReserved | Input::InventoryFailed(_) => Decision::Nothing(Nothing::Late),
            Input::InventoryReleased => Decision::Nothing(Nothing::Informs),
            Input::PaymentOverdue | Input::InventoryOverdue | Input::LogWasAway => Decision::Nothing(Nothing::Late),
        },
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
        | Input::InventoryReleased
        | Input::PaymentOverdue
        | Input::InventoryOverdue
        | Input::LogWasAway => money,
    }
}
