//! What is committed is published, all of it and once: also what nobody was told of, and what is more than the publisher
//! holds.

use anyhow::Result;
use async_trait::async_trait;
use contracts::{EventType, OrderId, Timestamp};
use e2e::rig::{self, FaultyStore, FixedLog, NullStore, Rig};
use e2e::topics::read_all;
use futures::future::{BoxFuture, join_all, ready};
use migrations::OrderMigrator;
use order_service::saga::OrderSaga;
use runtime::actors::order::Outcome;
use runtime::clock::{Clock, SystemClock};
use runtime::event_log::{EventLog, LogError, NewRecord, Subscription};
use runtime::saga::{Instance, Outgoing, Saga, Step};
use runtime::store::{Backlog, Loaded, OutboxKey, Overdue, Store, StoreError, Verdict};
use std::collections::{BTreeMap, HashSet};
use std::future::pending;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// A connection is cut at COMMIT: the step is stored, and nobody was told.
#[tokio::test]
async fn a_step_whose_commit_nobody_saw_is_published_without_a_restart() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = rig::log(directory.path()).await?;
    let store = rig::store::<OrderSaga, OrderMigrator>(directory.path()).await?;
    let cut = AtomicBool::new(true);
    let told = move || -> BoxFuture<'static, Result<(), StoreError>> {
        let message = "the connection was cut at COMMIT".to_owned();
        let lost = Err(StoreError { message, transient: true, damaged: false });
        Box::pin(ready(if cut.swap(false, Ordering::SeqCst) { lost } else { Ok(()) }))
    };
    let store = FaultyStore { store, told: Box::new(told) };
    let rig = Rig::without_consumer(OrderSaga::default(), Arc::new(store), Arc::clone(&log) as _).await?;

    let order = OrderId(Uuid::now_v7());
    let outcome = rig.wiring.order(order, rig::placed()).await?;
    assert!(matches!(outcome, Outcome::Nothing(..)), "the second attempt finds the first one's work: {outcome:?}");
    let published = read_all(log.as_ref(), &["order.created".to_owned()]).await?;
    let keys: Vec<_> = published.iter().filter_map(|record| record.key.clone()).collect();
    assert_eq!(keys, [order.to_string().into_bytes()], "{published:?}");
    rig.stop().await
}

/// A store with nothing but an outbox, in memory.
#[derive(Default)]
struct OutboxAlone(Mutex<BTreeMap<OutboxKey, Outgoing>>);

impl OutboxAlone {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<OutboxKey, Outgoing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store<OrderSaga> for OutboxAlone {
    async fn load(&self, orders: &[OrderId]) -> Result<Vec<Loaded<OrderSaga>>, StoreError> {
        NullStore.load(orders).await
    }

    async fn commit(
        &self,
        steps: &[Step<OrderSaga>],
        sent: &[OutboxKey],
    ) -> Result<Vec<Verdict<OrderSaga>>, StoreError> {
        let mut rows = self.rows();
        sent.iter().for_each(|key| drop(rows.remove(key)));
        let mut committed = |step: &Step<OrderSaga>| {
            let outgoing: Vec<Outgoing> = step.outgoing().collect();
            rows.extend(outgoing.iter().map(|row| ((row.order, row.version, row.n), row.clone())));
            Verdict::Committed(Arc::clone(&step.next), outgoing)
        };
        Ok(steps.iter().map(&mut committed).collect())
    }

    async fn unsent(&self, after: Option<OutboxKey>, limit: u64) -> Result<Vec<Outgoing>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.rows();
        Ok(rows
            .range((from, Bound::Unbounded))
            .map(|(_, row)| row.clone())
            .take(usize::try_from(limit).unwrap_or(0))
            .collect())
    }

    async fn due(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, OrderId)>,
        limit: u64,
    ) -> Result<Vec<Overdue>, StoreError> {
        Store::<OrderSaga>::due(&NullStore, now, after, limit).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        let rows = self.rows();
        let oldest_unsent = rows.values().map(|row| row.at).min();
        Ok(Backlog { unsent: rows.len() as u64, oldest_unsent, ..Backlog::default() })
    }
}

/// A log that takes nothing before so many records wait for it, as one that was away.
struct LateLog {
    waiting: watch::Sender<usize>,
    keys: Mutex<Vec<Option<Vec<u8>>>>,
}

/// What the publisher holds at a time.
const HELD: usize = 20_000;

#[async_trait]
impl EventLog for LateLog {
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<(), LogError>> {
        self.waiting.send_modify(|waiting| *waiting += records.len());
        let back = self.waiting.subscribe().wait_for(|waiting| *waiting >= HELD).await.is_ok();
        assert!(back, "this log is its own sender");
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.extend(records.iter().map(|record| record.key.clone()));
        records.iter().map(|_| Ok(())).collect()
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Subscription, LogError> {
        FixedLog::default().subscribe(group, topics).await
    }

    fn partition_of(&self, _: &[u8]) -> Option<i32> {
        Some(0)
    }
}

/// A log that was away for long finds more rows than the publisher holds at a time, twice over. They are all published,
/// each once, and so is what comes after.
#[tokio::test]
async fn a_backlog_that_is_more_than_the_publisher_holds_is_published() -> Result<()> {
    let row = |n: u64| Outgoing {
        order: OrderId(Uuid::from_u64_pair(7, n)),
        version: 1,
        n: 0,
        event_type: EventType::OrderCreated,
        event_id: Uuid::from_u64_pair(8, n),
        value: b"{}".to_vec(),
        correlation_id: String::new(),
        traceparent: None,
        at: Timestamp(0),
    };
    let rows = (0..45_000).map(row).map(|row| ((row.order, row.version, row.n), row));
    let store = Arc::new(OutboxAlone(Mutex::new(rows.collect())));
    let log = Arc::new(LateLog { waiting: watch::Sender::new(0), keys: Mutex::default() });
    let rig = Rig::without_consumer(OrderSaga::default(), Arc::clone(&store) as _, Arc::clone(&log) as _).await?;
    rig.until("drained", || store.rows().is_empty()).await?;
    rig.wiring.order(OrderId(Uuid::now_v7()), rig::placed()).await?;
    rig.until("drained of what came after", || store.rows().is_empty()).await?;
    let keys = log.keys.lock().unwrap_or_else(PoisonError::into_inner);
    let orders: HashSet<_> = keys.iter().collect();
    assert_eq!((keys.len(), orders.len()), (45_001, 45_001), "each once");
    Ok(())
}

/// A log far away, half of which cannot be written: who waits for that half waits for ever.
struct HalfAway;

impl HalfAway {
    fn is_away(key: &[u8]) -> bool {
        key.last().is_some_and(|byte| byte % 2 == 1)
    }
}

#[async_trait]
impl EventLog for HalfAway {
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<(), LogError>> {
        if records.iter().any(|record| record.key.as_deref().is_some_and(HalfAway::is_away)) {
            pending::<()>().await;
        }
        records.iter().map(|_| Ok(())).collect()
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Subscription, LogError> {
        FixedLog::default().subscribe(group, topics).await
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn partition_of(&self, key: &[u8]) -> Option<i32> {
        Some(i32::from(HalfAway::is_away(key)))
    }
}

/// A partition without a leader holds up its own orders, and nobody else's; nor is all of the log away for that, which
/// would excuse every deadline.
#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_written_holds_up_no_other() -> Result<()> {
    let store = Arc::new(OutboxAlone::default());
    let rig = Rig::without_consumer(OrderSaga::default(), Arc::clone(&store) as _, Arc::new(HalfAway)).await?;
    rig.wiring.ownership.set([0, 1].into());
    let orders: Vec<_> = (0..100).map(|n| OrderId(Uuid::from_u64_pair(7, n))).collect();
    let placed = join_all(orders.iter().map(|order| rig.wiring.order(*order, rig::placed()))).await;
    assert!(placed.iter().all(|outcome| matches!(outcome, Ok(Outcome::Applied(_)))), "{placed:?}");
    rig.until("rid of all that can be sent", || store.rows().len() == 50).await?;
    let left = store.rows().keys().all(|(order, ..)| HalfAway::is_away(order.to_string().as_bytes()));
    assert!(left, "{:?}", store.rows().keys());

    store.rows().values_mut().for_each(|row| row.at = Timestamp(0));
    let was_away = || rig.wiring.load.log_was_away_at(SystemClock.now());
    for n in 0..20 {
        rig.wiring.order(OrderId(Uuid::from_u64_pair(8, 2 * n)), rig::placed()).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(was_away(), None, "the other half takes what it is given");
    }
    rig.until("away, with nothing taken any more", || was_away().is_some()).await
}

/// Two steps of one order in one batch, as they are when its actor was killed while the first one waited: one wins.
#[tokio::test]
async fn of_two_steps_of_one_order_one_wins() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = rig::store::<OrderSaga, OrderMigrator>(directory.path()).await?;
    let (order, at) = (OrderId(Uuid::now_v7()), Timestamp(1));
    let step = || {
        let step = Step::decide(&OrderSaga::default(), &Instance::unknown(order), &rig::placed(), at);
        step.map_err(|unmoved| anyhow::Error::msg(format!("{unmoved:?}")))
    };
    let (first, second) = (step()?, step()?);
    let verdicts = store.commit(&[first.clone(), second], &[]).await?;
    assert!(matches!(verdicts[..], [Verdict::Committed(..), Verdict::Conflict]), "{verdicts:?}");
    let stored = store.load(&[order]).await?;
    let applied: Vec<_> = stored.iter().map(|loaded| &loaded.instance.applied).collect();
    assert_eq!(applied, [&first.next.applied], "{}", OrderSaga::SERVICE);
    Ok(())
}
