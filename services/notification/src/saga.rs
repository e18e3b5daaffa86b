//! The rules of an order's notices. `docs/sagas/notification.md` shows every cell; it is generated from this file.

use contracts::{OrderId, Payload, Timestamp};
use runtime::saga::{Decision, Due, Named, Nothing, Saga};
use serde::{Deserialize, Serialize};

/// The saga of notification-service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotificationSaga;

/// What a customer is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Occasion {
    /// The order is on its way.
    OrderConfirmed,
    /// The order failed.
    OrderFailed,
    /// The order was called off.
    OrderCancelled,
    /// The money is on its way back.
    PaymentRefunded,
}

impl Named for Occasion {
    const ALL: &'static [Self] =
        &[Occasion::OrderConfirmed, Occasion::OrderFailed, Occasion::OrderCancelled, Occasion::PaymentRefunded];

    fn name(self) -> &'static str {
        match self {
            Occasion::OrderConfirmed => "ORDER_CONFIRMED",
            Occasion::OrderFailed => "ORDER_FAILED",
            Occasion::OrderCancelled => "ORDER_CANCELLED",
            Occasion::PaymentRefunded => "PAYMENT_REFUNDED",
        }
    }
}

/// How far a notice has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It is to be sent.
    Pending,
    /// It was sent.
    Sent,
    /// It was overtaken by a cancellation, and is not sent.
    Superseded,
}

impl Named for Status {
    const ALL: &'static [Self] = &[Status::Pending, Status::Sent, Status::Superseded];

    fn name(self) -> &'static str {
        match self {
            Status::Pending => "PENDING",
            Status::Sent => "SENT",
            Status::Superseded => "SUPERSEDED",
        }
    }
}

/// One notice of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Of what.
    pub occasion: Occasion,
    /// How far it has come.
    pub status: Status,
    /// To whom.
    pub customer_id: String,
    /// What it says.
    pub text: String,
    /// Failed deliveries so far.
    pub attempts: u32,
    /// Not to be sent before this moment, in microseconds since 1970.
    pub retry_at: i64,
}

/// An order's notices, in the order in which they are sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notices(pub Vec<Notice>);

impl Notices {
    /// How far the notice of this occasion has come, if there is one.
    pub fn status(&self, occasion: Occasion) -> Option<Status> {
        self.0.iter().find(|notice| notice.occasion == occasion).map(|notice| notice.status)
    }
}

/// What can come to an order's notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// An event that the customer is told of.
    Told {
        /// Of what.
        occasion: Occasion,
        /// Who is told.
        customer_id: String,
        /// What the notice says.
        text: String,
    },
    /// The channel has taken the notice.
    Delivered(Occasion),
    /// The channel has not.
    NotDelivered {
        /// Which notice.
        occasion: Occasion,
        /// When to try again.
        retry_at: Timestamp,
    },
}

/// What can happen to an order's notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is a new one.
    Recorded(Notice),
    /// One was sent.
    Sent(Occasion),
    /// One is to be tried again.
    Postponed(Occasion, Timestamp),
}

impl Event {
    /// Which notice it is about.
    pub fn occasion(&self) -> Occasion {
        match self {
            Event::Recorded(notice) => notice.occasion,
            Event::Sent(occasion) | Event::Postponed(occasion, _) => *occasion,
        }
    }
}

impl Saga for NotificationSaga {
    const SERVICE: &'static str = "notification-service";
    const READS: &'static [contracts::EventType] = crate::messages::READS;
    type State = Notices;
    type Input = Input;
    type Event = Event;
    type Effect = Notice;

    fn decide(&self, notices: &Notices, input: &Input, _: Timestamp) -> Decision<Event> {
        match input {
            Input::Told { occasion, customer_id, text } => match notices.status(*occasion) {
                None => Decision::event(Event::Recorded(Notice {
                    occasion: *occasion,
                    status: first_status(notices, *occasion),
                    customer_id: customer_id.clone(),
                    text: text.clone(),
                    attempts: 0,
                    retry_at: 0,
                })),
                Some(Status::Pending | Status::Sent | Status::Superseded) => Decision::Nothing(Nothing::Duplicate),
            },
            Input::Delivered(occasion) => match notices.status(*occasion) {
                Some(Status::Pending) => Decision::event(Event::Sent(*occasion)),
                Some(Status::Sent) => Decision::Nothing(Nothing::Duplicate),
                None | Some(Status::Superseded) => Decision::Nothing(Nothing::Unreachable),
            },
            Input::NotDelivered { occasion, retry_at } => match notices.status(*occasion) {
                Some(Status::Pending) => Decision::event(Event::Postponed(*occasion, *retry_at)),
                Some(Status::Sent) => Decision::Nothing(Nothing::Late),
                None | Some(Status::Superseded) => Decision::Nothing(Nothing::Unreachable),
            },
        }
    }

    fn evolve(mut notices: Notices, event: &Event) -> Notices {
        let of = |notices: &mut Notices, occasion: Occasion, change: &dyn Fn(&mut Notice)| {
            notices.0.iter_mut().filter(|notice| notice.occasion == occasion).for_each(change);
        };
        match event {
            Event::Recorded(notice) => notices.0.push(notice.clone()),
            Event::Sent(occasion) => of(&mut notices, *occasion, &|notice| notice.status = Status::Sent),
            Event::Postponed(occasion, retry_at) => of(&mut notices, *occasion, &|notice| {
                notice.attempts = notice.attempts.saturating_add(1);
                notice.retry_at = retry_at.0;
            }),
        }
        notices
    }

    /// One notice at a time, in the order in which they came.
    fn due(notices: &Notices) -> Option<(Timestamp, Due<Input, Notice>)> {
        let next = notices.0.iter().find(|notice| notice.status == Status::Pending)?;
        Some((Timestamp(next.retry_at), Due::Outside(next.clone())))
    }

    fn opens(_: &Input) -> bool {
        // An order's first notice usually is its only one.
        true
    }

    fn receive(payload: Payload) -> Option<Input> {
        crate::messages::receive(payload)
    }

    fn emit(_: OrderId, _: &Notices, _: &Event, _: Timestamp) -> Option<Payload> {
        None
    }
}

/// A confirmation that comes after the cancellation would be false.
fn first_status(notices: &Notices, occasion: Occasion) -> Status {
    match occasion {
        Occasion::OrderConfirmed if notices.status(Occasion::OrderCancelled).is_some() => Status::Superseded,
        Occasion::OrderConfirmed | Occasion::OrderFailed | Occasion::OrderCancelled | Occasion::PaymentRefunded => {
            Status::Pending
        }
    }
}

#[cfg(test)]
mod tests;
