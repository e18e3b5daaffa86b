//! What everything in a simulated run shares: the time, the chance, the story, and the state of the outside.

use super::client;
use super::foreign::ForeignBooks;
use super::kept::Databases;
use super::ledger::Ledger;
use super::log::Log;
use super::mutation::Mutation;
use super::plan::{PerMille, Plan};
use super::point::Point;
use super::process::{Condition, Process};
use super::story::Story;
use super::tally::Tally;
use super::watch::Watch;
use contracts::{OrderId, Timestamp};
use e2e::api::Service;
use fastrand::Rng;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

/// When every run begins, in microseconds since 1970.
const EPOCH: i64 = 1_700_000_000_000_000;
/// How long a process may take to end in order.
const DRAIN: Duration = Duration::from_secs(9);
/// How long a group keeps a member that is not heard of.
const SESSION: Duration = Duration::from_secs(6);

/// What changes in the course of a run.
pub(super) struct State {
    pub(super) rng: Rng,
    pub(super) story: Story,
    pub(super) tally: Tally,
    pub(super) log: Log,
    pub(super) ledger: Ledger,
    pub(super) watch: Watch,
    /// What somebody else's services know.
    pub(super) foreign: ForeignBooks,
    /// Databases that do not answer.
    pub(super) away: BTreeSet<Service>,
    /// Nothing goes wrong any more.
    pub(super) healed: bool,
    crashes_left: u32,
}

impl State {
    /// Whether something that happens so often happens now.
    pub(super) fn chance(&mut self, share: PerMille) -> bool {
        share > 0 && !self.healed && self.rng.u32(0..1_000) < share
    }
}

/// One simulated run.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) databases: Databases,
    started: Instant,
    state: Mutex<State>,
    ended: mpsc::UnboundedSender<(Service, usize)>,
}

impl World {
    /// A world, and where it says which replicas are to be started again.
    pub(super) fn new(plan: Plan) -> (Arc<Self>, mpsc::UnboundedReceiver<(Service, usize)>) {
        let (ended, endings) = mpsc::unbounded_channel();
        let state = State {
            rng: Rng::with_seed(plan.seed ^ 0x2545_f491_4f6c_dd1d),
            story: Story::default(),
            tally: Tally::default(),
            log: Log::new(plan.partitions),
            ledger: Ledger::default(),
            watch: Watch::default(),
            foreign: ForeignBooks::default(),
            away: BTreeSet::new(),
            healed: false,
            crashes_left: plan.faults.crashes,
        };
        let databases = Databases::new(plan.stock);
        let world = World { plan, databases, started: Instant::now(), state: Mutex::new(state), ended };
        (Arc::new(world), endings)
    }

    /// Looks at the state, or changes it.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Virtual milliseconds since the beginning.
    pub(super) fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What time it is for a clock that is right.
    pub(super) fn timestamp(&self) -> Timestamp {
        Timestamp(EPOCH).plus_millis(i64::try_from(self.millis()).unwrap_or(i64::MAX))
    }

    /// Whether this is what our services lack, for once.
    pub(super) fn lacks(&self, mutation: Mutation) -> bool {
        self.plan.mutation == Some(mutation)
    }

    /// A number from 0 up to this one.
    pub(super) fn draw(&self, most: u64) -> u64 {
        self.with(|state| state.rng.u64(0..=most))
    }

    /// Whether something that happens so often happens now.
    pub(super) fn chance(&self, share: PerMille) -> bool {
        self.with(|state| state.chance(share))
    }

    /// An id that was not there before.
    pub(super) fn new_id(&self) -> Uuid {
        self.with(|state| Uuid::from_u128(state.rng.u128(1..)))
    }

    /// Writes a line of the story.
    pub(super) fn tell(&self, who: &dyn Display, order: Option<OrderId>, what: String) {
        let at = self.millis();
        self.with(|state| state.story.add(at, who, order, what));
    }

    /// Counts something.
    pub(super) fn count(&self, what: &str) {
        self.with(|state| state.tally.count(what));
    }

    /// Waits up to so many virtual milliseconds, as everything outside takes its time.
    pub(super) async fn pause(&self, most: u64) {
        match self.draw(most) {
            0 => tokio::task::yield_now().await,
            millis => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
    }

    /// A process comes to a point, where it may be killed.
    pub(super) async fn pass(self: &Arc<Self>, process: &Arc<Process>, point: Point) {
        process.gate().await;
        if process.to_end.swap(false, Ordering::Relaxed) {
            self.stop(process);
        }
        let point = if process.draining.load(Ordering::Relaxed) { Point::InDrain } else { point };
        let faults = &self.plan.faults;
        let is_crash = self.with(|state| {
            state.tally.pass(point);
            let share = faults.focus.filter(|(focus, _)| *focus == point).map_or(faults.crash, |(_, share)| share);
            let is_crash = state.crashes_left > 0 && state.chance(share);
            state.crashes_left -= u32::from(is_crash);
            is_crash
        });
        if is_crash {
            self.with(|state| state.tally.crash(point));
            self.kill(process, &format!("killed at {point:?}"));
        }
        process.gate().await;
    }

    /// Kills a process. It is started again some time later.
    pub(super) fn kill(self: &Arc<Self>, process: &Arc<Process>, how: &str) {
        if process.set(Condition::Dead) {
            self.tell(process, None, how.to_owned());
            self.count("processes killed");
            self.expire(process);
            // Nobody listens any more at the end of a run.
            let _ = self.ended.send((process.service, process.replica));
        }
    }

    /// Asks a process to end with its work done.
    pub(super) fn stop(self: &Arc<Self>, process: &Arc<Process>) {
        let Some(supervisor) = process.supervisor.get() else { return };
        if process.draining.swap(true, Ordering::Relaxed) {
            return;
        }
        self.tell(process, None, "is asked to end".to_owned());
        self.count("processes stopped");
        supervisor.stop(None);
        let (world, process) = (Arc::clone(self), Arc::clone(process));
        tokio::spawn(async move {
            tokio::time::sleep(DRAIN).await;
            world.kill(&process, "ends with work undone");
        });
    }

    /// Stops a process in the middle of everything.
    pub(super) fn freeze(self: &Arc<Self>, process: &Arc<Process>) {
        if process.set(Condition::Frozen) {
            self.tell(process, None, "frozen".to_owned());
            self.count("processes frozen");
            self.expire(process);
        }
    }

    /// Takes a process that is not heard of any more from its group, in time.
    fn expire(self: &Arc<Self>, process: &Arc<Process>) {
        let (world, process) = (Arc::clone(self), Arc::clone(process));
        tokio::spawn(async move {
            tokio::time::sleep(SESSION).await;
            if !process.is_running() {
                client::evict(&world, &process);
            }
        });
    }

    /// A panic of the process's part that is being called, if it is to be.
    pub(super) fn panic(&self, process: &Process) {
        let panics = !process.draining.load(Ordering::Relaxed) && self.chance(self.plan.faults.panic);
        if panics {
            self.tell(process, None, "a part panics".to_owned());
            self.count("parts panicked");
            panic!("the simulation wants a panic");
        }
    }
}
