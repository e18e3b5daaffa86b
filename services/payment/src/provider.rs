//! The payment provider, as a port; its adapters are [`stub`] and [`http`].

pub mod condition;
pub mod http;
pub mod stub;

use crate::saga::{Effect, Input, Order, PaymentSaga};
use async_trait::async_trait;
use condition::Condition;
use contracts::{Money, OrderId, PaymentId};
use runtime::actors::outside::{AT_ONCE, Outside};
use runtime::backoff::Backoff;
use runtime::clock::Clock;
use runtime::health::Health;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What a provider is asked to take or to give back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// A function of the payment and of what is asked. The provider does a key once, however often it is asked.
    pub key: String,
    /// What is paid for; a refund is of the same payment as its charge.
    pub payment_id: PaymentId,
    /// Whose money.
    pub customer_id: String,
    /// How much.
    pub amount: Money,
    /// ISO 4217.
    pub currency: String,
}

/// A provider's answer to a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// The money was taken.
    Charged,
    /// It was not and will not be, for this reason.
    Declined(String),
}

/// A provider's answer to a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refund {
    /// The money was given back.
    Refunded,
    /// It was not and will not be, however often it is asked for, for this reason.
    Refused(String),
}

/// It is not known what the provider did. The same key is to be asked again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no outcome: {error}")]
pub struct NoOutcome {
    /// What was seen of it, for people.
    pub error: String,
    /// How long the provider wants to be left alone, if it said so.
    pub retry_after: Option<Duration>,
    /// Whether the provider is there and answered, though not with an outcome.
    pub is_there: bool,
}

impl NoOutcome {
    /// There was no answer, or one that says "not now".
    pub fn away(error: impl Into<String>) -> Self {
        NoOutcome { error: error.into(), retry_after: None, is_there: false }
    }
}

/// Somebody who moves money.
#[async_trait]
pub trait PaymentProvider: Send + Sync + 'static {
    /// Takes money. The first outcome of a key, a decline included, is its outcome for ever.
    async fn charge(&self, transfer: &Transfer) -> Result<Charge, NoOutcome>;

    /// Gives back what was taken.
    async fn refund(&self, transfer: &Transfer) -> Result<Refund, NoOutcome>;
}

/// A provider, and for how long it is waited for.
#[derive(Clone)]
pub struct Provider {
    /// Who moves the money.
    pub adapter: Arc<dyn PaymentProvider>,
    /// What is not answered by then has no outcome.
    pub time_limit: Duration,
}

/// The provider as the outside of the payment saga.
pub struct Provided {
    provider: Provider,
    clock: Arc<dyn Clock>,
    condition: Condition,
    room: Semaphore,
}

/// The longest random pause before the next attempt.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Provided {
    /// Asks this provider, and notes in `health` whether it is there.
    pub fn new(provider: Provider, clock: Arc<dyn Clock>, health: Arc<Health>) -> Self {
        Provided { provider, clock, condition: Condition::new(health), room: Semaphore::new(AT_ONCE) }
    }

    /// Waits for an answer of the provider, and no longer than the time limit.
    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, NoOutcome>>) -> Result<T, NoOutcome> {
        let limit = self.provider.time_limit;
        let late = || NoOutcome::away(format!("the provider did not answer within {} ms", limit.as_millis()));
        let answer = tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| Err(late()));
        match &answer {
            Err(no_outcome) if !no_outcome.is_there => self.condition.silent(no_outcome),
            Ok(_) | Err(_) => self.condition.answered(),
        }
        answer
    }

    fn again(&self, no_outcome: NoOutcome, attempts: u32) -> Input {
        let ceiling = Duration::from_millis(200).saturating_mul(1 << attempts.min(8)).min(LONGEST_PAUSE);
        let pause = Backoff::new(ceiling, ceiling).next_pause().max(Duration::from_millis(50));
        let pause = pause.max(no_outcome.retry_after.unwrap_or_default());
        let millis = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        Input::NoOutcome { error: no_outcome.error, retry_at: self.clock.now().plus_millis(millis) }
    }
}

#[async_trait]
impl Outside<PaymentSaga> for Provided {
    async fn perform(&self, order: OrderId, effect: Effect) -> Input {
        let payment_id = PaymentId::of(order);
        let transfer = |action: &str, of: &Order| Transfer {
            key: format!("{action}-{payment_id}"),
            payment_id: payment_id.clone(),
            customer_id: of.customer_id.clone(),
            amount: of.amount,
            currency: of.currency.clone(),
        };
        let adapter = &self.provider.adapter;
        match effect {
            Effect::Charge(of) => match self.in_time(adapter.charge(&transfer("charge", &of))).await {
                Ok(Charge::Charged) => Input::Charged,
                Ok(Charge::Declined(reason)) => Input::Declined(reason),
                Err(no_outcome) => self.again(no_outcome, of.attempts),
            },
            Effect::Refund(of) => match self.in_time(adapter.refund(&transfer("refund", &of))).await {
                Ok(Refund::Refunded) => Input::RefundDone,
                Ok(Refund::Refused(why)) => Input::RefundRefused(why),
                Err(no_outcome) => self.again(no_outcome, of.attempts),
            },
        }
    }

    fn room(&self, _: &Effect) -> Option<&Semaphore> {
        Some(&self.room)
    }

    fn name(&self, effect: &Effect) -> &'static str {
        match effect {
            Effect::Charge(_) => "charge",
            Effect::Refund(_) => "refund",
        }
    }
}
