//! Pauses between attempts: doubling, with full jitter, so that many who wait do not come back at once.
//! <https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>

use std::time::Duration;

/// The pauses of one series of attempts.
#[derive(Clone, Debug)]
pub struct Backoff {
    ceiling: Duration,
    max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { ceiling: Duration::from_millis(50), max: Duration::from_secs(2) }
    }
}

impl Backoff {
    /// Begins with pauses of up to `first`, and doubles up to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Backoff { ceiling: first, max }
    }

    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        // Seeded in the simulation, so that a run can be repeated.
        let pause = self.ceiling * fastrand::u32(0..=0xffff) / 0xffff;
        self.ceiling = (self.ceiling * 2).min(self.max);
        pause
    }

    /// Waits for the next pause.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_pause()).await;
    }
}
