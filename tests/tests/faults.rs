//! Faults that need nothing running, each by its number in docs/reliability.md.

use anyhow::{Context, Result};
use async_trait::async_trait;
use contracts::{EventType, OrderId, Payload};
use e2e::rig::{self, FaultyLog, FaultyStore, FixedLog, NullStore, Rig, append, foreign, order_created, silent};
use e2e::topics::read_all;
use migrations::{OrderMigrator, PaymentMigrator};
use order_service::saga::OrderSaga;
use payment_service::provider::{Charge, NoOutcome, PaymentProvider, Provided, Refund, Transfer};
use payment_service::saga::{Concern, PaymentSaga, Stage};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use runtime::actors::mailbox::Meter;
use runtime::actors::outside::Nowhere;
use runtime::actors::supervisor::{Child, Supervisor, Tree};
use runtime::clock::SystemClock;
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::{Change, EventLog, NewRecord, Subscription};
use runtime::health::{Health, Part};
use sea_orm::ConnectionTrait;
use sea_orm_migration::{MigrationName, MigrationTrait, MigratorTrait, SchemaManager, sea_orm};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;

/// A provider that counts, and panics the first time, if it is set so.
#[derive(Default)]
struct Provider {
    panics: AtomicBool,
    charges: AtomicU32,
    refunds: AtomicU32,
}

#[async_trait]
impl PaymentProvider for Provider {
    async fn charge(&self, _: &Transfer) -> Result<Charge, NoOutcome> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "the provider's adapter panics once");
        self.charges.fetch_add(1, Ordering::SeqCst);
        Ok(Charge::Charged)
    }

    async fn refund(&self, _: &Transfer) -> Result<Refund, NoOutcome> {
        self.refunds.fetch_add(1, Ordering::SeqCst);
        Ok(Refund::Refunded)
    }
}

async fn payment_rig(directory: &TempDir, log: Arc<dyn EventLog>, provider: Arc<Provider>) -> Result<Rig<PaymentSaga>> {
    let store = Arc::new(rig::store::<PaymentSaga, PaymentMigrator>(directory.path()).await?);
    Rig::start(store, log, Arc::new(provided(provider))).await
}

fn provided(adapter: Arc<Provider>) -> Provided {
    let provider = payment_service::provider::Provider { adapter, time_limit: Duration::from_secs(5) };
    Provided::new(provider, Arc::new(SystemClock), Arc::new(Health::starting("test", false)))
}

fn order_of(payload: &Payload) -> OrderId {
    payload.order_id()
}

async fn stage(rig: &Rig<PaymentSaga>, order: OrderId) -> Result<Stage> {
    Ok(rig.load(order).await?.context("a payment")?.stage)
}

struct HalfDone;

impl MigrationName for HalfDone {
    fn name(&self) -> &'static str {
        "m20300101_000001_half_done"
    }
}

#[async_trait]
impl MigrationTrait for HalfDone {
    async fn up(&self, manager: &SchemaManager) -> Result<(), sea_orm::DbErr> {
        manager.get_connection().execute_unprepared("CREATE TABLE half (id bigint)").await?;
        Err(sea_orm::DbErr::Custom("the process ends here".into()))
    }
}

struct Interrupted;

impl MigratorTrait for Interrupted {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        OrderMigrator::migrations().into_iter().chain([Box::new(HalfDone) as Box<dyn MigrationTrait>]).collect()
    }
}

/// Row 7. A migration that is interrupted leaves no half schema, and the next start completes it.
#[tokio::test]
async fn row_07_an_interrupted_migration_leaves_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let database = Database::open(&DatabaseSettings::Sqlite(directory.path().join("order.sqlite"))).await?;
    assert!(database.migrate::<Interrupted>().await.is_err());
    let tables = "SELECT name FROM sqlite_master WHERE name IN ('orders', 'outbox', 'half')";
    let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, tables);
    assert!(database.read.query_all_raw(statement).await?.is_empty(), "half a schema");
    database.migrate::<OrderMigrator>().await?;
    database.migrate::<OrderMigrator>().await?;
    Ok(())
}

/// Row 10. A handler panics with a hundred messages behind it: all are handled, other orders are not affected.
#[tokio::test]
async fn row_10_a_panic_loses_no_message() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = rig::log(directory.path()).await?;
    let (victim, other) = (order_created("5"), order_created("7"));
    let mut records = vec![foreign(&victim, 0)];
    records.extend((1..=100).map(|salt| foreign(&victim, salt)));
    records.push(foreign(&other, 0));
    append(log.as_ref(), records).await?;
    let provider = Arc::new(Provider { panics: AtomicBool::new(true), ..Provider::default() });
    let rig = payment_rig(&directory, Arc::clone(&log) as _, Arc::clone(&provider)).await?;
    rig.caught_up().await?;
    for order in [order_of(&victim), order_of(&other)] {
        while stage(&rig, order).await? != Stage::Confirmed {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(provider.charges.load(Ordering::SeqCst), 2, "one charge for each order");
    rig.stop().await?;
    let letters = read_all(log.as_ref(), &["order.created.dlt".to_owned()]).await?;
    assert!(letters.is_empty(), "{letters:?}");
    Ok(())
}

/// A part that fails to start so many times.
struct Stubborn(Arc<AtomicU32>);

#[async_trait]
impl Actor for Stubborn {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        let left = self.0.load(Ordering::SeqCst);
        self.0.store(left.saturating_sub(1), Ordering::SeqCst);
        if left > 0 { Err("it does not start".into()) } else { Ok(()) }
    }
}

async fn supervise(
    failures: u32,
) -> Result<(Arc<Health>, ActorRef<runtime::actors::supervisor::SupervisorMessage>, tokio::task::JoinHandle<()>)> {
    let left = Arc::new(AtomicU32::new(failures));
    let health = Arc::new(Health::starting("test", true));
    let meter = Meter::of("test", "stubborn");
    let children = vec![Child::new(&meter, move || Stubborn(Arc::clone(&left)), |_| {})];
    let tree = Tree { service: "test", children, health: Arc::clone(&health), roster: Arc::default() };
    let (supervisor, ended) = Supervisor::spawn(None, Supervisor, tree).await?;
    Ok((health, supervisor, ended))
}

/// Row 11. A part that fails to start five times is started in the end; one that never does ends the service.
#[tokio::test(start_paused = true)]
async fn row_11_a_part_that_does_not_start_is_tried_and_then_given_up() -> Result<()> {
    let (health, supervisor, ended) = supervise(5).await?;
    while !health.is_well(Part::Actors) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    supervisor.stop(None);
    ended.await?;

    let (health, _, ended) = supervise(u32::MAX).await?;
    ended.await?;
    let why = health.report().remove(&Part::Actors).context("a report")?;
    assert!(why.is_err_and(|why| why.contains("it does not start")));
    Ok(())
}

/// Row 12. A handler that never returns is seen within 30 s, and the service says that it is not ready.
#[tokio::test(start_paused = true)]
async fn row_12_a_handler_that_never_returns_is_seen() -> Result<()> {
    let log = FixedLog(vec![foreign(&order_created("5"), 0)]);
    let provider = Arc::new(provided(Arc::default()));
    let store = FaultyStore { store: NullStore, told: Box::new(|| Box::pin(std::future::pending())) };
    let rig = Rig::<PaymentSaga>::start(Arc::new(store), Arc::new(log), provider).await?;
    let started = tokio::time::Instant::now();
    rig.until("unready", || !rig.wiring.health.is_ready()).await?;
    assert!(started.elapsed() <= std::time::Duration::from_secs(30), "seen after {:?}", started.elapsed());
    let why = rig.wiring.health.report().remove(&Part::Progress).context("a report")?;
    assert!(why.is_err_and(|why| why.contains("order.created partition 0")));
    Ok(())
}

/// Row 17. A client with a fatal error is rebuilt, and the new one reads on.
#[tokio::test]
async fn row_17_a_fatal_client_error_rebuilds_the_client() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = rig::log(directory.path()).await?;
    let first = Mutex::new(None);
    let broken = Arc::new(Mutex::new(None));
    let given = Arc::clone(&broken);
    let subscribed = move |subscription: Subscription| {
        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_some() {
            return subscription;
        }
        *first = Some(());
        let (deliveries, silent) = silent(subscription);
        deliveries.change(Change::Assigned(Vec::new()));
        *given.lock().unwrap_or_else(PoisonError::into_inner) = Some(deliveries);
        silent
    };
    let faulty = FaultyLog { log: Arc::clone(&log), refuses: Box::new(|_| false), subscribed: Box::new(subscribed) };
    let rig = payment_rig(&directory, Arc::new(faulty), Arc::default()).await?;
    let order = order_created("5");
    append(log.as_ref(), vec![foreign(&order, 0)]).await?;
    assert!(rig.load(order_of(&order)).await?.is_none(), "the first client reads nothing");
    let client = broken.lock().unwrap_or_else(PoisonError::into_inner).take().context("a client")?;
    client.change(Change::Broken("fatal: the instance was fenced".into()));
    while rig.load(order_of(&order)).await?.is_none() {
        tokio::task::yield_now().await;
    }
    rig.until("ready again", || rig.wiring.health.is_ready()).await?;
    rig.stop().await
}

/// What can't be parsed, and what comes of it.
fn unreadable(good: &NewRecord) -> Vec<(&'static str, NewRecord)> {
    let text = String::from_utf8(good.value.clone().unwrap_or_default()).unwrap_or_default();
    let with = |value: Vec<u8>| NewRecord { value: Some(value), ..good.clone() };
    vec![
        ("tombstone", NewRecord { value: None, ..good.clone() }),
        ("empty", with(Vec::new())),
        ("900 KB of nothing", with(vec![b'x'; 900_000])),
        ("bad UTF-8", with(vec![0xff, 0xfe, 0x00])),
        ("truncated", with(text.as_bytes()[..text.len() / 2].to_vec())),
        ("wrong types", with(text.replace("\"cust-9\"", "17").into_bytes())),
        ("depth 10,000", with("[".repeat(10_000).into_bytes())),
        ("missing field", with(text.replace("customerId", "customer").into_bytes())),
        ("unknown major version", with(text.replace("\"1.0\"", "\"2.0\"").into_bytes())),
        ("key of another order", NewRecord { key: Some(Uuid::nil().to_string().into_bytes()), ..good.clone() }),
        ("no key", NewRecord { key: None, ..good.clone() }),
    ]
}

/// Rows 21 and 22. What can't be parsed is a dead letter at once, with its reason; what is only new is read or ignored.
#[tokio::test]
async fn row_21_what_cannot_be_read_is_a_dead_letter_and_others_flow() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = rig::log(directory.path()).await?;
    let bad = unreadable(&foreign(&order_created("5"), 0));
    let newer: Vec<(OrderId, NewRecord)> = ["\"1.7\"", "\"1.0\",\"extra\":{\"a\":[1]}"]
        .into_iter()
        .map(|version| {
            let order = order_created("5");
            let record = foreign(&order, 0);
            let text = String::from_utf8(record.value.clone().unwrap_or_default()).unwrap_or_default();
            (order_of(&order), NewRecord { value: Some(text.replace("\"1.0\"", version).into_bytes()), ..record })
        })
        .collect();
    let unknown_type = foreign(&order_created("5"), 0);
    let text =
        String::from_utf8(unknown_type.value.clone().unwrap_or_default())?.replace("OrderCreated", "OrderShipped");
    let unknown_type = NewRecord { value: Some(text.into_bytes()), ..unknown_type };
    let records = bad.iter().map(|(_, record)| record.clone());
    append(log.as_ref(), records.chain([unknown_type]).chain(newer.iter().map(|(_, r)| r.clone())).collect()).await?;

    let rig = payment_rig(&directory, Arc::clone(&log) as _, Arc::default()).await?;
    rig.caught_up().await?;
    for (order, _) in &newer {
        assert!(rig.load(*order).await?.is_some(), "a newer minor version and unknown fields are read");
    }
    rig.stop().await?;
    let letters = read_all(log.as_ref(), &["order.created.dlt".to_owned()]).await?;
    assert_eq!(letters.len(), bad.len());
    // Several are written at a time; which one came from where is in their headers.
    for (offset, (what, record)) in bad.iter().enumerate() {
        let offset = offset.to_string();
        let letter = letters.iter().find(|letter| letter.header("dlt-original-offset") == Some(&offset));
        let letter = letter.with_context(|| format!("no dead letter of {what}"))?;
        assert_eq!((&letter.key, &letter.value), (&record.key, &record.value), "{what}");
        assert_eq!(letter.header("dlt-consumer-group"), Some("payment-service"));
        assert!(letter.header("dlt-error").is_some_and(|error| !error.is_empty() && error.len() <= 1024), "{what}");
    }
    Ok(())
}

/// Row 23. While the dead-letter topic can't be written, the partition waits; nothing is skipped.
#[tokio::test]
async fn row_23_the_partition_waits_for_its_dead_letter() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = rig::log(directory.path()).await?;
    let refusing = Arc::new(AtomicBool::new(true));
    let refused = Arc::new(AtomicU32::new(0));
    let (refuses, count) = (Arc::clone(&refusing), Arc::clone(&refused));
    let refuses = move |record: &NewRecord| {
        let refuses = refuses.load(Ordering::SeqCst) && record.topic.ends_with(".dlt");
        count.fetch_add(u32::from(refuses), Ordering::SeqCst);
        refuses
    };
    let faulty = FaultyLog { log: Arc::clone(&log), refuses: Box::new(refuses), subscribed: Box::new(|s| s) };
    let rig = payment_rig(&directory, Arc::new(faulty), Arc::default()).await?;
    let good = order_created("5");
    let bad = NewRecord { value: Some(b"hello".to_vec()), ..foreign(&good, 0) };
    append(log.as_ref(), vec![bad, foreign(&good, 0)]).await?;
    rig.until("refused three times", || refused.load(Ordering::SeqCst) >= 3).await?;
    // Another member of the group would begin before the bad message.
    let group = log.subscribe(runtime_service(), &["order.created".to_owned()]).await?;
    let stored: Vec<i64> = group.membership.extents().await?.iter().map(|extent| extent.stored).collect();
    assert_eq!(stored, [0], "the offset passed a message without its dead letter");
    refusing.store(false, Ordering::SeqCst);
    rig.caught_up().await?;
    rig.stop().await?;
    assert_eq!(read_all(log.as_ref(), &["order.created.dlt".to_owned()]).await?.len(), 1);
    Ok(())
}

fn runtime_service() -> &'static str {
    use runtime::saga::Saga;
    PaymentSaga::SERVICE
}

fn refund(order: OrderId, change: impl Fn(&mut Value)) -> Payload {
    let mut request = json!({
        "refundId": "refund-1",
        "paymentId": contracts::PaymentId::of(order),
        "orderId": order,
        "amount": 5,
        "currency": "USD",
        "reason": "not enough stock",
    });
    change(&mut request);
    Payload::PaymentRefundRequested(serde_json::from_value(request).expect("a refund request"))
}

/// Row 24. A refund of something else than was charged is refused and recorded; a negative amount is never charged.
#[tokio::test]
async fn row_24_wrong_refunds_and_amounts_move_no_money() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = rig::log(directory.path()).await?;
    let provider = Arc::new(Provider::default());
    let rig = payment_rig(&directory, Arc::clone(&log) as _, Arc::clone(&provider)).await?;
    let wrong: [fn(&mut Value); 3] = [
        |request| request["amount"] = json!(6),
        |request| request["currency"] = json!("EUR"),
        |request| request["paymentId"] = json!("another"),
    ];
    let orders: Vec<Payload> = wrong.iter().map(|_| order_created("5")).collect();
    for (order, change) in orders.iter().zip(wrong) {
        append(log.as_ref(), vec![foreign(order, 0), foreign(&refund(order_of(order), change), 0)]).await?;
    }
    let negative = order_created("-5");
    append(log.as_ref(), vec![foreign(&negative, 0)]).await?;
    rig.caught_up().await?;
    for order in &orders {
        while stage(&rig, order_of(order)).await? != Stage::Confirmed {
            tokio::task::yield_now().await;
        }
        let payment = rig.load(order_of(order)).await?.context("a payment")?;
        assert!(payment.attention.contains_key(&Concern::RequestRefused), "{payment:?}");
    }
    assert_eq!(stage(&rig, order_of(&negative)).await?, Stage::Failed);
    assert_eq!(provider.charges.load(Ordering::SeqCst), 3);
    assert_eq!(provider.refunds.load(Ordering::SeqCst), 0);
    rig.stop().await
}

/// Row 24. An event of an order that order-service does not know is a dead letter.
#[tokio::test]
async fn row_24_an_event_of_an_unknown_order_is_a_dead_letter() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = rig::log(directory.path()).await?;
    let store = Arc::new(rig::store::<OrderSaga, OrderMigrator>(directory.path()).await?);
    let rig = Rig::start(store, Arc::clone(&log) as _, Arc::new(Nowhere)).await?;
    let order = OrderId(Uuid::now_v7());
    append(log.as_ref(), vec![foreign(&refund(order, |_| {}), 0)]).await?;
    rig.caught_up().await?;
    assert!(rig.load(order).await?.is_none());
    rig.stop().await?;
    let topic = format!("{}.dlt", EventType::PaymentRefundRequested.topic());
    let letters = read_all(log.as_ref(), &[topic]).await?;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].header("dlt-error"), Some("the order is not known here"));
    Ok(())
}

/// Row 26. A database that is busy for longer than it waits by itself is waited for; no message is given up.
#[tokio::test]
async fn row_26_a_busy_database_is_waited_for() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = rig::log(directory.path()).await?;
    let rig = payment_rig(&directory, Arc::clone(&log) as _, Arc::default()).await?;
    let file = directory.path().join("payment-service.sqlite");
    let other = Database::open(&DatabaseSettings::Sqlite(file)).await?;
    let lock = other.begin().await?;
    let order = order_created("5");
    append(log.as_ref(), vec![foreign(&order, 0)]).await?;
    rig.until("unready", || !rig.is_well(Part::Database)).await?;
    lock.rollback().await?;
    rig.caught_up().await?;
    assert!(rig.load(order_of(&order)).await?.is_some());
    rig.until("ready again", || rig.wiring.health.is_ready()).await?;
    rig.stop().await?;
    assert!(read_all(log.as_ref(), &["order.created.dlt".to_owned()]).await?.is_empty());
    Ok(())
}
