//! What somebody has to look at, as numbers: a store that counts it as it is committed.

use crate::saga::{Concern, Event, PaymentSaga};
use crate::store::needing_attention;
use async_trait::async_trait;
use contracts::{OrderId, Timestamp};
use runtime::database::Database;
use runtime::saga::{Named, Outgoing, Saga, Step};
use runtime::store::sql::SqlStore;
use runtime::store::{Backlog, Loaded, OutboxKey, Overdue, Store, StoreError, Verdict};

/// The service's store, watched.
pub struct Watched {
    store: SqlStore<PaymentSaga>,
    database: Database,
}

impl Watched {
    /// Over a migrated database.
    pub fn new(database: Database) -> Self {
        Watched { store: SqlStore::new(PaymentSaga, database.clone()), database }
    }
}

/// Why somebody has to look from this step on.
fn concerns(step: &Step<PaymentSaga>) -> Vec<(OrderId, Concern, String)> {
    let order = step.next.order;
    let needed = step.events.iter().filter_map(|event| match event {
        Event::AttentionNeeded(concern, what) => Some((order, *concern, what.clone())),
        Event::ChargeIntended { .. }
        | Event::Confirmed
        | Event::Failed { .. }
        | Event::Closed(_)
        | Event::RefundHeld(_)
        | Event::RefundDue(_)
        | Event::RefundIntended(_)
        | Event::RefundNamed(_)
        | Event::RefundRefused
        | Event::RefundNoted(_)
        | Event::Refunded
        | Event::Postponed { .. }
        | Event::Hastened
        | Event::Acknowledged(_) => None,
    });
    needed.collect()
}

#[async_trait]
impl Store<PaymentSaga> for Watched {
    async fn load(&self, orders: &[OrderId]) -> Result<Vec<Loaded<PaymentSaga>>, StoreError> {
        self.store.load(orders).await
    }

    async fn commit(
        &self,
        steps: &[Step<PaymentSaga>],
        sent: &[OutboxKey],
    ) -> Result<Vec<Verdict<PaymentSaga>>, StoreError> {
        let concerns: Vec<_> = steps.iter().map(concerns).collect();
        let verdicts = self.store.commit(steps, sent).await?;
        let committed = concerns.into_iter().zip(&verdicts).filter_map(|(concerns, verdict)| match verdict {
            Verdict::Committed(..) => Some(concerns),
            Verdict::Conflict | Verdict::Refused(_) => None,
        });
        for (order_id, concern, what) in committed.flatten() {
            tracing::error!(%order_id, reason = concern.name(), what, "a payment needs attention");
            let (service, reason) = (PaymentSaga::SERVICE, concern.name());
            metrics::counter!("payments_needing_attention_total", "service" => service, "reason" => reason)
                .increment(1);
        }
        Ok(verdicts)
    }

    async fn unsent(&self, after: Option<OutboxKey>, limit: u64) -> Result<Vec<Outgoing>, StoreError> {
        self.store.unsent(after, limit).await
    }

    async fn due(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, OrderId)>,
        limit: u64,
    ) -> Result<Vec<Overdue>, StoreError> {
        self.store.due(now, after, limit).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        let count = needing_attention(&self.database).await?;
        metrics::gauge!("payments_needing_attention", "service" => PaymentSaga::SERVICE).set(count as f64);
        self.store.backlog().await
    }
}
