//! The supervisor of one service: starts its parts in order, starts a part again that has ended, and gives up when
//! that does not help.

use super::mailbox::Meter;
use super::roster::Roster;
use crate::backoff::Backoff;
use crate::health::{Health, Part};
use async_trait::async_trait;
use futures::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How a part is started, under a supervisor.
pub type Start = Box<dyn Fn(ActorCell) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> + Send + Sync>;

/// How a part is asked to end, when it is more than to finish what is in its mailbox.
pub type Leave = Box<dyn Fn(&ActorCell) + Send + Sync>;

/// A supervised part of a service.
pub struct Child {
    meter: Meter,
    start: Start,
    leave: Option<Leave>,
}

impl Child {
    /// A part that is an actor. `announce` is called with every new incarnation, before anything else starts.
    pub fn new<A: Actor<Arguments = ()>>(
        meter: &Meter,
        make: impl Fn() -> A + Send + Sync + 'static,
        announce: impl Fn(ActorRef<A::Msg>) + Send + Sync + 'static,
    ) -> Self {
        let announce = Arc::new(announce);
        let start = move |supervisor| -> BoxFuture<'static, Result<ActorCell, SpawnErr>> {
            let actor = make();
            let announce = Arc::clone(&announce);
            Box::pin(async move {
                let (actor, _) = Actor::spawn_linked(None, actor, (), supervisor).await?;
                let cell = actor.get_cell();
                announce(actor);
                Ok(cell)
            })
        };
        Child { meter: meter.clone(), start: Box::new(start), leave: None }
    }

    /// This part is asked to end by a message, and ends itself when it has done what it has to.
    pub fn leaving(self, ask: impl Fn(&ActorCell) + Send + Sync + 'static) -> Self {
        Child { leave: Some(Box::new(ask)), ..self }
    }
}

/// Failures within this time that are still borne.
const INTENSITY: usize = 10;
/// The time in which failures are counted.
const PERIOD: Duration = Duration::from_secs(60);

/// The parts of one service, in the order of their start.
pub struct Tree {
    /// The service's name.
    pub service: &'static str,
    /// A part may use those before it. They are stopped in the reverse order.
    pub children: Vec<Child>,
    /// Where it is noted that all parts run.
    pub health: Arc<Health>,
    /// Where it is noted how each part stands.
    pub roster: Arc<Roster>,
}

/// A message to a supervisor.
#[derive(Debug)]
pub enum SupervisorMessage {
    /// Start this part.
    Start(usize),
}

/// The actor.
pub struct Supervisor;

/// What a supervisor knows.
pub struct Supervised {
    tree: Tree,
    running: Vec<Option<ActorCell>>,
    failures: VecDeque<Instant>,
    backoff: Backoff,
}

impl Supervised {
    fn place(&self, actor: ActorId) -> Option<usize> {
        self.running.iter().position(|cell| cell.as_ref().is_some_and(|cell| cell.get_id() == actor))
    }

    async fn start(&mut self, myself: &ActorRef<SupervisorMessage>, place: usize) -> Result<(), ActorProcessingErr> {
        let child = &self.tree.children[place];
        match (child.start)(myself.get_cell()).await {
            Ok(cell) => {
                child.meter.live(1);
                self.tree.roster.runs(place, cell.clone());
                self.running[place] = Some(cell);
                if self.running.iter().all(Option::is_some) {
                    self.tree.health.set(Part::Actors, Ok(()));
                }
                Ok(())
            }
            Err(error) => self.failed(myself, place, &error.to_string()),
        }
    }

    /// A part has ended, or did not start: it is started again after a pause, unless that happens too often.
    fn failed(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        place: usize,
        error: &str,
    ) -> Result<(), ActorProcessingErr> {
        let (service, meter) = (self.tree.service, &self.tree.children[place].meter);
        let kind = meter.kind();
        self.running[place] = None;
        meter.live(0);
        meter.restarted();
        self.tree.health.set(Part::Actors, Err(format!("{kind}: {error}")));
        if self.tree.roster.ended(place, error) {
            tracing::info!(service, kind, "a part of the service was asked to end; starting it again");
            return Ok(myself.cast(SupervisorMessage::Start(place))?);
        }
        self.failures.retain(|failure| failure.elapsed() < PERIOD);
        self.failures.push_back(Instant::now());
        if self.failures.len() == 1 {
            self.backoff = Backoff::default();
        }
        if self.failures.len() > INTENSITY {
            let failures = format!("{} failures in {} s", self.failures.len(), PERIOD.as_secs());
            tracing::error!(service, kind, error, "{failures}: giving up");
            return Err(format!("{service}: {failures}, the last of {kind}: {error}").into());
        }
        tracing::error!(service, kind, error, "a part of the service ended; starting it again");
        myself.send_after(self.backoff.next_pause(), move || SupervisorMessage::Start(place));
        Ok(())
    }
}

#[async_trait]
impl Actor for Supervisor {
    type Msg = SupervisorMessage;
    type State = Supervised;
    type Arguments = Tree;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        tree: Tree,
    ) -> Result<Supervised, ActorProcessingErr> {
        tree.roster.begin(tree.children.iter().map(|child| child.meter.kind()));
        myself.cast(SupervisorMessage::Start(0))?;
        let running = tree.children.iter().map(|_| None).collect();
        Ok(Supervised { tree, running, failures: VecDeque::new(), backoff: Backoff::default() })
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMessage>,
        SupervisorMessage::Start(place): SupervisorMessage,
        state: &mut Supervised,
    ) -> Result<(), ActorProcessingErr> {
        if state.running[place].is_some() {
            return Ok(());
        }
        state.start(&myself, place).await?;
        // At the beginning, each part is started behind the one before it.
        let next = place + 1;
        if state.running[place].is_some() && next < state.running.len() && state.running[next].is_none() {
            myself.cast(SupervisorMessage::Start(next))?;
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        state: &mut Supervised,
    ) -> Result<(), ActorProcessingErr> {
        let (actor, error) = match event {
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
            SupervisionEvent::ActorFailed(actor, error) => (actor, error.to_string()),
            SupervisionEvent::ActorTerminated(actor, _, reason) => (actor, reason.unwrap_or_else(|| "stopped".into())),
        };
        match state.place(actor.get_id()) {
            Some(place) => state.failed(&myself, place, &error),
            None => Ok(()),
        }
    }

    /// Stops the parts, last first, each with its work done.
    async fn post_stop(
        &self,
        _: ActorRef<SupervisorMessage>,
        state: &mut Supervised,
    ) -> Result<(), ActorProcessingErr> {
        for (child, cell) in state.tree.children.iter().zip(&mut state.running).rev() {
            let Some(cell) = cell.take() else { continue };
            // One that has already ended is what is wanted.
            match &child.leave {
                Some(leave) => leave(&cell),
                None => drop(cell.drain()),
            }
            let _ = cell.wait(None).await;
        }
        Ok(())
    }
}
