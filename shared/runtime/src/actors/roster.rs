//! How each part of a service stands: written by the supervisor, read by who shows it.

use ractor::ActorCell;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use strum::IntoStaticStr;

/// The parts of one service, in the order of their start.
#[derive(Debug, Default)]
pub struct Roster(Mutex<Vec<Entry>>);

/// One part.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is.
    pub kind: &'static str,
    /// How it stands.
    pub state: State,
    /// When it came to stand so.
    pub since: Instant,
    /// How often it was started again.
    pub restarts: u64,
    /// Why it ended the last time.
    pub last_error: Option<String>,
    /// Somebody asked for its end.
    asked: bool,
}

/// How a part stands.
#[derive(Clone, Debug, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// It has not been started yet.
    Starting,
    /// It runs.
    Running(ActorCell),
    /// It has ended and is about to be started again.
    Restarting,
}

/// There is no such part, or it does not run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRestarted {
    /// The service has no part of this kind.
    Unknown,
    /// It is being started already.
    NotRunning,
}

/// How long an ended part is waited for: it may be in the middle of a message.
const END: Duration = Duration::from_secs(1);

impl Roster {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These parts are about to be started.
    pub(super) fn begin(&self, kinds: impl Iterator<Item = &'static str>) {
        let starting = |kind| Entry {
            kind,
            state: State::Starting,
            since: Instant::now(),
            restarts: 0,
            last_error: None,
            asked: false,
        };
        *self.entries() = kinds.map(starting).collect();
    }

    /// This part runs.
    pub(super) fn runs(&self, place: usize, cell: ActorCell) {
        if let Some(entry) = self.entries().get_mut(place) {
            entry.state = State::Running(cell);
            entry.since = Instant::now();
        }
    }

    /// This part has ended, or did not start. Whether somebody had asked for that.
    pub(super) fn ended(&self, place: usize, error: &str) -> bool {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(place) else { return false };
        entry.state = State::Restarting;
        entry.since = Instant::now();
        entry.restarts += 1;
        let asked = std::mem::take(&mut entry.asked);
        entry.last_error = Some(if asked { "somebody asked for it".to_owned() } else { error.to_owned() });
        asked
    }

    /// Every part, in the order of their start.
    pub fn report(&self) -> Vec<Entry> {
        self.entries().clone()
    }

    /// Ends a part, whatever it is at, so that its supervisor starts it again. What it had in hand comes again, as
    /// after a crash.
    pub async fn restart(&self, kind: &str) -> Result<(), NotRestarted> {
        let state = {
            let mut entries = self.entries();
            let entry = entries.iter_mut().find(|entry| entry.kind == kind).ok_or(NotRestarted::Unknown)?;
            entry.asked = matches!(entry.state, State::Running(_));
            entry.state.clone()
        };
        match state {
            State::Starting | State::Restarting => Err(NotRestarted::NotRunning),
            State::Running(cell) => {
                // One that does not end in time ends when it comes to it.
                let _ = cell.kill_and_wait(Some(END)).await;
                Ok(())
            }
        }
    }
}
