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
pub struct Health {
    parts: Mutex<BTreeMap<Part, Result<(), String>>>,
    works_without_log: bool,
}

impl Health {
    /// Of a service that is starting. `works_without_log`: whether it can do its work, at least for a while, without
    /// the event log, as order-service can that accepts orders.
    pub fn starting(works_without_log: bool) -> Self {
        let starting = || Err("starting".to_owned());
        let parts = [(Part::Database, Ok(())), (Part::EventLog, starting()), (Part::Actors, starting())];
        Health { parts: Mutex::new(parts.into()), works_without_log }
    }

    /// Notes a part's condition.
    pub fn set(&self, part: Part, condition: Result<(), String>) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(part, condition);
    }

    /// Whether this part is well.
    pub fn is_well(&self, part: Part) -> bool {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).get(&part).is_some_and(Result::is_ok)
    }

    /// Whether the service can do its work.
    pub fn is_ready(&self) -> bool {
        self.is_well(Part::Database)
            && self.is_well(Part::Actors)
            && (self.works_without_log || self.is_well(Part::EventLog))
    }

    /// Every part's condition.
    pub fn report(&self) -> BTreeMap<Part, Result<(), String>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
