//! The rules of an order's notices. `docs/sagas/notification.md` shows every cell; it is generated from this file.
//!
//! A notice is recorded before it is delivered, and delivered until its channel has taken it, its receiver wants no
//! more, or the attempts are used up. A delivery that was cut off comes again under the same message id.

mod notice;

pub use notice::{Channel, Details, Key, Notice, Notices, Occasion, Status};

use contracts::{Contact, OrderId, Payload, Timestamp};
use runtime::saga::{Decision, Due, Nothing, Rejection, Saga};
use std::collections::BTreeSet;

/// The saga of notification-service, with what goes which way. The log takes everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationSaga {
    /// What is sent by mail.
    pub email: BTreeSet<Occasion>,
    /// What is sent to webhooks.
    pub webhook: BTreeSet<Occasion>,
    /// Deliveries that may fail before a notice is given up.
    pub attempts: u32,
}

impl Default for NotificationSaga {
    /// With the log as the only way.
    fn default() -> Self {
        NotificationSaga { email: BTreeSet::new(), webhook: BTreeSet::new(), attempts: 20 }
    }
}

/// What a customer is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Of what.
    pub occasion: Occasion,
    /// Who is told.
    pub customer_id: String,
    /// In a sentence.
    pub text: String,
    /// What else there is to say.
    pub details: Details,
    /// How to reach the customer beside the log.
    pub contact: Option<Contact>,
}

/// What can come to an order's notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// An event that the customer is told of.
    Told(News),
    /// The channel has taken the notice.
    Delivered(Key),
    /// The channel has not.
    NotDelivered {
        /// Which notice.
        key: Key,
        /// What was seen of it.
        error: String,
        /// When to try again; none if it would be in vain.
        retry_at: Option<Timestamp>,
    },
    /// An operator wants the notice delivered again, and now.
    Resend(Key),
}

/// What can happen to an order's notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is a new one.
    Recorded(Notice),
    /// One was sent.
    Sent(Key),
    /// One is to be tried again at this moment, after this error.
    Postponed(Key, String, Timestamp),
    /// One is given up, after this error.
    GivenUp(Key, String),
    /// One is begun anew.
    BegunAnew(Key),
}

impl Event {
    /// Which notice it is about.
    pub fn key(&self) -> Key {
        match self {
            Event::Recorded(notice) => notice.key(),
            Event::Sent(key) | Event::Postponed(key, ..) | Event::GivenUp(key, _) | Event::BegunAnew(key) => *key,
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

    fn decide(&self, notices: &Notices, input: &Input, at: Timestamp) -> Decision<Event> {
        match input {
            Input::Told(news) if notices.tell_of(news.occasion) => Decision::Nothing(Nothing::Duplicate),
            Input::Told(news) => Decision::Events(self.record(notices, news, at)),
            Input::Delivered(key) => match notices.status(*key) {
                // Given up here, while another replica was still at it.
                Some(Status::Pending | Status::Failed) => Decision::event(Event::Sent(*key)),
                Some(Status::Sent) => Decision::Nothing(Nothing::Duplicate),
                None | Some(Status::Superseded) => Decision::Nothing(Nothing::Unreachable),
            },
            Input::NotDelivered { key, error, retry_at } => match notices.get(*key) {
                Some(notice) if notice.status == Status::Pending => {
                    let again = retry_at.filter(|_| notice.attempts.saturating_add(1) < self.attempts);
                    Decision::event(match again {
                        Some(retry_at) => Event::Postponed(*key, error.clone(), retry_at),
                        None => Event::GivenUp(*key, error.clone()),
                    })
                }
                Some(notice) if notice.status == Status::Superseded => Decision::Nothing(Nothing::Unreachable),
                Some(_) => Decision::Nothing(Nothing::Late),
                None => Decision::Nothing(Nothing::Unreachable),
            },
            Input::Resend(key) => match notices.status(*key) {
                Some(Status::Pending | Status::Sent | Status::Failed) => Decision::event(Event::BegunAnew(*key)),
                // It would be false.
                Some(Status::Superseded) => Decision::Rejected(Rejection::NothingUnderWay),
                None => Decision::Rejected(Rejection::UnknownOrder),
            },
        }
    }

    fn evolve(mut notices: Notices, event: &Event) -> Notices {
        if let Event::Recorded(notice) = event {
            notices.0.push(notice.clone());
        }
        for notice in notices.0.iter_mut().filter(|notice| notice.key() == event.key()) {
            match event {
                Event::Recorded(_) => {}
                Event::Sent(_) => {
                    notice.deliveries = notice.deliveries.saturating_add(1);
                    (notice.status, notice.last_error) = (Status::Sent, None);
                }
                Event::Postponed(_, error, retry_at) => {
                    failed(notice, error);
                    notice.retry_at = retry_at.0;
                }
                Event::GivenUp(_, error) => {
                    failed(notice, error);
                    notice.status = Status::Failed;
                }
                Event::BegunAnew(_) => (notice.status, notice.attempts, notice.retry_at) = (Status::Pending, 0, 0),
            }
        }
        notices
    }

    /// One notice at a time.
    fn due(notices: &Notices) -> Option<(Timestamp, Due<Input, Notice>)> {
        let next = notices.next()?;
        Some((Timestamp(next.retry_at), Due::Outside(next.clone())))
    }

    fn is_done(notices: &Notices) -> bool {
        notices.next().is_none()
    }

    fn opens(input: &Input) -> bool {
        // An order's first notice usually is its only one.
        matches!(input, Input::Told(_))
    }

    fn receive(payload: Payload) -> Option<Input> {
        crate::messages::receive(payload)
    }

    fn emit(_: OrderId, _: &Notices, _: &Event, _: Timestamp) -> Option<Payload> {
        None
    }
}

impl NotificationSaga {
    /// The notices of some news: one in the log, and one by each way that is open for it and leads to the customer.
    fn record(&self, notices: &Notices, news: &News, at: Timestamp) -> Vec<Event> {
        let News { occasion, customer_id, text, details, contact } = news;
        let contact = contact.clone().unwrap_or_default();
        let email = contact.email.filter(|_| self.email.contains(occasion));
        let webhook = contact.webhook_url.filter(|_| self.webhook.contains(occasion));
        let of = |channel: Channel, to: Option<String>| {
            Event::Recorded(Notice {
                occasion: *occasion,
                channel,
                status: first_status(notices, *occasion),
                customer_id: customer_id.clone(),
                text: text.clone(),
                attempts: 0,
                retry_at: 0,
                details: if channel == Channel::Log { Details::default() } else { details.clone() },
                to,
                recorded_at: at.0,
                deliveries: 0,
                last_error: None,
            })
        };
        let others = [(Channel::Email, email), (Channel::Webhook, webhook)];
        let others = others.into_iter().filter(|(_, to)| to.is_some()).map(|(channel, to)| of(channel, to));
        std::iter::once(of(Channel::Log, None)).chain(others).collect()
    }
}

/// A confirmation that comes after the cancellation would be false.
fn first_status(notices: &Notices, occasion: Occasion) -> Status {
    match occasion {
        Occasion::OrderConfirmed if notices.tell_of(Occasion::OrderCancelled) => Status::Superseded,
        Occasion::OrderConfirmed | Occasion::OrderFailed | Occasion::OrderCancelled | Occasion::PaymentRefunded => {
            Status::Pending
        }
    }
}

fn failed(notice: &mut Notice, error: &str) {
    notice.attempts = notice.attempts.saturating_add(1);
    notice.deliveries = notice.deliveries.saturating_add(1);
    notice.last_error = Some(error.to_owned());
}

#[cfg(test)]
mod tests;
