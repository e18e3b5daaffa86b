//! The reporter: says once a second how its service is, while anybody may be looking.

use super::Board;
use super::snapshot::{Identity, Snapshot, process};
use crate::actors::Wiring;
use crate::actors::mailbox::{Mail, Meter};
use crate::actors::roster::Roster;
use crate::actors::supervisor::Child;
use crate::clock::Clock;
use crate::health::Health;
use crate::program::Ports;
use crate::saga::Saga;
use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusHandle;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is said.
const PERIOD: Duration = Duration::from_secs(1);

/// Time to say it.
#[derive(Clone, Copy, Debug)]
pub struct Tick;

/// What there is to be said of a service, and where.
#[derive(Clone)]
pub struct Reporter(Arc<Subject>);

struct Subject {
    identity: Identity,
    health: Arc<Health>,
    roster: Arc<Roster>,
    metrics: Option<PrometheusHandle>,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    started: Instant,
    meter: Meter,
}

impl Reporter {
    /// Of this service.
    pub fn of<S: Saga>(wiring: &Wiring<S>, ports: &Ports) -> Self {
        Reporter(Arc::new(Subject {
            identity: Identity { service: S::SERVICE, replica: process(), url: ports.url() },
            health: Arc::clone(&wiring.health),
            roster: Arc::clone(&wiring.roster),
            metrics: ports.metrics.clone(),
            board: Arc::clone(&ports.board),
            clock: Arc::clone(&wiring.clock),
            started: Instant::now(),
            meter: Meter::of(S::SERVICE, "reporter"),
        }))
    }

    /// The actor, supervised.
    pub fn child(&self) -> Child {
        let reporter = self.clone();
        Child::new(&self.0.meter, move || reporter.clone(), |_| {})
    }

    fn say(&self) {
        let Subject { identity, health, roster, metrics, board, clock, started, meter: _ } = &*self.0;
        let text = metrics.as_ref().map(PrometheusHandle::render).unwrap_or_default();
        let now = (clock.now(), started.elapsed());
        let snapshot = Snapshot::of(identity, now, health, roster.report(), &text);
        let speaker = format!("{}/{}", identity.service, identity.replica);
        match serde_json::to_string(&snapshot) {
            Ok(text) => board.say(&speaker, &text),
            Err(error) => tracing::warn!(%error, "a snapshot cannot be written"),
        }
    }
}

#[async_trait]
impl Actor for Reporter {
    type Msg = Mail<Tick>;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Mail<Tick>>, (): ()) -> Result<(), ActorProcessingErr> {
        self.0.meter.mailbox(myself).send_interval(PERIOD, || Tick);
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Mail<Tick>>, mail: Mail<Tick>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        let (Tick, _handling) = mail.open();
        if self.0.board.is_watched() {
            self.say();
        }
        Ok(())
    }
}
