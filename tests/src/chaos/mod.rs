//! Chaos: the four programs on real PostgreSQL and Kafka, under load, while things are done to them; then the books.

mod faults;
mod fleet;
mod ledger;
mod load;
mod notes;
mod options;
mod replay;
mod report;
mod scenarios;
mod strain;
mod tally;
mod verify;
mod watch;

pub use options::{Options, Scenario};

use crate::api::{Api, Service};
use crate::programs::{Action, Programs, SERVICES, Server, Stack};
use anyhow::{Context, Result};
use fleet::{Fleet, Place};
use ledger::Sandbox;
use load::{Load, Shop};
use notes::Notes;
use report::Report;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tally::Tally;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use watch::Watch;

/// How often the fleet is looked over for programs that ended by themselves.
const ROUNDS: Duration = Duration::from_millis(200);
/// How long a service may take to become ready, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Makes the load's random numbers others than the faults'.
const LOAD: u64 = 0x6c6f_6164;

/// A run: what it works on, and what it has seen.
struct Run {
    options: Options,
    stack: Stack,
    fleet: Arc<Fleet>,
    tally: Arc<Tally>,
    shop: Shop,
    watch: Watch,
    notes: Notes,
    sandbox: Option<Sandbox>,
    load: Mutex<Option<Load>>,
}

/// Runs a scenario, prints the report, and returns whether all was well.
pub async fn run(options: Options) -> Result<bool> {
    let mut terminate = signal(SignalKind::terminate())?;
    let logs = tempfile::Builder::new().prefix("order-system-chaos.").tempdir()?;
    let run = Arc::new(Run::start(options, logs.path()).await?);
    println!(
        "chaos: {}, seed {}, {} of each service; logs in {}",
        run.options.scenario,
        run.options.seed,
        run.options.replicas(),
        logs.path().display()
    );
    let report = tokio::select! {
        report = run.play() => report,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
    };
    run.fleet.stop();
    let report = report?;
    let text = report.text();
    println!("{text}");
    if let Some(file) = &run.options.report {
        let is_json = file.extension().is_some_and(|extension| extension == "json");
        std::fs::write(file, if is_json { report.json()? } else { text }).context("the report")?;
    }
    if !report.is_well() {
        println!("The programs' logs are kept in {}.", logs.keep().display());
    }
    Ok(report.is_well())
}

impl Run {
    async fn start(options: Options, logs: &std::path::Path) -> Result<Self> {
        let stack = Stack::from_environment()?;
        stack.empty_databases().await?;
        let mut programs = Programs::new(&stack, options.http_port, logs)?;
        programs.instance = (!options.dynamic).then(|| "chaos".to_owned());
        let sandbox = Sandbox::start(&mut programs, &options).await?;
        let fleet = Arc::new(Fleet::new(programs));
        // All at once, on empty databases: who migrates is their affair.
        for place in first_places(&options) {
            fleet.start(place)?;
        }
        let tally = Arc::new(Tally::default());
        let shop = Shop::new(&fleet, &tally)?;
        let watch = Watch::start(&stack).await?;
        let run =
            Run { options, stack, fleet, tally, shop, watch, notes: Notes::default(), sandbox, load: Mutex::default() };
        run.until_ready().await?;
        Ok(run)
    }

    /// Waits until every replica says that it is ready.
    async fn until_ready(&self) -> Result<()> {
        for place in self.fleet.places() {
            let url = self.fleet.programs.url(place.service(), place.replica);
            let api = Api::new(vec![url]);
            let ready = api.until_ready(Service::Order);
            let ready = tokio::time::timeout(PATIENCE, ready).await.map_err(anyhow::Error::from).flatten();
            ready.with_context(|| format!("{} is not ready\n{}", place.name(), self.fleet.programs.story()))?;
        }
        Ok(())
    }

    /// Loads the system, plays the scenario, heals everything, and looks into the books.
    async fn play(self: &Arc<Self>) -> Result<Report> {
        // Dropping a set ends what is in it.
        let mut progress = JoinSet::new();
        progress.spawn(notes::show(Arc::clone(self)));
        let mut guard = JoinSet::new();
        guard.spawn(Arc::clone(self).guard());
        if self.options.rate() > 0 {
            let load = Load::start(self.shop.clone(), self.options.rate(), self.options.seed ^ LOAD);
            *self.load.lock().unwrap_or_else(PoisonError::into_inner) = Some(load);
        }
        let played = scenarios::play(self).await;
        drop(guard);
        if let Err(error) = played {
            self.notes.problem(format!("the scenario could not be played: {error:#}"));
        }
        self.stop_load().await?;
        self.heal().await?;
        let report = verify::verify(self).await;
        drop(progress);
        report
    }

    /// Ends the load, if it still goes on, with every answer awaited.
    async fn stop_load(&self) -> Result<()> {
        let load = self.load.lock().unwrap_or_else(PoisonError::into_inner).take();
        match load {
            Some(load) => load.stop().await,
            None => Ok(()),
        }
    }

    /// Starts again what ended by itself, which no program may.
    async fn guard(self: Arc<Self>) {
        loop {
            for (place, status) in self.fleet.deserters() {
                self.notes.problem(format!("{} ended by itself: {status}", place.name()));
                if let Err(error) = self.fleet.start(place) {
                    self.notes.problem(format!("{} does not start: {error:#}", place.name()));
                }
            }
            tokio::time::sleep(ROUNDS).await;
        }
    }

    /// Brings back everything that a scenario left away.
    async fn heal(&self) -> Result<()> {
        for server in [Server::Postgres, Server::Kafka] {
            self.stack.control(server, Action::Thaw).await?;
            self.stack.control(server, Action::Start).await?;
        }
        for place in self.fleet.places() {
            self.fleet.thaw(place)?;
        }
        let running = self.fleet.places();
        // A service needs only one replica to come to its end.
        for place in first_places(&self.options) {
            if !running.iter().any(|other| other.service() == place.service()) {
                self.fleet.start(place)?;
            }
        }
        if let Some(sandbox) = &self.sandbox {
            sandbox.heal().await?;
        }
        self.notes.say("everything is healed");
        Ok(())
    }
}

/// The replicas that a run begins with.
fn first_places(options: &Options) -> Vec<Place> {
    let replicas = 0..options.replicas();
    replicas.flat_map(|replica| SERVICES.map(|(service, _)| Place::new(service, replica))).collect()
}
