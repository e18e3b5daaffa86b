//! The payment provider's own books, and the provider as a port.

use super::mutation::Mutation;
use super::point::Point;
use super::process::Process;
use super::world::World;
use async_trait::async_trait;
use contracts::Money;
use payment_service::provider::{Charge, NoOutcome, PaymentProvider, Refund, Transfer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The first outcome of a key is its outcome for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    /// What was taken, or none where it was declined.
    pub(super) charges: BTreeMap<String, Option<Money>>,
    /// What was given back.
    pub(super) refunds: BTreeMap<String, Money>,
    refund_failures: BTreeMap<String, u32>,
    calls: u64,
}

impl Ledger {
    /// Takes money, unless this customer has none.
    pub(super) fn charge(&mut self, key: &str, customer: &str, amount: Money) -> Charge {
        let taken = (!customer.starts_with("poor")).then_some(amount);
        match self.charges.entry(key.to_owned()).or_insert(taken) {
            Some(_) => Charge::Charged,
            None => Charge::Declined(format!("customer {customer} has no money")),
        }
    }

    /// Gives money back.
    pub(super) fn refund(&mut self, key: &str, amount: Money) {
        self.refunds.entry(key.to_owned()).or_insert(amount);
    }

    /// Whether a refund is refused once more.
    fn refuses_refund(&mut self, key: &str, times: u32) -> bool {
        let failures = self.refund_failures.entry(key.to_owned()).or_default();
        *failures += 1;
        *failures <= times
    }
}

/// The provider, as a process sees it.
pub(super) struct SimProvider {
    pub(super) world: Arc<World>,
    pub(super) process: Arc<Process>,
}

impl SimProvider {
    fn key(&self, transfer: &Transfer) -> String {
        if !self.world.lacks(Mutation::NewKeyForEveryCall) {
            return transfer.key.clone();
        }
        self.world.with(|state| {
            state.ledger.calls += 1;
            format!("{}#{}", transfer.key, state.ledger.calls)
        })
    }

    async fn no_outcome(&self, when: &str) -> Result<(), NoOutcome> {
        self.world.pause(40).await;
        self.process.gate().await;
        if self.world.chance(self.world.plan.faults.no_outcome) {
            self.world.tell(&self.process, None, format!("the provider gives no outcome, {when}"));
            self.world.count("provider: no outcome");
            return Err(NoOutcome::away(when));
        }
        Ok(())
    }
}

#[async_trait]
impl PaymentProvider for SimProvider {
    async fn charge(&self, transfer: &Transfer) -> Result<Charge, NoOutcome> {
        let (world, process) = (&self.world, &self.process);
        world.pass(process, Point::BeforeCharge).await;
        world.panic(process);
        let key = self.key(transfer);
        self.no_outcome("and has not charged").await?;
        let outcome = world.with(|state| state.ledger.charge(&key, &transfer.customer_id, transfer.amount));
        world.tell(process, None, format!("the provider: {key} {outcome:?}"));
        world.pass(process, Point::Charged).await;
        self.no_outcome("and has charged").await?;
        Ok(outcome)
    }

    async fn refund(&self, transfer: &Transfer) -> Result<Refund, NoOutcome> {
        let (world, process) = (&self.world, &self.process);
        world.pass(process, Point::BeforeRefund).await;
        let key = self.key(transfer);
        let times = world.plan.faults.refund_failures;
        self.no_outcome("and has not refunded").await?;
        if world.with(|state| !state.healed && state.ledger.refuses_refund(&key, times)) {
            world.count("provider: refund failed");
            return Err(NoOutcome { is_there: true, ..NoOutcome::away("refunds do not work") });
        }
        world.with(|state| state.ledger.refund(&key, transfer.amount));
        world.tell(process, None, format!("the provider: {key} is given back"));
        world.pass(process, Point::Refunded).await;
        self.no_outcome("and has refunded").await?;
        Ok(Refund::Refunded)
    }
}
