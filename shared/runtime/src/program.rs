//! What every program does around its services: logs, start, the lines that say it is ready, and an orderly end.

mod described;
mod service;

use crate::actors::consumer::Attempts;
use crate::actors::mailbox::Meter;
use crate::actors::supervisor::{Child, Supervisor, SupervisorMessage, Tree};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::config::{self, Alone, BAD_SETTINGS, BadSetting, Common, LogFormat};
use crate::dashboard::Board;
use crate::database::{Database, DatabaseSettings, code, is_away};
use crate::event_log::EventLog;
use crate::event_log::kafka::KafkaLog;
use crate::health::Health;
use crate::http::{Access, HttpServer, StandIn};
use crate::trace::span;
use anyhow::{Context, Result, anyhow};
use clap::Parser;
use futures::future::{BoxFuture, join_all, select_all};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use poem::endpoint::BoxEndpoint;
use ractor::{Actor, ActorRef};
use sea_orm_migration::MigratorTrait;
use std::future::Future;
use std::io::{IsTerminal, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// How long an orderly end may take.
const DRAIN: Duration = Duration::from_secs(9);
/// How often measurements are summed up. Until then, or until somebody reads the metrics, each is kept by itself.
const SUM_UP_EVERY: Duration = Duration::from_secs(5);

/// Reads a program's settings and runs it to its exit code: 0 after an orderly end, 2 for a wrong setting, 1 for anything
/// else.
pub fn run<P: Parser, F: Future<Output = Result<()>>>(program: impl FnOnce(P, Stop) -> F) -> ExitCode {
    match config::parse() {
        Ok(settings) => run_with(|stop| program(settings, stop)),
        Err(code) => code,
    }
}

fn run_with<F: Future<Output = Result<()>>>(program: impl FnOnce(Stop) -> F) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the async runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    // A connection is an open file. What a shell allows is meant for programs that wait for several with select(2).
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        eprintln!("warning: the limit of open files cannot be raised: {error}");
    }
    let stop = Stop::default();
    let result = runtime.block_on(async {
        stop.listen()?;
        program(stop).await
    });
    // What still runs has nothing left to do.
    runtime.shutdown_background();
    span::flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Nothing had begun, so there was nothing to finish.
        Err(error) if error.is::<Stopped>() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<BadSetting>() { ExitCode::from(BAD_SETTINGS) } else { ExitCode::FAILURE }
        }
    }
}

/// What SIGTERM and Ctrl-C ask of a program.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    asked: CancellationToken,
    insisted: CancellationToken,
}

/// The program was asked to stop before it had anything to finish.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("stopped")]
pub struct Stopped;

impl Stop {
    /// Waits until the program is asked to stop.
    pub async fn asked(&self) -> Stopped {
        self.asked.cancelled().await;
        Stopped
    }

    /// Does the last of the work, unless a second signal asks for an end at once.
    pub async fn unless_insisted(&self, work: impl Future<Output = ()>) {
        // What was left undone is what the next start takes up.
        let _ = self.insisted.run_until_cancelled(work).await;
    }

    /// Takes the signals from here on: the first asks for an orderly end, a second for one at once.
    fn listen(&self) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = self.clone();
        tokio::spawn(async move {
            for token in [stop.asked, stop.insisted] {
                tokio::select! {
                    _ = terminate.recv() => token.cancel(),
                    _ = interrupt.recv() => token.cancel(),
                }
            }
        });
        Ok(())
    }
}

/// Starts logging and metrics.
pub fn telemetry(common: &Common) -> Result<PrometheusHandle> {
    // The migrations, the database's notices and the HTTP server tell what the services tell better.
    let filter = EnvFilter::try_new(format!("sea_orm_migration=warn,sqlx=warn,poem=warn,ractor=warn,{}", common.log))
        .map_err(|error| BadSetting::new("RUST_LOG", format!("{:?}: {error}", common.log)))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let subscriber = subscriber.with_ansi(std::io::stderr().is_terminal());
    match common.log_format {
        LogFormat::Text => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    if let Some(endpoint) = &common.otel_exporter_otlp_endpoint {
        span::export_to(endpoint, common.otel_traces_sampler_arg)?;
    }
    let metrics = PrometheusBuilder::new()
        .set_buckets(&[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0])
        .and_then(|builder| {
            let sizes = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
            builder.set_buckets_for_metric(
                metrics_exporter_prometheus::Matcher::Full("journal_batch_size".to_owned()),
                &sizes,
            )
        })
        .context("metrics")?
        .install_recorder()
        .context("metrics")?;
    described::describe_metrics();
    let kept = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SUM_UP_EVERY).await;
            kept.run_upkeep();
        }
    });
    Ok(metrics)
}

/// Opens a database and brings its schema up to date. Waits for one that is away, and has the stand-in say so.
pub async fn open_database<M: MigratorTrait>(
    setting: &str,
    settings: &DatabaseSettings,
    stand_in: &StandIn,
    stop: &Stop,
) -> Result<Database> {
    let mut backoff = Backoff::default();
    loop {
        let opened = async {
            let database = Database::open(settings).await?;
            database.check().await?;
            database.migrate::<M>().await?;
            Ok(database)
        };
        // The end of the program ends what was begun here, as `kill -9` would.
        let opened = tokio::select! {
            opened = opened => opened,
            stopped = stop.asked() => return Err(stopped.into()),
        };
        match opened {
            Ok(database) => return Ok(database),
            Err(error) if is_away(&error) => {
                tracing::warn!(setting, %error, "the database cannot be reached; trying again");
                stand_in.waits_because(error.to_string());
                tokio::select! {
                    () = backoff.wait() => {}
                    stopped = stop.asked() => return Err(stopped.into()),
                }
            }
            Err(error) => {
                let hint = match settings {
                    DatabaseSettings::Postgres(_) => "the database cannot be used",
                    DatabaseSettings::Sqlite(path) => &format!("{} cannot be used", path.display()),
                };
                let setting = match (setting, code(&error).as_deref()) {
                    ("POSTGRES_HOST", Some("28000" | "28P01")) => "POSTGRES_USER, POSTGRES_PASSWORD",
                    ("POSTGRES_HOST", Some("3D000")) => "POSTGRES_DB",
                    (setting, _) => setting,
                };
                return Err(BadSetting::new(setting, format!("{hint}: {error}")).into());
            }
        }
    }
}

/// What a service is started with.
pub struct Ports {
    /// Its own database, migrated.
    pub database: Database,
    /// The log of events.
    pub log: Arc<dyn EventLog>,
    /// What time it is for the database.
    pub clock: Arc<dyn Clock>,
    /// Where it listens.
    pub listener: TcpListener,
    /// Where its metrics are, if they are collected.
    pub metrics: Option<PrometheusHandle>,
    /// The budget of one message.
    pub attempts: Attempts,
    /// Who may use its HTTP API.
    pub access: Arc<Access>,
    /// What is heard of all services.
    pub board: Arc<Board>,
    /// Whether this process is the whole system.
    pub whole: bool,
    /// Where its pages are for people, if not where it listens.
    pub public_url: Option<String>,
}

impl Ports {
    /// Where its pages are.
    pub fn url(&self) -> String {
        let own = || self.listener.local_addr().map(url_of).unwrap_or_default();
        self.public_url.clone().unwrap_or_else(own)
    }
}

/// The ports of the service of this name, as in `order`, alone on Kafka and PostgreSQL, with logging and metrics started.
pub async fn ports<M: MigratorTrait, const PORT: u16>(
    alone: &Alone<PORT>,
    service: &str,
    stop: &Stop,
) -> Result<Ports> {
    let common = &alone.common;
    let metrics = telemetry(common)?;
    let (setting, database) = alone.postgres.settings(service)?;
    let kafka = common.kafka(&alone.kafka_bootstrap_servers)?;
    let access = Arc::new(common.access.access()?);
    let listener = common.listen(alone.http_port)?;
    let stand_in = StandIn::on(&listener)?;
    let database = open_database::<M>(setting, &database, &stand_in, stop).await?;
    let log = KafkaLog::new(kafka)?;
    let board = Arc::new(Board::default());
    log.join(&board)?;
    Ok(Ports {
        clock: database.clock().await?,
        database,
        log: Arc::new(log),
        listener,
        metrics: Some(metrics),
        attempts: common.attempts(),
        access,
        board,
        whole: false,
        public_url: common.public_url(0)?,
    })
}

/// A service that starts. Boxed, so that a service is compiled once, in its own crate, and not again in every program.
pub type Starting<'a> = BoxFuture<'a, Result<Running>>;

/// A service that runs.
pub struct Running {
    service: &'static str,
    url: String,
    health: Arc<Health>,
    database: Database,
    supervisor: ActorRef<SupervisorMessage>,
    ended: JoinHandle<()>,
}

impl Running {
    /// Starts a tree over its database and, behind all its parts, this HTTP API on `listener`.
    pub async fn start(
        database: Database,
        listener: TcpListener,
        app: BoxEndpoint<'static>,
        mut tree: Tree,
    ) -> Result<Self> {
        let url = url_of(listener.local_addr()?);
        let (service, health) = (tree.service, Arc::clone(&tree.health));
        let meter = Meter::of(service, "http");
        let server = HttpServer { listener: Arc::new(listener), app: Arc::new(app), meter: meter.clone() };
        tree.children.push(Child::new(&meter, move || server.clone(), |_| {}));
        let (supervisor, ended) = Supervisor::spawn(None, Supervisor, tree).await.context(service)?;
        Ok(Running { service, url, health, database, supervisor, ended })
    }

    /// Where the service's HTTP API is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until the service can do its work.
    pub async fn ready(&self) {
        ready(&self.health).await;
    }

    /// Stops the service, with what it has taken on done.
    pub async fn stop(self) {
        self.supervisor.stop(None);
        if !self.ended.is_finished() {
            // How it ended was logged by the supervisor.
            let _ = self.ended.await;
        }
        if let Err(error) = self.database.close().await {
            tracing::warn!(service = self.service, %error, "the database was not closed well");
        }
    }
}

/// Says when the services are ready, and runs them until a signal ends them or one of them ends by itself. A second
/// signal does not wait for what is under way; the next start takes that up.
pub async fn until_stopped(mut services: Vec<Running>, hint: &str, stop: &Stop) -> Result<()> {
    let starting: Vec<_> = services.iter().map(|s| (s.service, s.url.clone(), Arc::clone(&s.health))).collect();
    let announce = async {
        for (service, url, health) in starting {
            ready(&health).await;
            say(&format!("{service:<21} {url}  Swagger UI {url}/docs  dashboard {url}/dashboard"));
        }
        say(hint);
        std::future::pending::<()>().await;
    };
    let ended = select_all(services.iter_mut().map(|service| &mut service.ended));
    let outcome = tokio::select! {
        () = announce => Ok(()),
        (_, place, _) = ended => Err(place),
        _ = stop.asked() => Ok(()),
    };
    let outcome = outcome.map_err(|place| anyhow!("{} gave up; its log says why", services[place].service));
    tracing::info!("stopping: finishing what is under way");
    let drained = join_all(services.into_iter().map(Running::stop));
    let drained = stop.insisted.run_until_cancelled(tokio::time::timeout(DRAIN, drained)).await;
    drained.transpose().context("not everything could be finished in time; the next start takes it up")?;
    outcome
}

/// Says something on standard output, if anybody listens there: a closed pipe is no reason to end.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Where a listener can be reached from its own machine.
fn url_of(address: SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => format!("http://localhost:{}", address.port()),
        false => format!("http://{address}"),
    }
}

async fn ready(health: &Health) {
    while !health.is_ready() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
