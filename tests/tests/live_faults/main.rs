//! Faults that only a real PostgreSQL or Kafka shows, or only a release build in bearable time, each by its number in
//! docs/reliability.md. tests/stack/run.sh starts the servers:
//!
//! ```text
//! cargo build --release --workspace --features e2e/live
//! tests/stack/run.sh cargo test -p e2e --release --features live --test live_faults
//! ```

mod kafka;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use contracts::{OrderId, Payload};
use e2e::api::{Api, Service, order_of};
use e2e::programs::{Programs, Stack};
use e2e::proxy::{self, Behaviour, Cut};
use e2e::rig::{self, FixedLog, NullStore, Rig, append, foreign, order_created};
use e2e::topics::read_all;
use migrations::{OrderMigrator, PaymentMigrator};
use order_service::saga::{Details, Input, OrderSaga};
use payment_service::saga::{PaymentSaga, Stage};
use runtime::actors::order::Outcome;
use runtime::actors::outside::Nowhere;
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::EventLog;
use runtime::health::Part;
use runtime::saga::{Caused, Origin};
use runtime::store::sql::SqlStore;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::{MigrationName, MigrationTrait, MigratorTrait, SchemaManager, sea_orm};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinSet;
use uuid::Uuid;

/// An empty database of its own on the stack's PostgreSQL, through a proxy, and a connection beside the proxy.
struct Server {
    through_proxy: Database,
    beside: Database,
    behaviour: Arc<Behaviour>,
    name: String,
}

impl Server {
    async fn start<M: MigratorTrait>(name: &str) -> Result<Self> {
        let stack = Stack::from_environment()?;
        let admin = Database::open(&DatabaseSettings::Postgres(format!("{}/postgres", stack.postgres))).await?;
        admin.read.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
        admin.read.execute_unprepared(&format!("CREATE DATABASE {name}")).await?;
        let behaviour = Arc::new(Behaviour::default());
        let (user, server) = stack.postgres.rsplit_once('@').context("postgres://user@host:port")?;
        let address = proxy::start(server.to_owned(), Arc::clone(&behaviour)).await?;
        let beside = Database::open(&DatabaseSettings::Postgres(format!("{}/{name}", stack.postgres))).await?;
        beside.migrate::<M>().await?;
        let through_proxy = Database::open(&DatabaseSettings::Postgres(format!("{user}@{address}/{name}"))).await?;
        Ok(Server { through_proxy, beside, behaviour, name: name.to_owned() })
    }

    async fn ask(&self, question: &str) -> Result<i64> {
        let row = self.beside.read.query_one_raw(Statement::from_string(DbBackend::Postgres, question)).await?;
        Ok(row.context("no row")?.try_get_by_index(0)?)
    }

    async fn say(&self, statement: &str) -> Result<()> {
        self.beside.read.execute_unprepared(statement).await?;
        Ok(())
    }

    /// Connections of this database that hold a transaction open and do nothing.
    async fn idle_in_transaction(&self) -> Result<i64> {
        let name = &self.name;
        self.ask(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND state LIKE 'idle in transaction%' \
             AND state_change < clock_timestamp() - interval '2 seconds'"
        ))
        .await
    }
}

async fn payments(server: &Server, directory: &TempDir) -> Result<(Rig<PaymentSaga>, Arc<dyn EventLog>)> {
    let log = rig::log(directory.path()).await?;
    let store = Arc::new(SqlStore::new(PaymentSaga, server.through_proxy.clone()));
    let rig = Rig::start(store, Arc::clone(&log) as _, rig::stub_provider()).await?;
    Ok((rig, log))
}

/// Row 26. What PostgreSQL takes back (deadlocks, serialization, shutdowns, a cancelled wait) or does not let us do for a
/// while (a right, a table) is tried again, within nobody's budget: no dead letter.
#[tokio::test(flavor = "multi_thread")]
async fn row_26_what_the_database_takes_back_is_tried_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = Server::start::<PaymentMigrator>("row26").await?;
    server
        .say(
            "CREATE SEQUENCE attempts;
             CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
               CASE nextval('attempts')
                 WHEN 1 THEN RAISE 'deadlock' USING ERRCODE = '40P01';
                 WHEN 2 THEN RAISE 'serialization' USING ERRCODE = '40001';
                 WHEN 3 THEN RAISE 'too many connections' USING ERRCODE = '53300';
                 WHEN 4 THEN RAISE 'disk full' USING ERRCODE = '53100';
                 WHEN 5 THEN RAISE 'shutdown' USING ERRCODE = '57P01';
                 WHEN 6 THEN PERFORM pg_cancel_backend(pg_backend_pid());
                 WHEN 7 THEN RAISE 'no right' USING ERRCODE = '42501';
                 WHEN 8 THEN RAISE 'no table' USING ERRCODE = '42P01';
                 WHEN 9 THEN RAISE 'a fault of the server' USING ERRCODE = 'XX000';
                 WHEN 10 THEN PERFORM pg_terminate_backend(pg_backend_pid());
                 ELSE NULL;
               END CASE;
               RETURN NEW;
             END $$;
             CREATE TRIGGER fails BEFORE INSERT ON payments FOR EACH STATEMENT EXECUTE FUNCTION fail();",
        )
        .await?;
    let (rig, log) = payments(&server, &directory).await?;
    let order = order_created("5");
    append(log.as_ref(), vec![foreign(&order, 0)]).await?;
    rig.caught_up().await?;
    until_confirmed(&rig, &order).await?;
    ensure!(server.ask("SELECT last_value FROM attempts").await? >= 12, "ten attempts were to fail");
    rig.stop().await?;
    ensure!(read_all(log.as_ref(), &["order.created.dlt".to_owned()]).await?.is_empty());
    Ok(())
}

struct Timed;

impl MigrationName for Timed {
    fn name(&self) -> &'static str {
        "m20300101_000001_timed"
    }
}

#[async_trait]
impl MigrationTrait for Timed {
    async fn up(&self, manager: &SchemaManager) -> Result<(), sea_orm::DbErr> {
        let limits =
            "SELECT current_setting('statement_timeout') || current_setting('idle_in_transaction_session_timeout')";
        let row = manager.get_connection().query_one_raw(Statement::from_string(DbBackend::Postgres, limits)).await?;
        let limits: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose()?;
        (limits.as_deref() == Some("00")).then_some(()).ok_or(sea_orm::DbErr::Custom(format!("{limits:?}")))
    }
}

struct WithTimed;

impl MigratorTrait for WithTimed {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        PaymentMigrator::migrations().into_iter().chain([Box::new(Timed) as Box<dyn MigrationTrait>]).collect()
    }
}

/// Row 7. An index of a large table takes its time: nothing cuts a migration off. What comes after has its limits again.
#[tokio::test(flavor = "multi_thread")]
async fn row_07_nothing_cuts_a_migration_off() -> Result<()> {
    let server = Server::start::<PaymentMigrator>("row07").await?;
    server.through_proxy.migrate::<WithTimed>().await?;
    let limit = Statement::from_string(DbBackend::Postgres, "SHOW statement_timeout");
    let row = server.through_proxy.writer().query_one_raw(limit).await?.context("a row")?;
    ensure!(row.try_get_by_index::<String>(0)? == "10s");
    Ok(())
}

async fn until_confirmed(rig: &Rig<PaymentSaga>, order: &Payload) -> Result<()> {
    let order = order.order_id();
    while rig.load(order).await?.is_none_or(|payment| payment.stage != Stage::Confirmed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Row 27. A thousand requests that are given up while the database is slow leave no connection inside a transaction.
#[tokio::test(flavor = "multi_thread")]
async fn row_27_requests_that_are_given_up_leave_no_transaction_open() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let stack = Stack::from_environment()?;
    let server = Server::start::<OrderMigrator>("row27").await?;
    let mut programs = Programs::new(&stack, 18480, directory.path())?;
    let (user, host) = stack.postgres.rsplit_once('@').context("postgres://user@host:port")?;
    let address = proxy::start(host.to_owned(), Arc::clone(&server.behaviour)).await?;
    programs.settings.push(("DATABASE_URL".into(), format!("{user}@{address}/row27")));
    let mut program = programs.start(Service::Order, 0)?;
    let api = Api::new(programs.urls());
    api.until_ready(Service::Order).await?;
    server.behaviour.latency.store(200, Ordering::SeqCst);
    let mut requests = JoinSet::new();
    for i in 0..1_000_u64 {
        let api = api.clone();
        requests.spawn(async move {
            let order = order_of("P1", 1);
            // Dropping the request closes its connection.
            drop(tokio::time::timeout(Duration::from_millis(1 + i % 700), api.post_order(&order)).await);
        });
    }
    while requests.join_next().await.is_some() {}
    server.behaviour.latency.store(0, Ordering::SeqCst);
    api.until_ready(Service::Order).await?;
    api.place(&order_of("P1", 1)).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let idle = server.idle_in_transaction().await?;
    program.kill()?;
    program.wait()?;
    ensure!(idle == 0, "{idle} connections are idle in a transaction");
    Ok(())
}

/// Row 28. A connection that is cut at the commit (which is one statement, with its rows): the outcome is found out,
/// whichever it was, and nothing is doubled.
#[tokio::test(flavor = "multi_thread")]
async fn row_28_a_cut_at_commit_is_found_out() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = Server::start::<PaymentMigrator>("row28").await?;
    let (rig, log) = payments(&server, &directory).await?;
    let mut orders = Vec::new();
    for cut in [Cut::Before, Cut::After, Cut::Before, Cut::After, Cut::After, Cut::Before] {
        // The topic of the row of the outbox.
        server.behaviour.cut_at(b"payment.confirmed", cut);
        let order = order_created("5");
        append(log.as_ref(), vec![foreign(&order, 0)]).await?;
        rig.caught_up().await?;
        until_confirmed(&rig, &order).await?;
        orders.push(order.order_id());
    }
    ensure!(server.behaviour.cuts.load(Ordering::SeqCst) == 6, "every connection was to be cut");
    while server.ask("SELECT count(*) FROM outbox").await? > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.stop().await?;
    let confirmed = read_all(log.as_ref(), &["payment.confirmed".to_owned()]).await?;
    for order in orders {
        let key = order.to_string().into_bytes();
        let values: std::collections::BTreeSet<_> =
            confirmed.iter().filter(|record| record.key.as_ref() == Some(&key)).map(|r| r.value.clone()).collect();
        ensure!(values.len() == 1, "{} events for one confirmation of {order}", values.len());
    }
    Ok(())
}

/// Row 30. A long transaction with a low key in the outbox holds nothing up, and is not skipped when it ends.
#[tokio::test(flavor = "multi_thread")]
async fn row_30_a_late_commit_with_a_low_key_is_published() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = Server::start::<PaymentMigrator>("row30").await?;
    let (rig, log) = payments(&server, &directory).await?;
    let late = OrderId(Uuid::from_u128(1));
    let transaction = server.beside.begin().await?;
    let insert = format!(
        "INSERT INTO outbox (order_id, version, n, topic, event_type, value, correlation_id, traceparent, created_at) \
         VALUES ('{late}', 2, 0, 'payment.confirmed', 'PaymentConfirmed', '{{}}', '', '', 0)"
    );
    transaction.execute_unprepared(&insert).await?;
    let others: Vec<Payload> = (0..50).map(|_| order_created("5")).collect();
    append(log.as_ref(), others.iter().map(|order| foreign(order, 0)).collect()).await?;
    rig.caught_up().await?;
    for order in &others {
        until_confirmed(&rig, order).await?;
    }
    while server.ask("SELECT count(*) FROM outbox").await? > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    transaction.commit().await?;
    let key = Some(late.to_string().into_bytes());
    while !read_all(log.as_ref(), &["payment.confirmed".to_owned()]).await?.iter().any(|record| record.key == key) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.stop().await
}

/// Row 25, without HTTP: while the database is away the service is unready, and no message is given up.
#[tokio::test(flavor = "multi_thread")]
async fn row_25_a_database_that_is_away_makes_the_service_unready_and_nothing_a_dead_letter() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = Server::start::<PaymentMigrator>("row25").await?;
    let (rig, log) = payments(&server, &directory).await?;
    server.behaviour.away.store(true, Ordering::SeqCst);
    let order = order_created("5");
    append(log.as_ref(), vec![foreign(&order, 0)]).await?;
    rig.until("unready", || !rig.is_well(Part::Database)).await?;
    server.behaviour.away.store(false, Ordering::SeqCst);
    rig.caught_up().await?;
    until_confirmed(&rig, &order).await?;
    rig.until("ready again", || rig.wiring.health.is_ready()).await?;
    rig.stop().await?;
    ensure!(read_all(log.as_ref(), &["order.created.dlt".to_owned()]).await?.is_empty());
    Ok(())
}

/// A database that neither answers nor is gone: within five seconds the service is unready and says why, and when it
/// goes on all is well again.
#[tokio::test(flavor = "multi_thread")]
async fn row_25_a_frozen_database_is_noticed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = Server::start::<PaymentMigrator>("row25_frozen").await?;
    let (rig, log) = payments(&server, &directory).await?;
    server.behaviour.frozen.store(true, Ordering::SeqCst);
    let frozen_at = Instant::now();
    rig.until("unready", || !rig.is_well(Part::Database)).await?;
    ensure!(frozen_at.elapsed() <= Duration::from_secs(5), "noticed after {:?}", frozen_at.elapsed());
    let why = rig.wiring.health.report().remove(&Part::Database).context("a report")?;
    ensure!(why.as_ref().is_err_and(|why| why.starts_with("no answer")), "{why:?}");
    server.behaviour.frozen.store(false, Ordering::SeqCst);
    rig.until("ready again", || rig.wiring.health.is_ready()).await?;
    let order = order_created("6");
    append(log.as_ref(), vec![foreign(&order, 0)]).await?;
    rig.caught_up().await?;
    until_confirmed(&rig, &order).await?;
    rig.stop().await?;
    ensure!(read_all(log.as_ref(), &["order.created.dlt".to_owned()]).await?.is_empty());
    Ok(())
}

/// Resident memory of this process, in MiB.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).context("VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse::<u64>()? / 1024)
}

/// Row 13. A million orders pass through the actors; memory stays bounded, since idle ones leave.
#[tokio::test(flavor = "multi_thread")]
async fn row_13_a_million_orders_leave_memory() -> Result<()> {
    let rig = Rig::<OrderSaga>::start(Arc::new(NullStore), Arc::new(FixedLog::default()), Arc::new(Nowhere)).await?;
    let before = resident()?;
    let mut placing = JoinSet::new();
    for worker in 0..64 {
        let wiring = Arc::clone(&rig.wiring);
        placing.spawn(async move {
            for _ in (worker..1_000_000_u32).step_by(64) {
                let order = OrderId(Uuid::now_v7());
                let input = Input::Place(Arc::new(Details { customer_id: "c".into(), ..Details::default() }));
                let cause = Caused {
                    origin: Origin::Here,
                    id: Uuid::now_v7(),
                    correlation_id: String::new(),
                    traceparent: None,
                    input,
                    expected: None,
                };
                let outcome = wiring.order(order, cause).await?;
                ensure!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
            }
            Ok(())
        });
    }
    let mut most = before;
    while let Some(placed) = placing.join_next().await {
        placed??;
        most = most.max(resident()?);
    }
    println!("resident: {before} MiB before, at most {most} MiB at the ends of workers, a million orders later");
    ensure!(most < before + 1_500, "{most} MiB resident, {before} before");
    rig.stop().await
}
