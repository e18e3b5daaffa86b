//! A process: one replica of one service, from its start to its end.

use super::world::World;
use contracts::Timestamp;
use e2e::api::Service;
use ractor::ActorRef;
use runtime::actors::supervisor::SupervisorMessage;
use runtime::clock::Clock;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// It does.
    Running,
    /// It was stopped in the middle of everything and may be continued.
    Frozen,
    /// It was killed, or has ended.
    Dead,
}

/// One replica of one service, from its start to its end.
pub(super) struct Process {
    pub(super) service: Service,
    pub(super) replica: usize,
    /// How often this replica was started before.
    pub(super) incarnation: u32,
    condition: watch::Sender<Condition>,
    /// It is asked to end as soon as it is in the middle of something.
    pub(super) to_end: AtomicBool,
    /// It was asked to end.
    pub(super) draining: AtomicBool,
    /// Whom to ask.
    pub(super) supervisor: OnceLock<ActorRef<SupervisorMessage>>,
    /// It has talked to the broker, and knows the topics.
    pub(super) knows_topics: AtomicBool,
    /// How far its clock is from the simulation's, in milliseconds.
    pub(super) clock_is_off: AtomicI64,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.service.name().trim_end_matches("-service");
        write!(f, "{name} {}.{}", self.replica, self.incarnation)
    }
}

impl Process {
    pub(super) fn new(service: Service, replica: usize, incarnation: u32) -> Self {
        Process {
            service,
            replica,
            incarnation,
            condition: watch::Sender::new(Condition::Running),
            to_end: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            supervisor: OnceLock::new(),
            knows_topics: AtomicBool::new(false),
            clock_is_off: AtomicI64::new(0),
        }
    }

    pub(super) fn condition(&self) -> Condition {
        *self.condition.borrow()
    }

    pub(super) fn is_running(&self) -> bool {
        self.condition() == Condition::Running
    }

    /// Changes the condition; the dead stay dead. Returns whether anything changed.
    pub(super) fn set(&self, to: Condition) -> bool {
        self.condition.send_if_modified(|now| {
            let changes = *now != Condition::Dead && *now != to;
            if changes {
                *now = to;
            }
            changes
        })
    }

    /// Passes while the process runs: waits while it is frozen, and for ever when it is dead.
    pub(super) async fn gate(&self) {
        if !self.is_running() {
            // The sender is here, so this ends only in the condition that is waited for.
            let _ = self.condition.subscribe().wait_for(|now| *now == Condition::Running).await;
        }
    }
}

/// The clock of a process: its database's, as the process knows it.
pub(super) struct SimClock {
    pub(super) world: Arc<World>,
    pub(super) process: Arc<Process>,
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.world.timestamp().plus_millis(self.process.clock_is_off.load(Ordering::Relaxed))
    }
}
