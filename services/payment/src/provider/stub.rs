//! A provider that moves nothing: its answers are a function of the question.

use super::{Charge, NoOutcome, PaymentProvider, Refund, Transfer};
use async_trait::async_trait;
use contracts::Money;

/// The stub.
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

    async fn refund(&self, _: &Transfer) -> Result<Refund, NoOutcome> {
        Ok(Refund::Refunded)
    }
}
