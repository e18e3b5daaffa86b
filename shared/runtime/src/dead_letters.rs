//! The dead letters of a service's own consumer group: kept as rows, shown, and sent again or discarded by people.
//!
//! The log is where they are written, by whatever program; a reader takes them from there into the service's own
//! database, and the same part sends those again that somebody wants sent. A wish is committed first, then the message
//! is published, and then the row says so: whatever is cut off is done again from the row, which costs a duplicate on
//! the topic at most.

pub mod actor;
pub mod letter;
pub mod store;

use crate::actors::Wiring;
use crate::actors::mailbox::Meter;
use crate::actors::supervisor::Child;
use crate::clock::Clock;
use crate::database::Database;
use crate::event_log::EventLog;
use crate::saga::Saga;
use actor::{Reader, ReaderMessage};
use std::sync::Arc;
use tokio::sync::Notify;

/// What the reader and the routes of one service's dead letters share.
pub struct DeadLetters {
    /// Whose they are: the service, and its consumer group.
    pub service: &'static str,
    /// The topics that the service reads.
    pub topics: Vec<String>,
    /// Where they are kept.
    pub database: Database,
    /// Where they come from and go to.
    pub log: Arc<dyn EventLog>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Somebody wants one sent.
    pub wanted: Notify,
    /// What is measured of the reader.
    pub meter: Meter,
}

impl DeadLetters {
    /// Those of this service.
    pub fn of<S: Saga>(wiring: &Wiring<S>, database: Database) -> Arc<Self> {
        Arc::new(DeadLetters {
            service: S::SERVICE,
            topics: S::READS.iter().map(|event_type| event_type.topic().to_owned()).collect(),
            database,
            log: Arc::clone(&wiring.log),
            clock: Arc::clone(&wiring.clock),
            wanted: Notify::new(),
            meter: Meter::of(S::SERVICE, "dead-letters"),
        })
    }

    /// The reader, supervised.
    pub fn child(self: &Arc<Self>) -> Child {
        let (letters, meter) = (Arc::clone(self), self.meter.clone());
        Child::new(&self.meter, move || Reader(Arc::clone(&letters)), |_| {}).leaving(move |cell| {
            // A part that is gone has ended.
            let _ = meter.mailbox::<ReaderMessage>(cell.clone().into()).cast(ReaderMessage::Leave);
        })
    }
}
