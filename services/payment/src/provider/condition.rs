//! Whether the provider is there, as far as the last calls tell.

use super::NoOutcome;
use runtime::health::{Health, Part};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Calls in a row without an answer, over all payments, after which the provider is away.
const ENOUGH: u32 = 5;
/// How long the service waits for those that it is asking for already, before it lets new payments try. What goes
/// wrong may be a few payments' own, and with them alone, or with none, nobody would ever learn that the provider is there.
const WAIT: Duration = Duration::from_secs(5);

/// The provider's condition, which the service's health shows. While it is away, no new orders are read.
#[derive(Clone)]
pub struct Condition {
    health: Arc<Health>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Calls in a row without an answer, as far as they count.
    in_vain: u32,
    away: Option<Away>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Away {
    /// Since this moment nothing is read.
    Since(Instant),
    /// What is read tries it.
    OnTrial,
}

impl Condition {
    /// Of a provider that was not asked yet.
    pub fn new(health: Arc<Health>) -> Self {
        health.set(Part::Provider, Ok(()));
        Condition { health, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the provider has answered.
    pub fn answered(&self) {
        let mut state = self.state();
        if state.away.is_some() {
            tracing::info!("the payment provider is back");
            self.health.set(Part::Provider, Ok(()));
        }
        *state = State::default();
    }

    /// Notes that the provider has not answered.
    pub fn silent(&self, why: &NoOutcome) {
        let mut state = self.state();
        if matches!(state.away, Some(Away::Since(_))) {
            return;
        }
        state.in_vain += 1;
        if state.in_vain >= ENOUGH {
            tracing::error!(error = why.error, "the payment provider is away; no new orders are read");
            let away = Away::Since(Instant::now());
            *state = State { in_vain: 0, away: Some(away) };
            self.health.set(Part::Provider, Err(why.error.clone()));
            let condition = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(WAIT).await;
                condition.try_again(away);
            });
        }
    }

    fn try_again(&self, away: Away) {
        let mut state = self.state();
        if state.away == Some(away) {
            tracing::info!("the payment provider is still away; new orders are read to try it with");
            state.away = Some(Away::OnTrial);
            self.health.try_provider();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn five_calls_in_vain_are_away_and_an_answer_is_back() {
        let health = Arc::new(Health::starting("test", false));
        let condition = Condition::new(Arc::clone(&health));
        let silent = |times: u32| {
            (0..times).for_each(|_| condition.silent(&NoOutcome::away("timeout")));
            (health.is_well(Part::Provider), health.may_read())
        };
        let after = async |time: Duration| {
            tokio::time::sleep(time).await;
            (health.is_well(Part::Provider), health.may_read())
        };
        assert_eq!(silent(4), (true, true));
        condition.answered();
        assert_eq!(silent(4), (true, true), "not five in a row");
        assert_eq!(silent(1), (false, false));
        assert_eq!(silent(9), (false, false));
        assert_eq!(after(WAIT / 2).await, (false, false));
        assert_eq!(after(WAIT).await, (false, true), "new payments may try, and it is away all the same");
        assert_eq!(silent(5), (false, false), "in vain");
        assert_eq!(after(WAIT * 2).await, (false, true), "once more, though nobody asks any more");
        assert_eq!(silent(5), (false, false));
        condition.answered();
        assert_eq!(silent(4), (true, true), "back");
        assert_eq!(after(WAIT * 2).await, (true, true));
    }
}
