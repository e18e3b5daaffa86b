//! Our services without one of their safety mechanisms, which the simulation has to notice.
//!
//! Nothing of the product is changed for it. A rule is taken away by a saga around the saga ([`Mutant`]), everything
//! else by a port that does not keep its promise.

use super::kept::Kept;
use contracts::{EventType, OrderId, Payload, Timestamp};
use runtime::saga::{Decision, DueOf, Saga};
use strum::VariantArray;

/// A safety mechanism that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
pub(crate) enum Mutation {
    /// Nothing is recognised as a duplicate: neither by its id nor by the rules of the payment.
    NoDuplicateCheck,
    /// A row is overwritten whatever version it has.
    NoVersionGuard,
    /// A row of the outbox is deleted before its event is durable on the log.
    DeletedBeforeAcknowledged,
    /// An offset is stored when its record is delivered, before anything is committed.
    OffsetsAtDelivery,
    /// The provider gets another key with every call.
    NewKeyForEveryCall,
    /// The provider is asked before the intent is durable.
    NoIntentBeforeCall,
    /// Payment forgets a close that comes before the order.
    PaymentForgetsCloses,
    /// Inventory forgets a close that comes before the payment.
    InventoryForgetsCloses,
    /// Inventory does not hold a payment that comes before its order.
    InventoryHoldsNothing,
    /// Payment does not hold a refund request that comes before its order.
    PaymentHoldsNothing,
    /// Payment starts a refund for each cause.
    ManyRefunds,
    /// Payment takes no notice of a close while it charges.
    LateSuccessKept,
    /// Inventory does not ask for a refund of what is charged after the close.
    LatePaymentKept,
    /// The publisher does not wait for one event of an order before it sends the next.
    ManyEventsAtATime,
    /// The rows that are found with an order do not go first.
    FoundRowsWait,
    /// A deadline counts although the answer is waiting on the log.
    DeadlinesDoNotWait,
    /// What a dead replica left in the outbox is not adopted.
    NoAdoption,
    /// An offset is stored before the dead letter is durable.
    OffsetBeforeDeadLetter,
    /// Stock is read and written without a lock.
    NoStockLock,
    /// Inventory keeps what it holds of a closed order.
    NoRelease,
    /// What was interrupted outside is not done again.
    NothingIsDue,
    /// State and outbox are two transactions.
    OutboxApart,
    /// The rows of a commit whose answer was lost are not looked for.
    LostAnswersForgotten,
}

/// A saga that may lack a rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mutant<S> {
    /// The real one.
    pub(super) saga: S,
    /// What it lacks.
    pub(super) lacks: Option<Mutation>,
}

impl<S: Kept> Saga for Mutant<S> {
    const SERVICE: &'static str = S::SERVICE;
    const READS: &'static [EventType] = S::READS;
    type State = S::State;
    type Input = S::Input;
    type Event = S::Event;
    type Effect = S::Effect;

    fn decide(&self, state: &S::State, input: &S::Input, at: Timestamp) -> Decision<S::Event> {
        let mutated = self.lacks.and_then(|lacks| self.saga.decide_without(lacks, state, input, at));
        mutated.unwrap_or_else(|| self.saga.decide(state, input, at))
    }

    fn evolve(state: S::State, event: &S::Event) -> S::State {
        S::evolve(state, event)
    }

    fn due(state: &S::State) -> Option<(Timestamp, DueOf<Self>)> {
        S::due(state)
    }

    fn is_done(state: &S::State) -> bool {
        S::is_done(state)
    }

    fn opens(input: &S::Input) -> bool {
        S::opens(input)
    }

    fn receive(payload: Payload) -> Option<S::Input> {
        S::receive(payload)
    }

    fn emit(order: OrderId, state: &S::State, event: &S::Event, at: Timestamp) -> Option<Payload> {
        S::emit(order, state, event, at)
    }
}
