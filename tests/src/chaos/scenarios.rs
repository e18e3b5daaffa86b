//! The scenarios, one by one.

use super::fleet::Place;
use super::tally::Kind;
use super::{Run, Scenario, faults, replay, strain};
use crate::api::Service;
use crate::programs::{Action, SERVICES, Server};
use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use futures::future::join_all;
use reqwest::StatusCode;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What goes before and after the middle of a scenario, under load.
const LEAD: Duration = Duration::from_secs(5);

/// Plays the run's scenario.
pub(super) async fn play(run: &Arc<Run>) -> Result<()> {
    match run.options.scenario {
        Scenario::Random => faults::random(run).await,
        Scenario::KafkaAway => kafka_away(run).await,
        Scenario::PostgresAway => postgres_away(run).await,
        Scenario::Kills => kills(run).await,
        Scenario::ReplicaKilled => replica_killed(run).await,
        Scenario::ReplicaFrozen => replica_frozen(run).await,
        Scenario::Churn => churn(run).await,
        Scenario::Together => together(run).await,
        Scenario::LastUnits => last_units(run).await,
        Scenario::Replay => replay::replay(run).await,
        Scenario::Drain => drain(run).await,
        Scenario::Overload => strain::overload(run).await,
        Scenario::KafkaSlow => strain::kafka_slow(run).await,
    }
}

fn lasting(run: &Run) -> Duration {
    Duration::from_secs(run.options.seconds())
}

/// While the broker is away, orders are accepted all the same, and order-service is ready, though not well.
async fn kafka_away(run: &Arc<Run>) -> Result<()> {
    tokio::time::sleep(LEAD).await;
    run.notes.fault(faults::Kind::BrokerKill.name(), "for long");
    run.stack.control(Server::Kafka, Action::Kill).await?;
    let (accepted, unknown) = run.tally.sums();
    let until = Instant::now() + lasting(run);
    let mut degraded = 0;
    while Instant::now() < until {
        let (status, report) = ready(run, Service::Order).await?;
        if status != StatusCode::OK {
            run.notes.problem(format!("order-service is not ready while only the broker is away: {report}"));
        }
        degraded += u32::from(report["status"] == "DEGRADED");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (accepted_then, unknown_then) = run.tally.sums();
    run.stack.control(Server::Kafka, Action::Start).await?;
    run.notes.say("Kafka is started");
    run.notes.fact(format!("accepted while the broker was away: {}", accepted_then - accepted));
    ensure!(accepted_then > accepted, "nothing was accepted while the broker was away");
    if unknown_then != unknown {
        run.notes
            .problem(format!("{} POSTs were not answered 202 while only the broker was away", unknown_then - unknown));
    }
    if degraded == 0 {
        run.notes.problem("order-service never said DEGRADED while the broker was away");
    }
    note_backlog(run).await;
    tokio::time::sleep(LEAD).await;
    Ok(())
}

async fn ready(run: &Run, service: Service) -> Result<(StatusCode, serde_json::Value)> {
    let url = format!("{}/health/ready", run.fleet.programs.url(service, 0));
    let reply =
        tokio::time::timeout(Duration::from_secs(5), reqwest::get(url)).await.context("/health/ready hangs")??;
    Ok((reply.status(), reply.json().await?))
}

async fn note_backlog(run: &Run) {
    match run.watch.until_caught_up(Duration::from_secs(90)).await {
        Some(took) => run.notes.fact(format!("the backlog of the outage was gone after {took:.1?}")),
        None => run.notes.problem("the backlog of the outage was not gone after 90 s"),
    }
}

/// While the database is away, nobody is ready, and orders are refused with an answer that says to come back.
async fn postgres_away(run: &Arc<Run>) -> Result<()> {
    tokio::time::sleep(LEAD).await;
    run.notes.fault(faults::Kind::DatabaseKill.name(), "for long");
    run.stack.control(Server::Postgres, Action::Kill).await?;
    tokio::time::sleep(lasting(run) / 2).await;
    let is_refused = |run: &Run| run.tally.lock().unknown.get("503").copied().unwrap_or(0);
    let refused = is_refused(run);
    for (service, name) in SERVICES {
        let (status, report) = ready(run, service).await?;
        run.notes.say(format!("{name}-service: {status} {report}"));
        if status != StatusCode::SERVICE_UNAVAILABLE {
            run.notes
                .problem(format!("{name}-service says {status} to /health/ready with its database away: {report}"));
        }
    }
    tokio::time::sleep(lasting(run) / 2).await;
    if is_refused(run) == refused {
        run.notes.problem("no POST was answered 503 with Retry-After while the database was away");
    }
    run.stack.control(Server::Postgres, Action::Start).await?;
    run.notes.say("PostgreSQL is started");
    let progress = run.watch.until_progress(Duration::from_secs(60)).await;
    match progress {
        Some(took) => run.notes.fact(format!("new orders were confirmed {took:.1?} after PostgreSQL was back")),
        None => run.notes.problem("no new order was confirmed within 60 s after PostgreSQL was back"),
    }
    note_backlog(run).await;
    tokio::time::sleep(LEAD).await;
    Ok(())
}

/// `kill -9`, again and again, of any service: new orders are confirmed again soon after each start.
async fn kills(run: &Arc<Run>) -> Result<()> {
    let limit = Duration::from_secs(if run.options.dynamic { 10 } else { 3 });
    let mut rng = Rng::with_seed(run.options.seed);
    let places = run.fleet.places();
    tokio::time::sleep(LEAD).await;
    for _ in 0..run.options.kills {
        let place = places[rng.usize(0..places.len())];
        run.notes.fault(faults::Kind::Kill.name(), &place.name());
        run.fleet.kill(place)?;
        tokio::time::sleep(Duration::from_millis(rng.u64(0..2_000))).await;
        run.fleet.start(place)?;
        run.notes.say(format!("start {}", place.name()));
        // Some are killed again before they have found their feet.
        if rng.u32(0..5) == 0 {
            tokio::time::sleep(Duration::from_millis(rng.u64(0..1_000))).await;
            continue;
        }
        match run.watch.until_progress(Duration::from_secs(60)).await {
            Some(took) => {
                run.notes.progress(place, took);
                if took > limit {
                    run.notes.problem(format!(
                        "{}: no new order was confirmed for {took:.1?} after its start",
                        place.name()
                    ));
                }
            }
            None => run.notes.problem(format!("{}: no new order was confirmed within 60 s of its start", place.name())),
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(0..700))).await;
    }
    Ok(())
}

/// One replica of each is killed for good; the others take over.
async fn replica_killed(run: &Arc<Run>) -> Result<()> {
    let mut rng = Rng::with_seed(run.options.seed);
    for (service, _) in SERVICES {
        tokio::time::sleep(lasting(run) / 5).await;
        let place = Place::new(service, rng.u16(0..run.options.replicas()));
        run.notes.fault(faults::Kind::Kill.name(), &place.name());
        run.fleet.kill(place)?;
    }
    tokio::time::sleep(lasting(run) / 5).await;
    note_backlog(run).await;
    Ok(())
}

/// One replica of each stands still while the others go on, and then wakes up with what it still holds.
async fn replica_frozen(run: &Arc<Run>) -> Result<()> {
    let mut rng = Rng::with_seed(run.options.seed);
    tokio::time::sleep(LEAD).await;
    let places = SERVICES.map(|(service, _)| Place::new(service, rng.u16(0..run.options.replicas())));
    for frozen in join_all(places.map(|place| faults::freeze(run, place, lasting(run)))).await {
        frozen?;
    }
    tokio::time::sleep(LEAD).await;
    note_backlog(run).await;
    Ok(())
}

/// A replica joins or leaves every two seconds.
async fn churn(run: &Arc<Run>) -> Result<()> {
    let mut rng = Rng::with_seed(run.options.seed);
    let until = Instant::now() + lasting(run);
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (service, _) = SERVICES[rng.usize(0..SERVICES.len())];
        // Beside those that the run began with.
        let place = Place::new(service, run.options.replicas());
        if run.fleet.places().contains(&place) {
            faults::terminate(run, place, 1).await?;
        } else {
            run.notes.fault("join", &place.name());
            run.fleet.start(place)?;
        }
    }
    Ok(())
}

/// The replicas have started at once: the migrations have run once each, and nobody failed over them.
async fn together(run: &Arc<Run>) -> Result<()> {
    let databases = run.stack.databases().await?;
    for (database, (_, name)) in databases.0.iter().zip(SERVICES) {
        let statement = "SELECT count(*), count(DISTINCT version) FROM seaql_migrations";
        let statement = Statement::from_string(DbBackend::Postgres, statement);
        let row = database.read.query_one_raw(statement).await?.context("no row")?;
        let (rows, versions): (i64, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        run.notes.fact(format!("{name}-service: {versions} migrations, noted {rows} times"));
        if rows != versions || rows == 0 {
            run.notes.problem(format!("{name}-service: {versions} migrations were noted {rows} times"));
        }
    }
    tokio::time::sleep(lasting(run)).await;
    Ok(())
}

/// Five hundred orders at once for a hundred units: of single lines, of two lines of one product, and of two products
/// in either order, which tempts the locks.
async fn last_units(run: &Arc<Run>) -> Result<()> {
    const UNITS: i64 = 100;
    const ORDERS: usize = 500;
    let contests: [(&[&str], &[&str], usize); 3] =
        [(&["P1"], &["P1"], 100), (&["P2", "P2"], &["P2", "P2"], 50), (&["P3", "P4"], &["P4", "P3"], 100)];
    let client = reqwest::Client::new();
    for product in ["P1", "P2", "P3", "P4"] {
        let url = format!("{}/api/stock/{product}", run.fleet.programs.url(Service::Inventory, 0));
        client.put(url).json(&json!({"onHand": UNITS})).send().await?.error_for_status()?;
    }
    for (even, odd, fits) in contests {
        let order = |products: &[&str]| {
            let line = |product: &&str| json!({"productId": product, "quantity": 1, "unitPrice": 1});
            let lines: Vec<_> = products.iter().map(line).collect();
            json!({"customerId": "c-1", "totalAmount": 10, "currency": "EUR", "items": lines})
        };
        let (even, odd) = (order(even), order(odd));
        let placed =
            (0..ORDERS).map(|n| run.shop.place(Kind::Contended, if n % 2 == 0 { &even } else { &odd }, 100_000));
        let placed = join_all(placed).await.into_iter().flatten().count();
        ensure!(placed == ORDERS, "{placed} of {ORDERS} orders were accepted");
        run.watch.until_caught_up(Duration::from_secs(60)).await.context("the contest did not end within 60 s")?;
        let products = even["items"].to_string();
        let databases = run.stack.databases().await?;
        let count = "SELECT count(*) FROM orders WHERE stage = 'CONFIRMED' AND items::text LIKE";
        let product = even["items"][0]["productId"].as_str().unwrap_or_default();
        let statement = Statement::from_string(DbBackend::Postgres, format!("{count} '%\"{product}\"%'"));
        let row = databases.0[0].read.query_one_raw(statement).await?.context("no row")?;
        let confirmed: i64 = row.try_get_by_index(0)?;
        run.notes.fact(format!("{ORDERS} orders of {products} for {UNITS} units: {confirmed} confirmed"));
        if usize::try_from(confirmed)? != fits {
            run.notes.problem(format!("I-4: {confirmed} orders of {products} were confirmed, and {fits} fit"));
        }
    }
    Ok(())
}

/// SIGTERM under load: each ends in time and in order. Twice: at once, and nothing is lost.
async fn drain(run: &Arc<Run>) -> Result<()> {
    tokio::time::sleep(LEAD).await;
    for (times, limit) in [(1, Duration::from_secs(10)), (2, Duration::from_secs(1))] {
        for place in run.fleet.places() {
            let took = faults::terminate(run, place, times).await?;
            run.notes.fact(format!("{} ended {took:.1?} after SIGTERM, sent {times} times", place.name()));
            if took > limit {
                run.notes.problem(format!("{} took {took:.1?} after SIGTERM, sent {times} times", place.name()));
            }
            run.fleet.start(place)?;
            if run.watch.until_progress(Duration::from_secs(30)).await.is_none() {
                run.notes.problem(format!("{}: no new order was confirmed within 30 s of its start", place.name()));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    Ok(())
}
