//! What a reservation makes of what comes to it, cell by cell.

use super::{Close, Event, Input, InventorySaga, Line, Payment, Reservation, Stage};
use contracts::{MissingLine, Timestamp, unfillable};
use runtime::saga::{Decision, Nothing};

/// What this reservation makes of this input: every stage by every input.
pub(super) fn decide(saga: &InventorySaga, reservation: &Reservation, input: &Input, at: Timestamp) -> Decision<Event> {
    match reservation.stage {
        Stage::Unknown => match input {
            Input::OrderCreated(lines) => Decision::event(Event::LinesLearned(lines.clone())),
            Input::PaymentConfirmed(payment) => {
                let until = saga.deadline.map(|millis| at.plus_millis(millis));
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
