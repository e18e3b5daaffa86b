//! The payment provider, as a port, and the stub that stands in for one.

use crate::saga::{Effect, Input, Order, PaymentSaga};
use async_trait::async_trait;
use contracts::{Money, OrderId, PaymentId};
use runtime::actors::Outside;
use runtime::backoff::Backoff;
use runtime::clock::Clock;
use std::sync::Arc;
use std::time::Duration;

/// What a provider is asked to take or to give back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// A function of the payment and of what is asked. The provider does a key once, however often it is asked.
    pub key: String,
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

/// There was no answer, so it is not known what the provider did. The same key is to be asked again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no outcome: {0}")]
pub struct NoOutcome(pub String);

/// Somebody who moves money.
#[async_trait]
pub trait PaymentProvider: Send + Sync + 'static {
    /// Takes money. The first outcome of a key, a decline included, is its outcome for ever.
    async fn charge(&self, transfer: &Transfer) -> Result<Charge, NoOutcome>;

    /// Gives back what was taken.
    async fn refund(&self, transfer: &Transfer) -> Result<(), NoOutcome>;
}

/// A provider that moves nothing: its answers are a function of the question.
#[derive(Clone, Debug, Default)]
pub struct StubProvider {
    /// This customer is declined.
    pub declined_customer: String,
    /// Larger amounts are declined, if this is set.
    pub declined_above: Option<Money>,
}

#[async_trait]
impl PaymentProvider for StubProvider {
    async fn charge(&self, transfer: &Transfer) -> Result<Charge, NoOutcome> {
        Ok(match self.declined_above {
            _ if transfer.customer_id == self.declined_customer => {
                Charge::Declined(format!("the payment of customer {} was declined", transfer.customer_id))
            }
            Some(limit) if transfer.amount > limit => {
                Charge::Declined(format!("{} {} is more than the limit of {limit}", transfer.amount, transfer.currency))
            }
            Some(_) | None => Charge::Charged,
        })
    }

    async fn refund(&self, _: &Transfer) -> Result<(), NoOutcome> {
        Ok(())
    }
}

/// The provider as the outside of the payment saga.
pub struct Provided {
    /// Who moves the money.
    pub provider: Arc<dyn PaymentProvider>,
    /// For the moment of the next attempt.
    pub clock: Arc<dyn Clock>,
}

impl Provided {
    fn again(&self, NoOutcome(error): NoOutcome, attempts: u32) -> Input {
        let ceiling = Duration::from_millis(200).saturating_mul(1 << attempts.min(8));
        let pause = Backoff::new(ceiling, ceiling).next_pause().max(Duration::from_millis(50));
        let millis = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        Input::NoOutcome { error, retry_at: self.clock.now().plus_millis(millis) }
    }
}

#[async_trait]
impl Outside<PaymentSaga> for Provided {
    async fn perform(&self, order: OrderId, effect: Effect) -> Input {
        let transfer = |action: &str, of: &Order| Transfer {
            key: format!("{action}-{}", PaymentId::of(order)),
            customer_id: of.customer_id.clone(),
            amount: of.amount,
            currency: of.currency.clone(),
        };
        match effect {
            Effect::Charge(of) => match self.provider.charge(&transfer("charge", &of)).await {
                Ok(Charge::Charged) => Input::Charged,
                Ok(Charge::Declined(reason)) => Input::Declined(reason),
                Err(no_outcome) => self.again(no_outcome, of.attempts),
            },
            Effect::Refund(of) => match self.provider.refund(&transfer("refund", &of)).await {
                Ok(()) => Input::RefundDone,
                Err(no_outcome) => self.again(no_outcome, of.attempts),
            },
        }
    }
}
