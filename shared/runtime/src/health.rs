//! What a service knows of its own condition.

use metrics::gauge;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use strum::IntoStaticStr;
use tokio::sync::watch;

/// A part of a service that can be well or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "camelCase")]
pub enum Part {
    /// The service's own database.
    Database,
    /// The subscription to the event log.
    EventLog,
    /// The supervised actors.
    Actors,
    /// Who does what the saga wants done outside, such as a payment provider. Only a service that has one reports it.
    Provider,
    /// Room for events that the log has not taken yet.
    Outbox,
    /// Whether messages that were begun come to their end.
    Progress,
}

impl Part {
    /// The part's name in the readiness report.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Up, or up in part, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// All is well.
    Up,
    /// It works, but not all of it is well.
    Degraded,
    /// It does not work now.
    Down,
}

/// The condition of every part: `Err` with the reason where it is not well.
#[derive(Debug)]
pub struct Health {
    parts: Mutex<BTreeMap<Part, Result<(), String>>>,
    may_read: watch::Sender<bool>,
    /// The provider is away, and what is read now may be what it is tried with.
    provider_on_trial: AtomicBool,
    /// The database's last answer to a write was that it cannot be done now.
    writes_fail: AtomicBool,
    service: &'static str,
    works_without_log: bool,
}

impl Health {
    /// Of a service that is starting. `works_without_log`: whether it can do its work, at least for a while, without
    /// the event log, as order-service can that accepts orders.
    pub fn starting(service: &'static str, works_without_log: bool) -> Self {
        let starting = || Err("starting".to_owned());
        let parts = [
            (Part::Database, Ok(())),
            (Part::EventLog, starting()),
            (Part::Actors, starting()),
            (Part::Outbox, Ok(())),
            (Part::Progress, Ok(())),
        ];
        let parts = BTreeMap::from(parts);
        let may_read = watch::Sender::new(true);
        let health = Health {
            parts: Mutex::new(parts.clone()),
            may_read,
            provider_on_trial: AtomicBool::new(false),
            writes_fail: AtomicBool::new(false),
            service,
            works_without_log,
        };
        parts.into_keys().for_each(|part| health.measure(part));
        health
    }

    fn measure(&self, part: Part) {
        let as_number = |is_well| if is_well { 1.0 } else { 0.0 };
        gauge!("service_part_up", "service" => self.service, "part" => part.name()).set(as_number(self.is_well(part)));
        gauge!("service_ready", "service" => self.service).set(as_number(self.is_ready()));
    }

    /// Notes a part's condition.
    pub fn set(&self, part: Part, condition: Result<(), String>) {
        let is_well = condition.is_ok();
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let was_well = parts.insert(part, condition).is_some_and(|before| before.is_ok());
        drop(parts);
        if part == Part::Provider {
            self.provider_on_trial.store(false, Ordering::Relaxed);
        }
        self.let_read();
        if is_well != was_well {
            self.measure(part);
        }
    }

    /// Notes how the database has answered a write.
    pub fn note_write(&self, answer: Result<(), String>) {
        self.writes_fail.store(answer.is_err(), Ordering::Relaxed);
        self.set(Part::Database, answer);
    }

    /// Notes how the database has answered a read. One that answers and does not write is not well: its disk may be full.
    pub fn note_read(&self, answer: Result<(), String>) {
        if answer.is_err() || !self.writes_fail.load(Ordering::Relaxed) {
            self.set(Part::Database, answer);
        }
    }

    /// Lets what is read try the provider, which is away, until its condition is set again.
    pub fn try_provider(&self) {
        self.provider_on_trial.store(true, Ordering::Relaxed);
        self.let_read();
    }

    fn let_read(&self) {
        let provider = self.is_well(Part::Provider) || self.provider_on_trial.load(Ordering::Relaxed);
        let may_read = provider && self.is_well(Part::Database);
        self.may_read.send_if_modified(|before| std::mem::replace(before, may_read) != may_read);
    }

    /// Up, or up in part, or not.
    pub fn status(&self) -> Status {
        if !self.is_ready() {
            Status::Down
        } else if !self.is_well(Part::EventLog) {
            Status::Degraded
        } else {
            Status::Up
        }
    }

    /// Whether this part is well, as what the service does not have always is.
    pub fn is_well(&self, part: Part) -> bool {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).get(&part).is_none_or(Result::is_ok)
    }

    /// Whether the service can do its work.
    pub fn is_ready(&self) -> bool {
        let needed = [Part::Database, Part::Actors, Part::Provider, Part::Outbox, Part::Progress];
        needed.into_iter().all(|part| self.is_well(part)) && (self.works_without_log || self.is_well(Part::EventLog))
    }

    /// Whether a message that is read now could be dealt with: not while the database or the provider is away. Meanwhile
    /// the log holds what comes.
    pub fn may_read(&self) -> bool {
        *self.may_read.borrow()
    }

    /// Waits for [`Self::may_read`].
    pub async fn until_reading_helps(&self) {
        if self.may_read() {
            return;
        }
        // The sender is here, so this cannot fail.
        let _ = self.may_read.subscribe().wait_for(|may_read| *may_read).await;
    }

    /// Every part's condition.
    pub fn report(&self) -> BTreeMap<Part, Result<(), String>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_read_and_not_written_is_not_well() {
        let health = Health::starting("test", true);
        let is_well = || (health.is_well(Part::Database), health.may_read());
        health.note_write(Err("the disk is full".into()));
        health.note_read(Ok(()));
        assert_eq!(is_well(), (false, false));
        health.note_write(Ok(()));
        assert_eq!(is_well(), (true, true));
        health.note_read(Err("away".into()));
        assert_eq!(is_well(), (false, false));
        health.note_read(Ok(()));
        assert_eq!(is_well(), (true, true));
    }
}
