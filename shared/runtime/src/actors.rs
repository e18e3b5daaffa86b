//! The actors that every service is made of, and how they are wired.
//!
//! ```text
//! event log → consumer → router → order actor ─decide─→ journal ─one transaction for many orders─→ database
//!                ↑ offsets             ↑ committed ───────┘ └─ outbox rows → publisher → event log
//! HTTP ────────────────→ router                               timers → due orders → router
//! ```

pub mod address;
pub mod consumer;
pub mod group_commit;
pub mod journal;
pub mod load;
pub mod mailbox;
pub mod order;
pub mod outside;
pub mod ownership;
pub mod publisher;
pub mod roster;
pub mod router;
pub mod supervisor;
pub mod timers;

use crate::clock::Clock;
use crate::event_log::EventLog;
use crate::health::Health;
use crate::saga::{Caused, Saga};
use crate::store::Store;
use address::{Address, Unavailable};
use consumer::{Attempts, Consumer, ConsumerMessage};
use contracts::OrderId;
use group_commit::{GroupCommit, Request};
use journal::{Journal, Loader};
use load::Load;
use mailbox::Meter;
use order::Outcome;
use outside::Outside;
use ownership::Ownership;
use publisher::{Publisher, PublisherMessage};
use roster::Roster;
use router::{Router, RouterMessage};
use std::sync::Arc;
use supervisor::Child;
use timers::{Timers, TimersMessage};
use uuid::Uuid;

/// What the actors of one service share: the rules, each other's addresses, and the ports.
pub struct Wiring<S: Saga> {
    /// The rules.
    pub saga: S,
    /// Reads the log.
    pub consumer: Address<ConsumerMessage>,
    /// Commits steps.
    pub journal: Address<Request<Journal<S>>>,
    /// Loads orders.
    pub loader: Address<Request<Loader<S>>>,
    /// Sends events.
    pub publisher: Address<PublisherMessage>,
    /// The door to every order.
    pub router: Address<RouterMessage<S>>,
    /// Wakes orders with something due.
    pub timers: Address<TimersMessage>,
    /// What is measured of the orders' actors.
    pub orders: Meter,
    /// The service's database.
    pub store: Arc<dyn Store<S>>,
    /// The log of events.
    pub log: Arc<dyn EventLog>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who does what is to be done outside.
    pub outside: Arc<dyn Outside<S>>,
    /// How the service is.
    pub health: Arc<Health>,
    /// How each of its parts stands.
    pub roster: Arc<Roster>,
    /// Whose orders are whose.
    pub ownership: Ownership,
    /// How much is waiting, as it was last counted.
    pub load: Load,
}

impl<S: Saga> Wiring<S> {
    /// Wires a service to its ports.
    pub fn new(
        saga: S,
        store: Arc<dyn Store<S>>,
        log: Arc<dyn EventLog>,
        clock: Arc<dyn Clock>,
        outside: Arc<dyn Outside<S>>,
        health: Arc<Health>,
    ) -> Arc<Self> {
        Arc::new(Wiring {
            saga,
            consumer: Address::of(S::SERVICE, "consumer"),
            journal: Address::of(S::SERVICE, "journal"),
            loader: Address::of(S::SERVICE, "loader"),
            publisher: Address::of(S::SERVICE, "publisher"),
            router: Address::of(S::SERVICE, "router"),
            timers: Address::of(S::SERVICE, "timers"),
            orders: Meter::of(S::SERVICE, "order"),
            store,
            log,
            clock,
            outside,
            health,
            roster: Arc::default(),
            ownership: Ownership::default(),
            load: Load::default(),
        })
    }

    /// Whether this order is this replica's.
    pub fn owns(&self, order: OrderId) -> bool {
        self.own_partition_of(order).is_some()
    }

    /// The partition of this order, if it is this replica's.
    fn own_partition_of(&self, order: OrderId) -> Option<i32> {
        self.partition_of(order).filter(|partition| self.ownership.contains(*partition))
    }

    /// The partition of this order on every topic, once the log knows it.
    pub fn partition_of(&self, order: OrderId) -> Option<i32> {
        let mut key = Uuid::encode_buffer();
        self.log.partition_of(order.0.hyphenated().encode_lower(&mut key).as_bytes())
    }

    /// Gives an input to an order and waits until it is committed, or found to change nothing, or refused.
    pub async fn order(&self, order: OrderId, cause: Caused<S::Input>) -> Result<Outcome<S>, Unavailable> {
        self.router.call(|reply| RouterMessage::Input(order, Arc::new(cause), reply)).await
    }

    /// The parts that see its orders through, in the order of their start.
    pub fn children(self: &Arc<Self>, attempts: Attempts) -> Vec<Child> {
        let of = || Arc::clone(self);
        let (journal, publisher, loader, router, timers, consumer) = (of(), of(), of(), of(), of(), of());
        let meter = self.consumer.meter().clone();
        vec![
            self.journal.child(move || {
                // What the last one could not write is nobody's any more; the next write says how it is.
                journal.health.note_write(Ok(()));
                GroupCommit::at(&journal.journal, Arc::new(Journal(Arc::clone(&journal))))
            }),
            self.publisher.child(move || Publisher(Arc::clone(&publisher))),
            self.loader.child(move || GroupCommit::at(&loader.loader, Arc::new(Loader(Arc::clone(&loader))))),
            self.router.child(move || Router(Arc::clone(&router))),
            self.timers.child(move || Timers(Arc::clone(&timers))),
            self.consumer.child(move || Consumer { wiring: Arc::clone(&consumer), attempts }).leaving(move |cell| {
                // A part that is gone has ended.
                let _ = meter.mailbox::<ConsumerMessage>(cell.clone().into()).cast(ConsumerMessage::Leave);
            }),
        ]
    }
}
