//! What time it is.

use contracts::Timestamp;
use std::sync::{PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// A source of the current time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The computer's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// A clock that was set once or from time to time, and runs by itself in between. A jump of the computer's clock does
/// not move it.
#[derive(Debug)]
pub struct SetClock(RwLock<(Timestamp, Instant)>);

impl SetClock {
    /// It is this time now.
    pub fn new(now: Timestamp) -> Self {
        SetClock(RwLock::new((now, Instant::now())))
    }

    /// It is this time now.
    pub fn set(&self, now: Timestamp) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = (now, Instant::now());
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        let (set, at) = *self.0.read().unwrap_or_else(PoisonError::into_inner);
        Timestamp(set.0.saturating_add(i64::try_from(at.elapsed().as_micros()).unwrap_or(i64::MAX)))
    }
}
