//! What a service knows of its own condition.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// A part of a service that can be well or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The service's own database.
    Database,
    /// The subscription to the event log.
    EventLog,
    /// The supervised actors.
    Actors,
}

impl Part {
    /// The part's name in the readiness report.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Database => "database",
            Part::EventLog => "eventLog",
            Part::Actors => "actors",
        }
    }
}

/// The condition of every part: `Err` with the reason where it is not well.
#[derive(Debug)]
pub struct Health(Mutex<BTreeMap<Part, Result<(), String>>>);

impl Default for Health {
    fn default() -> Self {
        let starting = || Err("starting".to_owned());
        let parts = [(Part::Database, Ok(())), (Part::EventLog, starting()), (Part::Actors, starting())];
        Health(Mutex::new(parts.into()))
    }
}

impl Health {
    /// Notes a part's condition.
    pub fn set(&self, part: Part, condition: Result<(), String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(part, condition);
    }

    /// Whether this part is well.
    pub fn is_well(&self, part: Part) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&part).is_some_and(Result::is_ok)
    }

    /// Every part's condition.
    pub fn report(&self) -> BTreeMap<Part, Result<(), String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
