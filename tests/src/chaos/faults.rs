//! Faults, one by one and at random.

use super::fleet::Place;
use super::replay::append_again;
use super::verify::read_topics;
use super::{Run, Scenario};
use crate::programs::{Action, Server};
use anyhow::Result;
use fastrand::Rng;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What goes before the first fault.
const LEAD: Duration = Duration::from_secs(3);
/// How long progress is waited for after a start, and a broker after its own.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause before a broker is asked again.
const AGAIN: Duration = Duration::from_millis(300);
/// How long a program may take to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);

/// A kind of fault, with how often it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// kill -9 of a service, and a start.
    Kill,
    /// SIGTERM to a service, and a start.
    Terminate,
    /// SIGSTOP to a service, and SIGCONT.
    Freeze,
    /// kill -9 of the broker, and a start.
    BrokerKill,
    /// SIGSTOP to the broker, and SIGCONT.
    BrokerFreeze,
    /// kill -9 of PostgreSQL, and a start.
    DatabaseKill,
    /// SIGSTOP to PostgreSQL, and SIGCONT.
    DatabaseFreeze,
    /// The provider times out, fails, and is slow.
    Provider,
    /// kill -9 of the provider, and a start.
    ProviderKill,
    /// Records that were read already come once more.
    Repeat,
}

impl Kind {
    /// Every kind, and its weight: services are hit most.
    const ALL: [(Kind, u32); 10] = [
        (Kind::Kill, 40),
        (Kind::Terminate, 15),
        (Kind::Freeze, 15),
        (Kind::BrokerKill, 2),
        (Kind::BrokerFreeze, 2),
        (Kind::DatabaseKill, 2),
        (Kind::DatabaseFreeze, 2),
        (Kind::Provider, 4),
        (Kind::ProviderKill, 4),
        (Kind::Repeat, 4),
    ];

    /// The kinds that this run can have.
    pub(super) fn possible(run: &Run) -> Vec<(Kind, u32)> {
        let is_possible = |kind| run.sandbox.is_some() || !matches!(kind, Kind::Provider | Kind::ProviderKill);
        Self::ALL.into_iter().filter(|(kind, _)| is_possible(*kind)).collect()
    }

    /// Its name in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill -9",
            Kind::Terminate => "SIGTERM",
            Kind::Freeze => "SIGSTOP",
            Kind::BrokerKill => "kafka kill -9",
            Kind::BrokerFreeze => "kafka SIGSTOP",
            Kind::DatabaseKill => "postgres kill -9",
            Kind::DatabaseFreeze => "postgres SIGSTOP",
            Kind::Provider => "provider in trouble",
            Kind::ProviderKill => "provider kill -9",
            Kind::Repeat => "records again",
        }
    }
}

/// Whom a fault hits. Nobody is hit twice at a time, and of the servers only one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    Replica(Place),
    Server,
    Provider,
}

/// A fault to come.
#[derive(Clone, Copy, Debug)]
struct Planned {
    after: Duration,
    kind: Kind,
    target: Target,
    lasts: Duration,
}

fn plan(rng: &mut Rng, places: &[Place], kind: Kind) -> Planned {
    let millis = |rng: &mut Rng, range: std::ops::Range<u64>| Duration::from_millis(rng.u64(range));
    let after = millis(rng, 500..3_000);
    let place = Target::Replica(places[rng.usize(0..places.len())]);
    let (target, lasts) = match kind {
        Kind::Kill | Kind::Terminate => (place, millis(rng, 0..2_000)),
        Kind::Freeze => (place, millis(rng, 1_000..15_000)),
        Kind::BrokerKill => (Target::Server, millis(rng, 0..5_000)),
        Kind::BrokerFreeze => (Target::Server, millis(rng, 1_000..10_000)),
        Kind::DatabaseKill => (Target::Server, millis(rng, 0..5_000)),
        Kind::DatabaseFreeze => (Target::Server, millis(rng, 1_000..10_000)),
        Kind::Provider => (Target::Provider, millis(rng, 2_000..10_000)),
        Kind::ProviderKill => (Target::Provider, millis(rng, 0..3_000)),
        Kind::Repeat => (Target::Server, Duration::ZERO),
    };
    Planned { after, kind, target, lasts }
}

fn any_kind(rng: &mut Rng, kinds: &[(Kind, u32)]) -> Kind {
    let mut drawn = rng.u32(0..kinds.iter().map(|(_, weight)| weight).sum());
    for (kind, weight) in kinds {
        if drawn < *weight {
            return *kind;
        }
        drawn -= weight;
    }
    Kind::Kill
}

/// Faults of every kind at random, for as long as the run lasts: one of each kind first, in any order.
pub(super) async fn random(run: &Arc<Run>) -> Result<()> {
    let mut rng = Rng::with_seed(run.options.seed);
    let kinds = Kind::possible(run);
    let mut first: Vec<Kind> = kinds.iter().map(|(kind, _)| *kind).collect();
    rng.shuffle(&mut first);
    let places = run.fleet.places();
    let until = Instant::now() + Duration::from_secs(run.options.seconds());
    let busy = Arc::new(Mutex::new(HashSet::new()));
    let mut faults = JoinSet::new();
    tokio::time::sleep(LEAD).await;
    while Instant::now() < until || !first.is_empty() {
        let certain = first.pop();
        let kind = certain.unwrap_or_else(|| any_kind(&mut rng, &kinds));
        let planned = plan(&mut rng, &places, kind);
        tokio::time::sleep(planned.after).await;
        if !busy.lock().unwrap_or_else(PoisonError::into_inner).insert(planned.target) {
            first.splice(0..0, certain);
            continue;
        }
        let (run, busy) = (Arc::clone(run), Arc::clone(&busy));
        faults.spawn(async move {
            if let Err(error) = inject(&run, planned).await {
                run.notes.problem(format!("{planned:?} could not be done: {error:#}"));
            }
            busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&planned.target);
        });
    }
    faults.join_all().await;
    Ok(())
}

async fn inject(run: &Arc<Run>, planned: Planned) -> Result<()> {
    match (planned.kind, planned.target) {
        (Kind::Kill, Target::Replica(place)) => kill(run, place, planned.lasts).await,
        (Kind::Terminate, Target::Replica(place)) => {
            terminate(run, place, 1).await?;
            tokio::time::sleep(planned.lasts).await;
            start(run, place)
        }
        (Kind::Freeze, Target::Replica(place)) => freeze(run, place, planned.lasts).await,
        (Kind::BrokerKill, _) => away(run, Server::Kafka, planned.lasts).await,
        (Kind::DatabaseKill, _) => away(run, Server::Postgres, planned.lasts).await,
        (Kind::BrokerFreeze, _) => frozen(run, Server::Kafka, planned.lasts).await,
        (Kind::DatabaseFreeze, _) => frozen(run, Server::Postgres, planned.lasts).await,
        (Kind::Provider, _) => provider_in_trouble(run, planned.lasts).await,
        (Kind::ProviderKill, _) => provider_killed(run, planned.lasts).await,
        (Kind::Repeat, _) => repeat(run).await,
        (Kind::Kill | Kind::Terminate | Kind::Freeze, Target::Server | Target::Provider) => Ok(()),
    }
}

/// Starts a replica, and notes in the background how long it takes until new orders are confirmed again.
pub(super) fn start(run: &Arc<Run>, place: Place) -> Result<()> {
    run.fleet.start(place)?;
    run.notes.say(format!("start {}", place.name()));
    let run = Arc::clone(run);
    tokio::spawn(async move {
        if let Some(progress) = run.watch.until_progress(PATIENCE).await {
            run.notes.progress(place, progress);
        }
    });
    Ok(())
}

/// `kill -9`, a pause, and a start.
pub(super) async fn kill(run: &Arc<Run>, place: Place, down: Duration) -> Result<()> {
    run.notes.fault(Kind::Kill.name(), &place.name());
    run.fleet.kill(place)?;
    tokio::time::sleep(down).await;
    start(run, place)
}

/// SIGTERM, so many times. Ending takes its time, but not too much of it, and is orderly: at random moments, when a
/// server may be away at the same time, a program may also say that it could not finish, by exit code 1.
pub(super) async fn terminate(run: &Arc<Run>, place: Place, times: u32) -> Result<Duration> {
    run.notes.fault(Kind::Terminate.name(), &place.name());
    let ended = run.fleet.terminate(place, times).await?;
    if ended.took > DRAIN {
        run.notes.problem(format!("{} took {:?} to end after SIGTERM", place.name(), ended.took));
    }
    let may_fail = run.options.scenario == Scenario::Random && ended.status.code() == Some(1);
    if ended.status.code() != Some(0) && !may_fail {
        run.notes.problem(format!("{} ended with {} after SIGTERM", place.name(), ended.status));
    }
    Ok(ended.took)
}

/// SIGSTOP, a pause, and SIGCONT.
pub(super) async fn freeze(run: &Arc<Run>, place: Place, lasts: Duration) -> Result<()> {
    run.notes.fault(Kind::Freeze.name(), &format!("{} for {lasts:?}", place.name()));
    run.fleet.freeze(place)?;
    tokio::time::sleep(lasts).await;
    run.fleet.thaw(place)?;
    run.notes.say(format!("SIGCONT {}", place.name()));
    Ok(())
}

/// A server is killed, and started after a while.
pub(super) async fn away(run: &Arc<Run>, server: Server, lasts: Duration) -> Result<()> {
    let kind = if server == Server::Kafka { Kind::BrokerKill } else { Kind::DatabaseKill };
    run.notes.fault(kind.name(), &format!("for {lasts:?}"));
    run.stack.control(server, Action::Kill).await?;
    tokio::time::sleep(lasts).await;
    run.stack.control(server, Action::Start).await?;
    run.notes.say(format!("{server:?} is started"));
    Ok(())
}

/// A server stands still for a while.
async fn frozen(run: &Arc<Run>, server: Server, lasts: Duration) -> Result<()> {
    let kind = if server == Server::Kafka { Kind::BrokerFreeze } else { Kind::DatabaseFreeze };
    run.notes.fault(kind.name(), &format!("for {lasts:?}"));
    run.stack.control(server, Action::Freeze).await?;
    tokio::time::sleep(lasts).await;
    run.stack.control(server, Action::Thaw).await?;
    run.notes.say(format!("{server:?} goes on"));
    Ok(())
}

/// The provider times out, fails and is slow for a while.
async fn provider_in_trouble(run: &Arc<Run>, lasts: Duration) -> Result<()> {
    let Some(sandbox) = &run.sandbox else { return Ok(()) };
    run.notes.fault(Kind::Provider.name(), &format!("for {lasts:?}"));
    sandbox.trouble().await?;
    tokio::time::sleep(lasts).await;
    sandbox.heal().await
}

/// The provider is killed, and started on its books after a while.
async fn provider_killed(run: &Arc<Run>, lasts: Duration) -> Result<()> {
    let Some(sandbox) = &run.sandbox else { return Ok(()) };
    run.notes.fault(Kind::ProviderKill.name(), &format!("for {lasts:?}"));
    sandbox.kill(lasts).await
}

/// One record in ten of all that there are comes once more, as a producer that missed its answer would have it.
async fn repeat(run: &Arc<Run>) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    let records = loop {
        match read_topics(run).await {
            Ok(records) => break records,
            // A broker that was away a moment ago may lead no partition yet.
            Err(_) if Instant::now() < until => tokio::time::sleep(AGAIN).await,
            Err(error) => return Err(error),
        }
    };
    let some = records.iter().step_by(10);
    run.notes.fault(Kind::Repeat.name(), &format!("{} of them", some.len()));
    append_again(run, some).await
}
