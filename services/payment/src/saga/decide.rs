//! What a payment makes of what comes to it, cell by cell.

use super::{Concern, Event, Input, Payment, PaymentSaga, Refund, RefundRequest, Stage, Wish};
use contracts::{Amount, PaymentId, Timestamp};
use runtime::saga::{Decision, Nothing, Rejection, Saga};

/// Attempts without an outcome, after which somebody has to look.
const PATIENCE: u32 = 10;

/// The length in bytes up to which further wrong requests are added to what somebody has to look at.
const ENOUGH: usize = 2_000;

/// Requests that are held for one order, at most. More are no mistake any more.
const MOST_HELD: usize = 16;

/// What this payment makes of this input: one function for each stage.
pub(super) fn decide(payment: &Payment, input: &Input) -> Decision<Event> {
    match payment.stage {
        Stage::Unknown => in_unknown(payment, input),
        Stage::RefundHeld => in_refund_held(payment, input),
        Stage::Closed => in_closed(payment, input),
        Stage::Charging => in_charging(payment, input),
        Stage::ChargingToRefund => in_charging_to_refund(payment, input),
        Stage::Confirmed => in_confirmed(payment, input),
        Stage::Failed => in_failed(payment, input),
        Stage::Refunding => in_refunding(payment, input),
        Stage::RefundRefused => in_refund_refused(payment, input),
        Stage::Refunded => in_refunded(payment, input),
    }
}

fn in_unknown(payment: &Payment, input: &Input) -> Decision<Event> {
    match input {
        Input::OrderCreated { .. } => begin(payment, input),
        Input::RefundRequested(request) => Decision::event(Event::RefundHeld(request.clone())),
        Input::Closed(reason) => Decision::event(Event::Closed(reason.clone())),
        Input::Charged | Input::Declined(_) | Input::RefundDone | Input::RefundRefused(_) | Input::NoOutcome { .. } => {
            unreachable()
        }
        Input::Operator(_) => Decision::Rejected(Rejection::UnknownOrder),
    }
}

fn in_refund_held(payment: &Payment, input: &Input) -> Decision<Event> {
    match input {
        Input::OrderCreated { .. } => begin(payment, input),
        Input::RefundRequested(request) => held(payment, request),
        Input::Closed(reason) => Decision::event(Event::Closed(reason.clone())),
        Input::Charged | Input::Declined(_) | Input::RefundDone | Input::RefundRefused(_) | Input::NoOutcome { .. } => {
            unreachable()
        }
        Input::Operator(wish) => wished(payment, wish),
    }
}

fn in_closed(payment: &Payment, input: &Input) -> Decision<Event> {
    match input {
        Input::OrderCreated { .. } => begin(payment, input),
        Input::RefundRequested(_) => Decision::Nothing(Nothing::Late),
        Input::Closed(_) => Decision::Nothing(Nothing::Duplicate),
        Input::Charged | Input::Declined(_) | Input::RefundDone | Input::RefundRefused(_) | Input::NoOutcome { .. } => {
            unreachable()
        }
        Input::Operator(wish) => wished(payment, wish),
    }
}

fn in_charging(payment: &Payment, input: &Input) -> Decision<Event> {
    match input {
        Input::OrderCreated { .. } => Decision::Nothing(Nothing::Duplicate),
        Input::RefundRequested(request) => asked(payment, request, Event::RefundDue),
        // The intent is committed: the provider may have charged already, so the charge is seen through.
        Input::Closed(reason) => Decision::event(Event::RefundDue(closed(reason))),
        Input::Charged => Decision::event(Event::Confirmed),
        Input::Declined(reason) => Decision::event(declined(payment, reason)),
        Input::NoOutcome { error, retry_at } => {
            postponed(payment, (Concern::ChargeWithoutOutcome, "charge"), error, *retry_at)
        }
        Input::RefundDone | Input::RefundRefused(_) => unreachable(),
        Input::Operator(wish) => wished(payment, wish),
    }
}

fn in_charging_to_refund(payment: &Payment, input: &Input) -> Decision<Event> {
    match input {
        Input::OrderCreated { .. } | Input::Closed(_) => Decision::Nothing(Nothing::Duplicate),
        Input::RefundRequested(request) => named(payment, request),
        Input::Charged => Decision::Events(
            std::iter::once(Event::Confirmed).chain(payment.refund.clone().map(Event::RefundIntended)).collect(),
        ),
        Input::Declined(reason) => Decision::event(declined(payment, reason)),
        Input::NoOutcome { error, retry_at } => {
            postponed(payment, (Concern::ChargeWithoutOutcome, "charge"), error, *retry_at)
        }
        Input::RefundDone | Input::RefundRefused(_) => unreachable(),
        Input::Operator(wish) => wished(payment, wish),
    }
}

fn in_confirmed(payment: &Payment, input: &Input) -> Decision<Event> {
    match input {
        Input::OrderCreated { .. } | Input::Charged => Decision::Nothing(Nothing::Duplicate),
        Input::RefundRequested(request) => asked(payment, request, Event::RefundIntended),
        Input::Closed(reason) => Decision::event(Event::RefundIntended(closed(reason))),
        Input::Declined(_) | Input::RefundDone | Input::RefundRefused(_) | Input::NoOutcome { .. } => unreachable(),
        Input::Operator(wish) => wished(payment, wish),
    }
}

fn in_failed(payment: &Payment, input: &Input) -> Decision<Event> {
    match input {
        Input::OrderCreated { .. } | Input::Declined(_) => Decision::Nothing(Nothing::Duplicate),
        Input::Closed(_) => Decision::Nothing(Nothing::Late),
        Input::RefundRequested(_)
        | Input::Charged
        | Input::RefundDone
        | Input::RefundRefused(_)
        | Input::NoOutcome { .. } => unreachable(),
        Input::Operator(wish) => wished(payment, wish),
    }
}

fn in_refunding(payment: &Payment, input: &Input) -> Decision<Event> {
    match input {
        Input::OrderCreated { .. } | Input::Closed(_) | Input::Charged => Decision::Nothing(Nothing::Duplicate),
        Input::RefundRequested(request) => named(payment, request),
        Input::RefundDone => Decision::event(Event::Refunded),
        Input::RefundRefused(why) => Decision::Events(vec![
            Event::RefundRefused,
            Event::AttentionNeeded(Concern::RefundRefused, format!("the provider has refused the refund: {why}")),
        ]),
        Input::NoOutcome { error, retry_at } => {
            postponed(payment, (Concern::RefundWithoutOutcome, "refund"), error, *retry_at)
        }
        Input::Declined(_) => unreachable(),
        Input::Operator(wish) => wished(payment, wish),
    }
}

fn in_refund_refused(payment: &Payment, input: &Input) -> Decision<Event> {
    match input {
        Input::OrderCreated { .. } | Input::Closed(_) | Input::Charged | Input::RefundRefused(_) => {
            Decision::Nothing(Nothing::Duplicate)
        }
        Input::RefundRequested(request) => named(payment, request),
        // From a replica that asked at the same time: the money is back after all.
        Input::RefundDone => Decision::event(Event::Refunded),
        Input::NoOutcome { .. } => Decision::Nothing(Nothing::Late),
        Input::Declined(_) => unreachable(),
        Input::Operator(wish) => wished(payment, wish),
    }
}

fn in_refunded(payment: &Payment, input: &Input) -> Decision<Event> {
    match input {
        Input::OrderCreated { .. } | Input::RefundRequested(_) | Input::Closed(_) | Input::Charged => {
            Decision::Nothing(Nothing::Duplicate)
        }
        Input::RefundDone => given_back_again(payment),
        // The provider was still being asked when somebody said that the money is back.
        Input::RefundRefused(_) | Input::NoOutcome { .. } => Decision::Nothing(Nothing::Late),
        Input::Declined(_) => unreachable(),
        Input::Operator(wish) => wished(payment, wish),
    }
}

/// The answer to an operator.
fn wished(payment: &Payment, wish: &Wish) -> Decision<Event> {
    match wish {
        Wish::RetryRefund => match payment.stage {
            Stage::ChargingToRefund | Stage::Refunding | Stage::RefundRefused => Decision::event(Event::Hastened),
            Stage::Refunded => Decision::Nothing(Nothing::Duplicate),
            Stage::Unknown | Stage::RefundHeld | Stage::Closed | Stage::Charging | Stage::Confirmed | Stage::Failed => {
                Decision::Rejected(Rejection::NothingUnderWay)
            }
        },
        Wish::ResolveRefund(note) => match payment.stage {
            Stage::Refunding | Stage::RefundRefused => {
                Decision::Events(vec![Event::RefundNoted(note.clone()), Event::Refunded])
            }
            Stage::Refunded => Decision::Nothing(Nothing::Duplicate),
            // While it is not known whether anything was charged there is nothing to be given back.
            Stage::ChargingToRefund
            | Stage::Unknown
            | Stage::RefundHeld
            | Stage::Closed
            | Stage::Charging
            | Stage::Confirmed
            | Stage::Failed => Decision::Rejected(Rejection::NothingUnderWay),
        },
        Wish::Acknowledge(note) => {
            if payment.attention.keys().any(|concern| concern.is_for_people()) {
                Decision::event(Event::Acknowledged(note.clone()))
            } else if payment.acknowledged.is_some() {
                Decision::Nothing(Nothing::Duplicate)
            } else {
                Decision::Rejected(Rejection::NothingUnderWay)
            }
        }
    }
}

/// The answer to no outcome: asked again, and from some attempt on with somebody looking.
fn postponed(payment: &Payment, (concern, what): (Concern, &str), error: &str, retry_at: Timestamp) -> Decision<Event> {
    let mut events = vec![Event::Postponed { error: error.to_owned(), retry_at }];
    let attempts = payment.attempts.saturating_add(1);
    if attempts >= PATIENCE && !payment.attention.contains_key(&concern) {
        let text = format!("the provider has given no outcome of the {what} in {attempts} attempts; the last: {error}");
        events.push(Event::AttentionNeeded(concern, text));
    }
    Decision::Events(events)
}

fn unreachable() -> Decision<Event> {
    Decision::Nothing(Nothing::Unreachable)
}

/// The answer to `order.created`, in the stages in which it is new.
fn begin(payment: &Payment, input: &Input) -> Decision<Event> {
    let Input::OrderCreated { customer_id, amount, currency, contact, unpayable } = input else { return unreachable() };
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
    let intended = Event::ChargeIntended {
        customer_id: customer_id.clone(),
        amount,
        currency: currency.clone(),
        contact: contact.clone(),
    };
    // Now there is something to compare what is held with.
    let charging = PaymentSaga::evolve(payment.clone(), &intended);
    let held = payment.held.iter().map(|request| match differs(&charging, request) {
        None => Event::RefundDue(requested(request)),
        Some(why) => Event::AttentionNeeded(Concern::RequestRefused, why),
    });
    Decision::Events(std::iter::once(intended).chain(held).collect())
}

/// The answer to a request while another one is held: a wrong one must not be in the way of the right one.
fn held(payment: &Payment, request: &RefundRequest) -> Decision<Event> {
    let asks_for =
        |request: &RefundRequest| (request.payment_id.clone(), request.amount.clone(), request.currency.clone());
    let is_known = payment.held.iter().any(|held| asks_for(held) == asks_for(request));
    match is_known || payment.held.len() >= MOST_HELD {
        true => Decision::Nothing(Nothing::Duplicate),
        false => Decision::event(Event::RefundHeld(request.clone())),
    }
}

fn requested(request: &RefundRequest) -> Refund {
    Refund { requested_as: Some(request.refund_id.clone()), reason: request.reason.clone(), note: None }
}

fn closed(reason: &str) -> Refund {
    Refund { requested_as: None, reason: reason.to_owned(), note: None }
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
        Some(why) => look(payment, Concern::RequestRefused, why),
    }
}

/// The answer to a refund request where the refund is under way: its first request may still name it.
fn named(payment: &Payment, request: &RefundRequest) -> Decision<Event> {
    let unnamed = payment.refund.as_ref().is_some_and(|refund| refund.requested_as.is_none());
    match differs(payment, request) {
        Some(why) => look(payment, Concern::RequestRefused, why),
        None if unnamed => Decision::event(Event::RefundNamed(request.refund_id.clone())),
        None => Decision::Nothing(Nothing::Duplicate),
    }
}

/// The answer to a refund by the provider where the money is back already: by its own hand, or by somebody else's who
/// said so while the provider was still being asked.
fn given_back_again(payment: &Payment) -> Decision<Event> {
    match payment.refund.as_ref().and_then(|refund| refund.note.as_ref()) {
        None => Decision::Nothing(Nothing::Duplicate),
        Some(note) => {
            let why =
                format!("the provider has given the money back, too, which was given back by other means: {note}");
            look(payment, Concern::RefundedTwice, why)
        }
    }
}

/// Has somebody look at this. What somebody looks at or has looked at is not shown again, not even when the topic is
/// read from its beginning.
fn look(payment: &Payment, concern: Concern, why: String) -> Decision<Event> {
    let seen = payment.attention.get(&concern);
    let mut known = seen.into_iter().chain(payment.acknowledged.as_ref().map(|acknowledged| &acknowledged.what));
    // Whoever asks decides how many wrong requests there are; of what else there is to see, there is one of each.
    let is_enough = concern == Concern::RequestRefused && known.clone().map(String::len).sum::<usize>() > ENOUGH;
    if is_enough || known.any(|known| known.contains(&why)) {
        return Decision::Nothing(Nothing::Duplicate);
    }
    Decision::event(Event::AttentionNeeded(concern, why))
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
