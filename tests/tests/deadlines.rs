//! Row 35 of docs/reliability.md: a deadline counts only once everything that was on the log then has been read, in the
//! partitions that are the replica's now (what it had read of others says nothing), and while the log was there at all.

use anyhow::{Result, bail};
use async_trait::async_trait;
use contracts::OrderId;
use e2e::rig::{self, FaultyLog, FixedLog, NullStore, Rig, silent};
use migrations::OrderMigrator;
use order_service::saga::{OrderSaga, Stage};
use runtime::actors::consumer::ConsumerMessage;
use runtime::actors::order::{CaughtUp, Wake, Woken};
use runtime::actors::outside::Nowhere;
use runtime::actors::roster::State;
use runtime::actors::router::RouterMessage;
use runtime::clock::{Clock, SystemClock};
use runtime::event_log::{Extent, LogError, Membership, Partition, Subscription};
use runtime::health::Part;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

/// An order whose deadline has passed as soon as it is there.
async fn overdue(directory: &Path) -> Result<(Rig<OrderSaga>, OrderId)> {
    let log = rig::log(directory).await?;
    let store = Arc::new(rig::store::<OrderSaga, OrderMigrator>(directory).await?);
    let saga = OrderSaga { payment_deadline: Some(0), inventory_deadline: None };
    let rig = Rig::without_consumer(saga, store, log).await?;
    let order = OrderId(Uuid::now_v7());
    rig.wiring.order(order, rig::placed()).await?;
    Ok((rig, order))
}

#[tokio::test]
async fn what_was_read_before_a_rebalance_does_not_count() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (rig, order) = overdue(directory.path()).await?;

    let read = CaughtUp { at: SystemClock.now(), generation: rig.wiring.ownership.generation() };
    rig.wiring.ownership.set([0].into());
    let again = CaughtUp { generation: rig.wiring.ownership.generation(), ..read };
    for (caught_up, woken, stage) in [
        (None, Woken::AwaitsLog, Stage::AwaitingPayment),
        (Some(read), Woken::AwaitsLog, Stage::AwaitingPayment),
        (Some(again), Woken::Done, Stage::Failed),
    ] {
        let wake = Wake { caught_up, unsent: false };
        assert_eq!(
            rig.wiring.router.call(|reply| RouterMessage::Wake(order, wake, reply)).await?,
            woken,
            "{caught_up:?}"
        );
        assert_eq!(rig.load(order).await?.map(|state| state.stage), Some(stage), "{caught_up:?}");
    }
    rig.stop().await
}

#[tokio::test]
async fn an_order_that_waited_while_the_log_was_away_gets_its_time_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (rig, order) = overdue(directory.path()).await?;
    let deadline = async || anyhow::Ok(rig.load(order).await?.and_then(|state| state.deadline));
    let wake =
        || rig.wiring.router.call(|reply| RouterMessage::Wake(order, Wake { caught_up: None, unsent: false }, reply));
    let first = deadline().await?;

    rig.wiring.load.note_log_away(SystemClock.now());
    wake().await?;
    let second = deadline().await?;
    assert!(second > first, "{second:?} is not later than {first:?}");

    // Once, not again and again.
    wake().await?;
    assert_eq!(deadline().await?, second);
    rig.stop().await
}

/// A consumer that was killed leaves what it owned and how far it had read to nobody: the next one has read nothing until
/// the group gives it partitions.
#[tokio::test]
async fn a_consumer_that_starts_anew_has_read_nothing() -> Result<()> {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let (kept, is_first) = (Arc::clone(&ends), AtomicBool::new(true));
    let subscribed = move |subscription| {
        if is_first.swap(false, Ordering::SeqCst) {
            return subscription;
        }
        // The group takes its time.
        let (end, subscription) = silent(subscription);
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(end);
        subscription
    };
    let log = FaultyLog {
        log: Arc::new(FixedLog::default()),
        refuses: Box::new(|_| false),
        subscribed: Box::new(subscribed),
    };
    let rig = Rig::<OrderSaga>::start(Arc::new(NullStore), Arc::new(log), Arc::new(Nowhere)).await?;
    let order = OrderId(Uuid::now_v7());
    assert!(rig.wiring.owns(order));

    let consumer = rig.wiring.roster.report().into_iter().find(|part| part.kind == "consumer").map(|part| part.state);
    let Some(State::Running(consumer)) = consumer else { bail!("the consumer is {consumer:?}") };
    consumer.kill();
    rig.until("joining", || !ends.lock().unwrap_or_else(PoisonError::into_inner).is_empty()).await?;
    assert!(!rig.wiring.owns(order) && !rig.is_well(Part::EventLog), "{:?}", rig.wiring.health.report());
    for _ in 0..100 {
        let (read, mut partitions) = unbounded_channel();
        rig.wiring.consumer.cast(ConsumerMessage::CatchUp(read))?;
        assert_eq!(partitions.recv().await, None, "there is nothing it has read");
    }
    rig.stop().await
}

/// A member of a group that has read four records of each partition, of which one goes as far as is said here; with the member
/// that keeps the subscription open.
struct Halfway(#[expect(dead_code, reason = "it is held")] Arc<dyn Membership>, Arc<AtomicI64>);

#[async_trait]
impl Membership for Halfway {
    fn store(&self, _: &Partition, _: i64) {}

    async fn extents(&self) -> Result<Vec<Extent>, LogError> {
        let extent = |topic: &str, partition, end| Extent {
            partition: Partition { topic: topic.to_owned(), partition },
            stored: 4,
            end,
        };
        Ok(vec![
            extent("payment.failed", 0, 4),
            extent("payment.failed", 1, 4),
            extent("inventory.failed", 0, 4),
            extent("inventory.failed", 1, self.1.load(Ordering::SeqCst)),
        ])
    }

    async fn leave(&self) {}
}

/// A partition that stands still holds up the deadlines of its own orders alone; but one that may still be read holds up all,
/// since it may have the event that an order of another number waits for.
#[tokio::test(start_paused = true)]
async fn each_partition_catches_up_by_itself() -> Result<()> {
    let end = Arc::new(AtomicI64::new(4));
    let ends = Arc::clone(&end);
    let log = FaultyLog {
        log: Arc::new(FixedLog::default()),
        refuses: Box::new(|_| false),
        subscribed: Box::new(move |subscription| Subscription {
            membership: Arc::new(Halfway(subscription.membership, Arc::clone(&ends))),
            ..subscription
        }),
    };
    let rig = Rig::<OrderSaga>::start(Arc::new(NullStore), Arc::new(log), Arc::new(Nowhere)).await?;
    let ask = || {
        let (read, partitions) = unbounded_channel();
        rig.wiring.consumer.cast(ConsumerMessage::CatchUp(read)).map(|()| partitions)
    };
    let mut all = ask()?;
    assert_eq!((all.recv().await, all.recv().await, all.recv().await), (Some(0), Some(1), None));

    // Long after that a record comes that nobody is given.
    tokio::time::sleep(Duration::from_secs(60)).await;
    end.store(5, Ordering::SeqCst);
    for patience in [Duration::from_secs(5), Duration::ZERO] {
        let (asked, mut partitions) = (Instant::now(), ask()?);
        assert_eq!(partitions.recv().await, Some(0));
        let waited = asked.elapsed();
        assert!(waited >= patience && waited < patience + Duration::from_secs(2), "{waited:?}, not {patience:?}");
        assert_eq!(partitions.try_recv(), Err(TryRecvError::Empty), "the other one is not read, and not given up");
    }
    rig.stop().await
}

/// While its rows wait in the outbox an order gets its time again, and if that is shorter than a commit, it is over again by
/// then. It is for the next look to see to that.
#[tokio::test]
async fn a_deadline_shorter_than_a_commit_is_moved_once_a_look() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (rig, order) = overdue(directory.path()).await?;
    let version = async || {
        let loaded = rig.wiring.store.load(&[order]).await?.pop();
        anyhow::Ok(loaded.map(|loaded| loaded.instance.version))
    };
    for moves in 1..=3 {
        let wake = Wake { caught_up: None, unsent: true };
        rig.wiring.router.call(|reply| RouterMessage::Wake(order, wake, reply)).await?;
        assert_eq!(version().await?, Some(1 + moves));
    }
    rig.stop().await
}
