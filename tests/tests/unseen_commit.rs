//! A connection that is cut at COMMIT: the step is stored, and nobody was told. Its event is published all the same,
//! without a restart.

use anyhow::Result;
use async_trait::async_trait;
use contracts::{OrderId, Timestamp};
use e2e::rig::{self, Rig};
use e2e::topics::read_all;
use migrations::OrderMigrator;
use order_service::saga::OrderSaga;
use runtime::actors::order::Outcome;
use runtime::saga::{Outgoing, Step};
use runtime::store::sql::SqlStore;
use runtime::store::{Backlog, Loaded, OutboxKey, Overdue, Store, StoreError, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;

/// Does the first commit of a step, and says that the connection was lost.
struct CutOnce {
    store: SqlStore<OrderSaga>,
    cut: AtomicBool,
}

#[async_trait]
impl Store<OrderSaga> for CutOnce {
    async fn load(&self, orders: &[OrderId]) -> Result<Vec<Loaded<OrderSaga>>, StoreError> {
        self.store.load(orders).await
    }

    async fn commit(
        &self,
        steps: &[Step<OrderSaga>],
        sent: &[OutboxKey],
    ) -> Result<Vec<Verdict<OrderSaga>>, StoreError> {
        let verdicts = self.store.commit(steps, sent).await?;
        if self.cut.swap(false, Ordering::SeqCst) {
            return Err(StoreError {
                message: "the connection was cut at COMMIT".into(),
                transient: true,
                damaged: false,
            });
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
        self.store.backlog().await
    }
}

#[tokio::test]
async fn its_events_are_published_without_a_restart() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = rig::log(directory.path()).await?;
    let store = rig::store::<OrderSaga, OrderMigrator>(directory.path()).await?;
    let store = Arc::new(CutOnce { store, cut: AtomicBool::new(true) });
    let rig = Rig::without_consumer(OrderSaga::default(), store, Arc::clone(&log) as _).await?;

    let order = OrderId(Uuid::now_v7());
    let outcome = rig.wiring.order(order, rig::placed()).await?;
    assert!(matches!(outcome, Outcome::Nothing(..)), "the second attempt finds the first one's work: {outcome:?}");
    let published = read_all(log.as_ref(), &["order.created".to_owned()]).await?;
    let keys: Vec<_> = published.iter().filter_map(|record| record.key.clone()).collect();
    assert_eq!(keys, [order.to_string().into_bytes()], "{published:?}");
    rig.stop().await
}
