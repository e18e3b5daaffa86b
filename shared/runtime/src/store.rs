//! The port between the journal and a service's database, and its one adapter: [`sql`]. [`watcher`] is told of what it does.

pub mod sql;
pub mod watcher;

use crate::saga::{Instance, Outgoing, Saga, Step};
use async_trait::async_trait;
use contracts::{OrderId, Timestamp};
use std::sync::Arc;
use tokio::task::JoinError;

/// What became of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<S: Saga> {
    /// It is durable. The instance is what stands now; the rows are what waits in the outbox for it.
    Committed(Arc<Instance<S>>, Vec<Outgoing>),
    /// The order had another version than the step was decided on: load it and decide again.
    Conflict,
    /// The database can never take this step.
    Refused(String),
}

/// The place of a row of the outbox.
pub type OutboxKey = (OrderId, i64, i16);

/// An order as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded<S: Saga> {
    /// The order.
    pub instance: Instance<S>,
    /// Its rows of the outbox, in order: what it has to say and, as far as the database knows, has not said.
    pub unsent: Vec<Outgoing>,
}

/// An order with something due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// The order.
    pub order: OrderId,
    /// Since when.
    pub since: Timestamp,
    /// Whether it has rows in the outbox.
    pub unsent: bool,
}

/// How much is waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Orders with something due, now or later.
    pub waiting: u64,
    /// Rows of the outbox.
    pub unsent: u64,
    /// The oldest row of the outbox.
    pub oldest_unsent: Option<Timestamp>,
}

/// The database did not do it. Whether it may still have happened is unknown: look, do not guess.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// What the database said.
    pub message: String,
    /// Whether trying again can help.
    pub transient: bool,
    /// Whether the database is damaged: nothing more must be done with it.
    pub damaged: bool,
}

impl From<JoinError> for StoreError {
    /// Asking it ended in a panic: the next time may go better, and nobody stops asking.
    fn from(panic: JoinError) -> Self {
        StoreError { message: panic.to_string(), transient: true, damaged: false }
    }
}

/// A service's database.
#[async_trait]
pub trait Store<S: Saga>: Send + Sync + 'static {
    /// Whether it is another process, for which every commit is work.
    fn is_remote(&self) -> bool {
        false
    }

    /// The orders that are stored, in any order; the others are left out. The outbox is read after the orders, so no
    /// row of a version that is returned is missing.
    async fn load(&self, orders: &[OrderId]) -> Result<Vec<Loaded<S>>, StoreError>;

    /// Commits all of the steps that win in one transaction, state and outbox together, and deletes the rows of the
    /// outbox that were sent. Of several steps of one order the first can win. Answer i is about step i.
    async fn commit(&self, steps: &[Step<S>], sent: &[OutboxKey]) -> Result<Vec<Verdict<S>>, StoreError>;

    /// The first rows of the outbox behind this one, by order and version. Rows that exist are unsent.
    async fn unsent(&self, after: Option<OutboxKey>, limit: u64) -> Result<Vec<Outgoing>, StoreError>;

    /// The first orders with something due at this moment behind this one, by time and order.
    async fn due(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, OrderId)>,
        limit: u64,
    ) -> Result<Vec<Overdue>, StoreError>;

    /// How much is waiting.
    async fn backlog(&self) -> Result<Backlog, StoreError>;
}
