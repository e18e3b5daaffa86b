//! A connection that is cut at COMMIT: the step is stored, and nobody was told. Its event is published all the same,
//! without a restart.

use anyhow::Result;
use async_trait::async_trait;
use contracts::{OrderId, Timestamp};
use e2e::topics::read_all;
use migrations::{EventLogMigrator, OrderMigrator};
use order_service::saga::{Details, Input, OrderSaga};
use ractor::Actor;
use runtime::actors::order::Outcome;
use runtime::actors::supervisor::{Supervisor, Tree};
use runtime::actors::{Nowhere, Wiring};
use runtime::clock::SystemClock;
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::embedded::EmbeddedLog;
use runtime::health::{Health, Part};
use runtime::saga::{Caused, Origin, Outgoing, Saga, Step};
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
        steps: Vec<Step<OrderSaga>>,
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
    let open = async |file: &str| Database::open(&DatabaseSettings::Sqlite(directory.path().join(file))).await;
    let (orders, events) = (open("order.sqlite").await?, open("events.sqlite").await?);
    orders.migrate::<OrderMigrator>().await?;
    events.migrate::<EventLogMigrator>().await?;
    let log = Arc::new(EmbeddedLog::open(events, Arc::new(SystemClock)).await?);
    let store = Arc::new(CutOnce { store: SqlStore::new(OrderSaga::default(), orders), cut: AtomicBool::new(true) });
    let health = Arc::new(Health::starting(true));
    let wiring = Wiring::new(
        OrderSaga::default(),
        store,
        Arc::clone(&log) as _,
        Arc::new(SystemClock),
        Arc::new(Nowhere),
        Arc::clone(&health),
    );
    let children = vec![wiring.journal_child(), wiring.publisher_child(), wiring.loader_child(), wiring.router_child()];
    // There is no consumer that would be told so.
    wiring.ownership.set([0].into());
    let tree = Tree { service: OrderSaga::SERVICE, children, health: Arc::clone(&health) };
    let (supervisor, ended) = Supervisor::spawn(None, Supervisor, tree).await?;
    while !health.is_well(Part::Actors) {
        tokio::task::yield_now().await;
    }

    let order = OrderId(Uuid::now_v7());
    let input = Input::Place(Details { customer_id: "c".into(), ..Details::default() });
    let cause = Caused {
        origin: Origin::Here,
        id: Uuid::now_v7(),
        correlation_id: String::new(),
        traceparent: String::new(),
        input,
    };
    let outcome = wiring.order(order, cause).await?;
    assert!(matches!(outcome, Outcome::Nothing(..)), "the second attempt finds the first one's work: {outcome:?}");
    let published = read_all(log.as_ref(), &["order.created".to_owned()]).await?;
    let keys: Vec<_> = published.iter().filter_map(|record| record.key.clone()).collect();
    assert_eq!(keys, [order.to_string().into_bytes()], "{published:?}");

    supervisor.stop(None);
    ended.await?;
    Ok(())
}
