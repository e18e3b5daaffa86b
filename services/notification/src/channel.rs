//! The ways to a customer: the service's log, mail, and webhooks.

pub mod email;
pub mod letter;
pub mod webhook;

use crate::saga::{Channel, Input, Key, Notice, NotificationSaga};
use async_trait::async_trait;
use contracts::{OrderId, event_id};
use email::Mail;
use runtime::actors::outside::{AT_ONCE, Outside};
use runtime::backoff::Backoff;
use runtime::clock::{Clock, SystemClock};
use runtime::saga::{Named, Saga};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use uuid::Uuid;
use webhook::Webhooks;

/// The longest pause before the next attempt.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// The id of a notice's message: the same, however often it is delivered, so that its receiver can tell a repetition.
pub fn message_id(order: OrderId, key: Key) -> Uuid {
    let Key { occasion, channel } = key;
    let name = format!("{}/{}", occasion.name(), channel.name());
    contracts::beside(order, event_id(NotificationSaga::SERVICE, order, 0, &name))
}

/// Why a delivery failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was seen of it.
    pub error: String,
    /// How long the receiver wants to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether it would fail however often it was tried.
    pub for_good: bool,
}

impl Failure {
    /// It may go better another time.
    pub fn for_now(error: String) -> Self {
        Failure { error, retry_after: None, for_good: false }
    }

    /// It would never go better.
    pub fn for_good(error: String) -> Self {
        Failure { error, retry_after: None, for_good: true }
    }
}

/// The ways that are open, beside the log.
pub struct Ways {
    /// What goes which way.
    pub saga: NotificationSaga,
    /// Mail.
    pub email: Option<Mail>,
    /// Webhooks.
    pub webhook: Option<Webhooks>,
    /// How long a delivery may take.
    pub time_limit: Duration,
    /// The longest pause before the second attempt; it doubles with each.
    pub first_pause: Duration,
}

/// The channels as the outside of the notification saga.
pub struct Channels {
    ways: Ways,
    clock: Arc<dyn Clock>,
    mails: Semaphore,
    posts: Semaphore,
}

impl Channels {
    /// That lead these ways, by this clock.
    pub fn new(ways: Ways, clock: Arc<dyn Clock>) -> Self {
        Channels { ways, clock, mails: Semaphore::new(AT_ONCE), posts: Semaphore::new(AT_ONCE) }
    }

    async fn deliver(&self, order: OrderId, notice: &Notice) -> Result<(), Failure> {
        let id = message_id(order, notice.key());
        let off = || Failure::for_now("this channel is off; it waits for the settings".to_owned());
        match notice.channel {
            Channel::Log => {
                let Notice { occasion, customer_id, text, .. } = notice;
                let occasion = occasion.name();
                tracing::info!(order_id = %order, message_id = %id, customer_id, occasion, text, "notice");
                Ok(())
            }
            Channel::Email => self.ways.email.as_ref().ok_or_else(off)?.send(order, id, notice).await,
            Channel::Webhook => {
                // By the time of day: receivers refuse what is minutes off, and the service's clock may stand still
                // while the machine sleeps.
                self.ways.webhook.as_ref().ok_or_else(off)?.post(order, id, notice, SystemClock.now()).await
            }
        }
    }

    /// What is made of a failed delivery.
    fn again(&self, order: OrderId, notice: &Notice, failure: Failure) -> Input {
        let (key, Failure { error, retry_after, for_good }) = (notice.key(), failure);
        let (occasion, channel) = (key.occasion.name(), key.channel.name());
        let attempt = notice.attempts.saturating_add(1);
        tracing::warn!(order_id = %order, occasion, channel, attempt, error, "a notice was not delivered");
        let ceiling = self.ways.first_pause.saturating_mul(1 << notice.attempts.min(16)).min(LONGEST_PAUSE);
        let pause = Backoff::new(ceiling, ceiling).next_pause().max(retry_after.unwrap_or_default());
        let millis = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        let retry_at = (!for_good).then(|| self.clock.now().plus_millis(millis));
        Input::NotDelivered { key, error, retry_at }
    }
}

#[async_trait]
impl Outside<NotificationSaga> for Channels {
    async fn perform(&self, order: OrderId, notice: Notice) -> Input {
        let limit = self.ways.time_limit;
        let late = || Failure::for_now(format!("there was no answer within {} ms", limit.as_millis()));
        let delivered = tokio::time::timeout(limit, self.deliver(order, &notice)).await.unwrap_or_else(|_| Err(late()));
        let outcome = if delivered.is_ok() { "sent" } else { "failed" };
        metrics::counter!("notice_deliveries_total", "service" => NotificationSaga::SERVICE, "channel" => notice.channel.name(), "outcome" => outcome)
            .increment(1);
        match delivered {
            Ok(()) => Input::Delivered(notice.key()),
            Err(failure) => self.again(order, &notice, failure),
        }
    }

    fn room(&self, notice: &Notice) -> Option<&Semaphore> {
        match notice.channel {
            Channel::Log => None,
            Channel::Email => Some(&self.mails),
            Channel::Webhook => Some(&self.posts),
        }
    }

    fn name(&self, notice: &Notice) -> &'static str {
        match notice.channel {
            Channel::Log => "notify by log",
            Channel::Email => "notify by email",
            Channel::Webhook => "notify by webhook",
        }
    }
}
