//! Faults on demand: rules that say which requests go wrong, and how.

use crate::ledger::Kind;
use fastrand::Rng;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How a request goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is done, and answered too late.
    TimeoutAfter(Duration),
    /// It is not done, and answered 504, late.
    TimeoutBefore(Duration),
    /// It is not done, and answered 500.
    Error500,
    /// It is not done, and answered 429.
    TooMany,
    /// It is done late, and answered.
    Slow(Duration),
}

/// Which requests go wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Charges, refunds, or (`None`) both.
    pub on: Option<Kind>,
    /// Only those of this customer, if it is set.
    pub customer_id: Option<String>,
    /// How.
    pub fault: Fault,
    /// How many of a hundred.
    pub percent: u8,
    /// No more than so many, if it is set.
    pub times: Option<u32>,
    /// How many it was so far.
    pub fired: u32,
}

/// The rules in force. The first one that fires decides.
#[derive(Debug)]
pub struct Faults(Mutex<State>);

#[derive(Debug)]
struct State {
    rules: Vec<Rule>,
    random: Rng,
}

impl Faults {
    /// No rules; what chance decides is a function of the seed and of the requests so far.
    pub fn new(seed: u64) -> Self {
        Faults(Mutex::new(State { rules: Vec::new(), random: Rng::with_seed(seed) }))
    }

    /// Puts these rules in place of those before.
    pub fn set(&self, rules: Vec<Rule>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).rules = rules;
    }

    /// The rules, with how often each has fired.
    pub fn rules(&self) -> Vec<Rule> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).rules.clone()
    }

    /// What goes wrong with the next request, if anything does.
    pub fn draw(&self, kind: Kind, customer_id: &str) -> Option<Fault> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { rules, random } = &mut *state;
        let rule = rules.iter_mut().find(|rule| {
            rule.on.is_none_or(|on| on == kind)
                && rule.customer_id.as_deref().is_none_or(|theirs| theirs == customer_id)
                && rule.times.is_none_or(|times| rule.fired < times)
                && random.u8(..100) < rule.percent
        })?;
        rule.fired = rule.fired.saturating_add(1);
        Some(rule.fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(percent: u8, times: Option<u32>) -> Rule {
        Rule { on: Some(Kind::Charge), customer_id: None, fault: Fault::Error500, percent, times, fired: 0 }
    }

    #[test]
    fn a_rule_fires_as_often_as_it_says() {
        let faults = Faults::new(1);
        faults.set(vec![rule(100, Some(2))]);
        assert_eq!(faults.draw(Kind::Refund, "c"), None, "it is for charges");
        let drawn: Vec<bool> = (0..4).map(|_| faults.draw(Kind::Charge, "c").is_some()).collect();
        assert_eq!(drawn, [true, true, false, false]);
        assert_eq!(faults.rules()[0].fired, 2);
    }

    #[test]
    fn the_first_rule_that_fires_decides() {
        let faults = Faults::new(1);
        let theirs = Rule { customer_id: Some("theirs".into()), fault: Fault::TooMany, ..rule(100, None) };
        faults.set(vec![theirs, rule(100, None)]);
        assert_eq!(faults.draw(Kind::Charge, "theirs"), Some(Fault::TooMany));
        assert_eq!(faults.draw(Kind::Charge, "other"), Some(Fault::Error500));
    }

    #[test]
    fn chance_is_a_function_of_the_seed() {
        let drawn = |seed: u64| -> Vec<bool> {
            let faults = Faults::new(seed);
            faults.set(vec![rule(30, None)]);
            (0..1_000).map(|_| faults.draw(Kind::Charge, "c").is_some()).collect()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        let fired = drawn(7).into_iter().filter(|fired| *fired).count();
        assert!((200..400).contains(&fired), "{fired} of 1000 at 30 percent");
    }
}
