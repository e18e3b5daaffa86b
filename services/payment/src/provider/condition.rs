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
    /// Calls in a row without an answer, as far as they count.
    in_vain: u32,
    away: Option<Away>,
}

enum Away {
    /// Since this moment nothing is read.
    Since(Timestamp),
    /// What is read tries it.
    OnTrial,
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
        if state.away.is_some() {
            tracing::info!("the payment provider is back");
            self.health.set(Part::Provider, Ok(()));
        }
        *state = State::default();
    }

    /// Notes that the provider has not answered, as of `now`.
    pub fn silent(&self, why: &NoOutcome, now: Timestamp) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.away {
            None | Some(Away::OnTrial) => {
                state.in_vain += 1;
                if state.in_vain >= ENOUGH {
                    tracing::error!(error = why.error, "the payment provider is away; no new orders are read");
                    *state = State { in_vain: 0, away: Some(Away::Since(now)) };
                    self.health.set(Part::Provider, Err(why.error.clone()));
                }
            }
            Some(Away::Since(since)) if now >= since.plus_millis(WAIT_MS) => {
                tracing::info!("the payment provider is still away; new orders are read to try it with");
                state.away = Some(Away::OnTrial);
                self.health.try_provider();
            }
            Some(Away::Since(_)) => {}
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
            (health.is_well(Part::Provider), health.may_read())
        };
        assert_eq!(silent(4, 0), (true, true));
        condition.answered();
        assert_eq!(silent(4, 0), (true, true), "not five in a row");
        assert_eq!(silent(1, 0), (false, false));
        assert_eq!(silent(9, WAIT_MS * 1_000 - 1), (false, false));
        assert_eq!(silent(1, WAIT_MS * 1_000), (false, true), "new payments may try, and it is away all the same");
        assert_eq!(silent(5, WAIT_MS * 1_000), (false, false), "in vain");
        assert_eq!(silent(1, 2 * WAIT_MS * 1_000), (false, true), "once more");
        condition.answered();
        assert_eq!(silent(4, 0), (true, true), "back");
    }
}
