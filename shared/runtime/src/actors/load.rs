//! How much is waiting, and for whom.

use crate::store::Backlog;
use contracts::Timestamp;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long the database may take for an answer before it is taken to be away.
const SILENT: Duration = Duration::from_millis(2_500);

/// How far the database's clock may go back when it is read again, and nothing is wrong, in milliseconds.
const CLOCK_ERROR: i64 = 10_000;

/// How much is waiting, as it was last counted, and what that says of the log; and whether the database answers.
#[derive(Debug, Default)]
pub struct Load {
    waiting: AtomicU64,
    unsent: AtomicU64,
    log_was_away_at: AtomicI64,
    /// Since when the database has been asked and has not answered.
    asked_at: Mutex<Option<Instant>>,
    /// It was said that it does not answer.
    was_silent: AtomicBool,
}

impl Load {
    /// Notes a count.
    pub fn set(&self, backlog: Backlog) {
        self.waiting.store(backlog.waiting, Ordering::Relaxed);
        self.unsent.store(backlog.unsent, Ordering::Relaxed);
    }

    /// The database is asked for something small.
    pub fn asks(&self) {
        self.asked_at.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
    }

    /// It has answered. Whether it was taken to be silent until now.
    pub fn is_answered(&self) -> bool {
        *self.asked_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.was_silent.swap(false, Ordering::Relaxed)
    }

    /// How long the database has been silent, if that is too long.
    pub fn silence(&self) -> Option<Duration> {
        let asked_at = *self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = asked_at.map(|asked| asked.elapsed()).filter(|silence| *silence > SILENT);
        if silence.is_some() {
            self.was_silent.store(true, Ordering::Relaxed);
        }
        silence
    }

    /// Notes that until this moment the log took nothing, or not soon.
    pub fn note_log_away(&self, until: Timestamp) {
        self.log_was_away_at.store(until.0, Ordering::Relaxed);
    }

    /// When the log last took nothing, or not soon, if it ever did. A moment that is yet to come was noted before the
    /// database's clock went back, and says nothing.
    pub fn log_was_away_at(&self, now: Timestamp) -> Option<Timestamp> {
        let at = Timestamp(self.log_was_away_at.load(Ordering::Relaxed));
        (at > Timestamp::default() && at < now.plus_millis(CLOCK_ERROR)).then_some(at)
    }

    /// Orders that are under way at the other services: with something due, and nothing in the outbox.
    pub fn under_way(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed).saturating_sub(self.unsent.load(Ordering::Relaxed))
    }
}
