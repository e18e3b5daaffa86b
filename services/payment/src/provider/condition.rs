//! Whether the provider is there, as far as the last calls tell.

use super::NoOutcome;
use contracts::Timestamp;
use runtime::health::{Health, Part};
use std::sync::{Arc, Mutex, PoisonError};

/// Calls in a row without an answer, over all payments, after which the provider is away.
const ENOUGH: u32 = 5;
/// How long the service waits for those that it is asking for already, before it lets new payments try. What goes
/// wrong may be a few payments' own, and with them alone nobody would ever learn that the provider is there.
const WAIT_MS: i64 = 5_000;

/// The provider's condition, which the service's health shows. While it is away, no new orders are read.
pub struct Condition {
    health: Arc<Health>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    in_vain: u32,
    away_since: Option<Timestamp>,
}

impl Condition {
    /// Of a provider that was not asked yet.
    pub fn new(health: Arc<Health>) -> Self {
        health.set(Part::Provider, Ok(()));
        Condition { health, state: Mutex::default() }
    }

    /// Notes that the provider has answered.
    pub fn answered(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.away_since.is_some() {
            tracing::info!("the payment provider is back");
            self.health.set(Part::Provider, Ok(()));
        }
        *state = State::default();
    }

    /// Notes that the provider has not answered, as of `now`.
    pub fn silent(&self, why: &NoOutcome, now: Timestamp) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.away_since {
            None => {
                state.in_vain += 1;
                if state.in_vain >= ENOUGH {
                    tracing::error!(error = why.error, "the payment provider is away; no new orders are read");
                    state.away_since = Some(now);
                    self.health.set(Part::Provider, Err(why.error.clone()));
                }
            }
            Some(since) if now >= since.plus_millis(WAIT_MS) => {
                tracing::info!("the payment provider is still away; new orders are read to try it with");
                *state = State::default();
                self.health.set(Part::Provider, Ok(()));
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_calls_in_vain_are_away_and_an_answer_is_back() {
        let health = Arc::new(Health::starting("test", false));
        let condition = Condition::new(Arc::clone(&health));
        let silent = |times: u32, at: i64| {
            for _ in 0..times {
                condition.silent(&NoOutcome::away("timeout"), Timestamp(at));
            }
            health.is_well(Part::Provider)
        };
        assert!(silent(4, 0));
        condition.answered();
        assert!(silent(4, 0), "not five in a row");
        assert!(!silent(1, 0));
        assert!(!silent(9, WAIT_MS * 1_000 - 1));
        assert!(silent(1, WAIT_MS * 1_000), "new payments may try");
        assert!(!silent(5, WAIT_MS * 1_000), "in vain");
        condition.answered();
        assert!(health.is_well(Part::Provider));
    }
}
