//! The actors that every service is made of, and how they find each other.
//!
//! ```text
//! event log → consumer → router → order actor ─decide─→ journal ─one transaction for many orders─→ database
//!                ↑ offsets             ↑ committed ───────┘ └─ outbox rows → publisher → event log
//! HTTP ────────────────→ router                               timers → due orders → router
//! ```

pub mod consumer;
pub mod group_commit;
pub mod journal;
pub mod mailbox;
pub mod order;
pub mod publisher;
pub mod roster;
pub mod router;
pub mod supervisor;
pub mod timers;

use crate::clock::Clock;
use crate::event_log::EventLog;
use crate::health::Health;
use crate::saga::{Caused, Saga};
use crate::store::{Backlog, Store};
use async_trait::async_trait;
use consumer::{Attempts, Consumer, ConsumerMessage};
use contracts::{OrderId, Timestamp};
use group_commit::{GroupCommit, Request};
use journal::{Journal, Loader};
use mailbox::{Mail, Mailbox, Meter};
use order::Outcome;
use publisher::{Publisher, PublisherMessage};
use ractor::{Actor, ActorRef, Message, RpcReplyPort};
use roster::Roster;
use router::{Router, RouterMessage};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use supervisor::Child;
use timers::{Timers, TimersMessage};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

/// Where an actor can be reached, also after its supervisor has started it again.
pub struct Address<M> {
    meter: Meter,
    actor: Arc<RwLock<Option<Mailbox<M>>>>,
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Address { meter: self.meter.clone(), actor: Arc::clone(&self.actor) }
    }
}

/// The actor is not running just now, or it ended before it answered. Whether it did what it was asked is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of the service is being started again")]
pub struct Unavailable;

impl<M: Message> Address<M> {
    /// The address of an actor that is not there yet.
    pub fn of(service: &'static str, kind: &'static str) -> Self {
        Address { meter: Meter::of(service, kind), actor: Arc::default() }
    }

    /// What is measured of the actor.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The actor's mailbox, as the actor itself uses it.
    pub fn mailbox(&self, actor: ActorRef<Mail<M>>) -> Mailbox<M> {
        self.meter.mailbox(actor)
    }

    /// The actor is here from now on.
    fn set(&self, actor: ActorRef<Mail<M>>) {
        *self.actor.write().unwrap_or_else(PoisonError::into_inner) = Some(self.mailbox(actor));
    }

    /// The actor, supervised.
    pub fn child<A: Actor<Msg = Mail<M>, Arguments = ()>>(
        &self,
        make: impl Fn() -> A + Send + Sync + 'static,
    ) -> Child {
        let address = self.clone();
        Child::new(&self.meter, make, move |actor| address.set(actor))
    }

    /// Sends a message.
    pub fn cast(&self, message: M) -> Result<(), Unavailable> {
        let actor = self.actor.read().unwrap_or_else(PoisonError::into_inner);
        actor.as_ref().ok_or(Unavailable)?.cast(message).map_err(|_| Unavailable)
    }

    /// Sends a message and waits for its answer, for as long as it takes.
    pub async fn call<R: Send + 'static>(
        &self,
        message: impl FnOnce(RpcReplyPort<R>) -> M + Send,
    ) -> Result<R, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.cast(message(reply.into()))?;
        answer.await.map_err(|_| Unavailable)
    }
}

/// What is done in one place outside at a time: each may be a connection, and more than a process may open would take those
/// of its database and its callers, too.
pub const OUTSIDE: usize = 256;

/// What a saga wants done outside the database, done.
#[async_trait]
pub trait Outside<S: Saga>: Send + Sync + 'static {
    /// Does it, and says what came of it. It may be asked to do the same again.
    async fn perform(&self, order: OrderId, effect: S::Effect) -> S::Input;

    /// The room where that is done. What an input brings forth waits for none, so that what takes long in one place holds up no
    /// other; only what the timers come back to does. None where nobody is waited for.
    fn room(&self, effect: &S::Effect) -> Option<&Semaphore>;

    /// What that is, in a word, for traces.
    fn name(&self, effect: &S::Effect) -> &'static str;
}

/// Outside of a saga that wants nothing done there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

#[async_trait]
impl<S: Saga<Effect = std::convert::Infallible>> Outside<S> for Nowhere {
    async fn perform(&self, _: OrderId, effect: S::Effect) -> S::Input {
        match effect {}
    }

    fn room(&self, effect: &S::Effect) -> Option<&Semaphore> {
        match *effect {}
    }

    fn name(&self, effect: &S::Effect) -> &'static str {
        match *effect {}
    }
}

/// The partitions of the event log whose orders are this replica's. Only their owner acts on time and adopts what a
/// crash left in the outbox. Two may believe that they own one for a while: that costs duplicates, never order or state.
#[derive(Debug, Default)]
pub struct Ownership {
    partitions: RwLock<BTreeSet<i32>>,
    generation: AtomicU64,
}

impl Ownership {
    /// These and no others.
    pub fn set(&self, partitions: BTreeSet<i32>) {
        *self.partitions.write().unwrap_or_else(PoisonError::into_inner) = partitions;
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// How often they have changed: what is known of some partitions says nothing of others.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn contains(&self, partition: i32) -> bool {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).contains(&partition)
    }
}

/// How long the database may take for an answer before it is taken to be away.
const SILENT: Duration = Duration::from_millis(2_500);

/// How far the database's clock may go back when it is read again, and nothing is wrong, in milliseconds.
const CLOCK_ERROR: i64 = 10_000;

/// How much is waiting, as it was last counted, and what that says of the log; and whether the database answers.
#[derive(Debug, Default)]
pub struct Load {
    waiting: AtomicU64,
    unsent: AtomicU64,
    log_was_away_at: AtomicI64,
    /// Since when the database has been asked and has not answered.
    asked_at: Mutex<Option<Instant>>,
    /// It was said that it does not answer.
    was_silent: AtomicBool,
}

impl Load {
    /// Notes a count.
    pub fn set(&self, backlog: Backlog) {
        self.waiting.store(backlog.waiting, Ordering::Relaxed);
        self.unsent.store(backlog.unsent, Ordering::Relaxed);
    }

    /// The database is asked for something small.
    pub fn asks(&self) {
        self.asked_at.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
    }

    /// It has answered. Whether it was taken to be silent until now.
    pub fn is_answered(&self) -> bool {
        *self.asked_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.was_silent.swap(false, Ordering::Relaxed)
    }

    /// How long the database has been silent, if that is too long.
    pub fn silence(&self) -> Option<Duration> {
        let asked_at = *self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = asked_at.map(|asked| asked.elapsed()).filter(|silence| *silence > SILENT);
        if silence.is_some() {
            self.was_silent.store(true, Ordering::Relaxed);
        }
        silence
    }

    /// Notes that until this moment the log took nothing, or not soon.
    pub fn note_log_away(&self, until: Timestamp) {
        self.log_was_away_at.store(until.0, Ordering::Relaxed);
    }

    /// When the log last took nothing, or not soon, if it ever did. A moment that is yet to come was noted before the
    /// database's clock went back, and says nothing.
    pub fn log_was_away_at(&self, now: Timestamp) -> Option<Timestamp> {
        let at = Timestamp(self.log_was_away_at.load(Ordering::Relaxed));
        (at > Timestamp::default() && at < now.plus_millis(CLOCK_ERROR)).then_some(at)
    }

    /// Orders that are under way at the other services: with something due, and nothing in the outbox.
    pub fn under_way(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed).saturating_sub(self.unsent.load(Ordering::Relaxed))
    }
}

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
