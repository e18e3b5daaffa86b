//! The shape of a saga's rules, and the pure step from one committed version of an order to the next.
//!
//! A service writes its rules as [`Saga::decide`] and [`Saga::evolve`]; everything else in this crate carries
//! inputs to them and their events away. Nothing in this file does I/O or reads a clock.

use crate::trace::Context;
use contracts::{EventType, OrderId, Payload, Timestamp, encode, event_id};
use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Arc;
use strum::{IntoStaticStr, VariantArray};
use uuid::Uuid;

/// What a state makes of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<E> {
    /// What happened, in order; never empty.
    Events(Vec<E>),
    /// Nothing, for a reason.
    Nothing(Nothing),
    /// No, and the sender is told: a caller by an error, a message by the dead-letter topic.
    Rejected(Rejection),
}

impl<E> Decision<E> {
    /// One event.
    pub fn event(event: E) -> Self {
        Decision::Events(vec![event])
    }
}

/// Why an input changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Nothing {
    /// It says what is already known.
    Duplicate,
    /// It was overtaken by something that decided the matter.
    Late,
    /// It is expected here and needs nothing done.
    Informs,
    /// Our own services cannot bring it about; counted, since a foreign one did.
    Unreachable,
}

/// Why an input is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The order does not exist here, and this input cannot begin it.
    #[error("the order is not known here")]
    UnknownOrder,
    /// The order has failed, which is final.
    #[error("the order has already failed")]
    AlreadyFailed,
    /// What the input is about is not under way here.
    #[error("nothing of the kind is under way")]
    NothingUnderWay,
    /// The order has another version than the caller took for granted.
    #[error("the order has changed meanwhile")]
    Stale,
}

/// A value of a closed set that is stored and shown by its name, such as `AWAITING_PAYMENT`: what derives these of strum.
pub trait Named: Copy + VariantArray + Into<&'static str> + FromStr {
    /// Every value.
    const ALL: &'static [Self] = Self::VARIANTS;

    /// Its name.
    fn name(self) -> &'static str {
        self.into()
    }

    /// The value of this name.
    fn named(name: &str) -> Result<Self, String> {
        name.parse().map_err(|_| format!("{name:?} is no known name"))
    }
}

impl<T: Copy + VariantArray + Into<&'static str> + FromStr> Named for T {}

/// What an order waits for the time to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Due<I, E> {
    /// Something outside of the database is to be done.
    Outside(E),
    /// Something did not come in time. It counts only once all that was on the log at that moment is read, so that an
    /// outage of ours does not end orders whose answers are waiting.
    Deadline {
        /// The input that says so.
        passed: I,
        /// The input instead, if the log was away meanwhile, so that nobody could answer. None if that is no excuse.
        excused: Option<I>,
    },
}

/// What a saga's state is due to, in short.
pub type DueOf<S> = Due<<S as Saga>::Input, <S as Saga>::Effect>;

/// The rules of one service for one order. The value holds their settings.
pub trait Saga: Clone + Debug + PartialEq + Send + Sync + Sized + 'static {
    /// The service's name: its consumer group, and part of every id that it derives.
    const SERVICE: &'static str;
    /// The events that it reads.
    const READS: &'static [EventType];
    /// Whether callers wait until its steps are committed, and not the log alone.
    const CALLERS_WAIT: bool = false;

    /// Where an order stands; the default is "never heard of".
    type State: Clone + Debug + Default + PartialEq + Send + Sync;
    /// What can come to an order.
    type Input: Clone + Debug + Send + Sync;
    /// What can happen to an order.
    type Event: Clone + Debug + Send + Sync;
    /// What a state wants done outside the database.
    type Effect: Clone + Debug + Send + Sync;

    /// What this state makes of this input, which comes at this moment.
    fn decide(&self, state: &Self::State, input: &Self::Input, at: Timestamp) -> Decision<Self::Event>;

    /// The state after this event.
    fn evolve(state: Self::State, event: &Self::Event) -> Self::State;

    /// What is due while an order stands here, and not before when. What is to be done outside may be done more than
    /// once, since a crash can hide that it was done; its outcome comes back as an input.
    fn due(state: &Self::State) -> Option<(Timestamp, DueOf<Self>)>;

    /// Whether an order usually stands so in the end: then it leaves memory at once.
    fn is_done(state: &Self::State) -> bool;

    /// Whether this input usually is an order's first, so that looking the order up would be wasted.
    fn opens(input: &Self::Input) -> bool;

    /// What an event from the wire means here; `None` for types that are not in [`Saga::READS`].
    fn receive(payload: Payload) -> Option<Self::Input>;

    /// What the others are told of an event, if anything. `state` is the state after it.
    fn emit(order: OrderId, state: &Self::State, event: &Self::Event, at: Timestamp) -> Option<Payload>;
}

/// An order as one service has committed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance<S: Saga> {
    /// The order.
    pub order: OrderId,
    /// Counts committed steps; 0 is an order that is not stored.
    pub version: i64,
    /// The ids of the inputs that brought it here. An order sees about ten, so they live on its own row.
    pub applied: Vec<Uuid>,
    /// From the order's first input that had one.
    pub correlation_id: String,
    /// W3C trace context of the request that began it.
    pub traceparent: Option<Context>,
    /// When it was first stored.
    pub created_at: Timestamp,
    /// When it was last stored.
    pub updated_at: Timestamp,
    /// Where it stands.
    pub state: S::State,
}

impl<S: Saga> Instance<S> {
    /// An order that this service has never heard of.
    pub fn unknown(order: OrderId) -> Self {
        Instance {
            order,
            version: 0,
            applied: Vec::new(),
            correlation_id: String::new(),
            traceparent: None,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            state: S::State::default(),
        }
    }
}

/// Where an input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the log: another service has heard of the order, so its first event is out.
    Log,
    /// From here: a caller, the time, or something that was done outside.
    Here,
}

/// An input with what tells it apart and ties it to the request that caused it.
#[derive(Clone, Debug)]
pub struct Caused<I> {
    /// Where it comes from.
    pub origin: Origin,
    /// An input with an id that was applied before is a duplicate.
    pub id: Uuid,
    /// See [`Envelope::correlation_id`](contracts::Envelope::correlation_id).
    pub correlation_id: String,
    /// W3C trace context.
    pub traceparent: Option<Context>,
    /// The input itself.
    pub input: I,
    /// The version that a caller takes for granted, if it does: at any other the input is refused.
    pub expected: Option<i64>,
}

/// The id of the outcome of what was done outside, as the input that makes this version. The one before it can be
/// forgotten with it: it cannot come again, since nothing but the version guard lets an outcome in.
pub fn outcome_id<S: Saga>(order: OrderId, version: i64) -> Uuid {
    event_id(S::SERVICE, order, version, "outcome")
}

/// A decided change of one order, not yet committed.
#[derive(Clone, Debug)]
pub struct Step<S: Saga> {
    /// The order as it will stand.
    pub next: Arc<Instance<S>>,
    /// What happened, in order.
    pub events: Vec<S::Event>,
    /// What the others will be told, in order.
    pub emitted: Vec<Payload>,
    /// W3C trace context of the input.
    pub context: Option<Context>,
}

/// An emitted event as it waits for the log: a row of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The order, which is also the key.
    pub order: OrderId,
    /// The order's version that emitted it.
    pub version: i64,
    /// Its place among the events of that version.
    pub n: i16,
    /// The topic, by way of the type.
    pub event_type: EventType,
    /// The event's id, which is in its envelope, too.
    pub event_id: Uuid,
    /// The encoded envelope.
    pub value: Vec<u8>,
    /// For the header.
    pub correlation_id: String,
    /// Trace context of the input that it came of. The event's own, in the header, is a child of it.
    pub traceparent: Option<Context>,
    /// When the step was decided.
    pub at: Timestamp,
}

impl<S: Saga> Step<S> {
    /// Decides what `cause` does to `current` at the moment `at`.
    pub fn decide(saga: &S, current: &Instance<S>, cause: &Caused<S::Input>, at: Timestamp) -> Result<Self, Unmoved> {
        if current.applied.contains(&cause.id) {
            return Err(Unmoved::Nothing(Nothing::Duplicate));
        }
        if cause.expected.is_some_and(|expected| expected != current.version) {
            return Err(Unmoved::Rejected(Rejection::Stale));
        }
        // The database's order of versions is the truth; a clock that went backwards must not make ages negative.
        let at = at.max(current.updated_at);
        let events = match saga.decide(&current.state, &cause.input, at) {
            Decision::Events(events) => events,
            Decision::Nothing(why) => return Err(Unmoved::Nothing(why)),
            Decision::Rejected(why) => return Err(Unmoved::Rejected(why)),
        };
        let mut next = current.clone();
        // An attempt outside that was in vain leaves no trace but its count: there may be thousands.
        // The first version is none's outcome.
        if cause.origin == Origin::Here && current.version > 1 {
            next.applied.pop_if(|last| *last == outcome_id::<S>(current.order, current.version));
        }
        next.version += 1;
        next.applied.push(cause.id);
        next.updated_at = at;
        if current.version == 0 {
            next.created_at = next.updated_at;
        }
        if next.correlation_id.is_empty() {
            next.correlation_id.clone_from(&cause.correlation_id);
        }
        next.traceparent = next.traceparent.or(cause.traceparent);
        let context = cause.traceparent.or(next.traceparent);
        let mut step = Step { next: Arc::new(next), events: Vec::new(), emitted: Vec::new(), context };
        step.take(events);
        Ok(step)
    }

    /// Decides once more, inside the same step, now that something is known that only the transaction could tell.
    pub fn follow(&mut self, saga: &S, input: &S::Input) {
        if let Decision::Events(events) = saga.decide(&self.next.state, input, self.next.updated_at) {
            self.take(events);
        }
    }

    fn take(&mut self, events: Vec<S::Event>) {
        let next = Arc::make_mut(&mut self.next);
        for event in events {
            next.state = S::evolve(std::mem::take(&mut next.state), &event);
            self.emitted.extend(S::emit(next.order, &next.state, &event, next.updated_at));
            self.events.push(event);
        }
    }

    /// The version that this step was decided on; a row of any other version refuses it.
    pub fn expected_version(&self) -> i64 {
        self.next.version - 1
    }

    /// The rows of the outbox.
    pub fn outgoing(&self) -> impl Iterator<Item = Outgoing> + '_ {
        let next = &self.next;
        self.emitted.iter().zip(0_i16..).map(move |(payload, n)| {
            let event_type = payload.event_type();
            let event_id = event_id(S::SERVICE, next.order, next.version, event_type.name());
            Outgoing {
                order: next.order,
                version: next.version,
                n,
                event_type,
                event_id,
                value: encode(event_id, &next.correlation_id, payload, next.updated_at),
                correlation_id: next.correlation_id.clone(),
                traceparent: self.context,
                at: next.updated_at,
            }
        })
    }
}

/// Why there is no step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmoved {
    /// The input changes nothing.
    Nothing(Nothing),
    /// The input is refused.
    Rejected(Rejection),
}
