//! The port between the journal and a service's database, and its one adapter: [`sql`].

pub mod sql;

use crate::saga::{Instance, Outgoing, Saga, Step};
use async_trait::async_trait;
use contracts::{OrderId, Timestamp};

/// What became of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<S: Saga> {
    /// It is durable. The instance is what stands now; the rows are what waits in the outbox for it.
    Committed(Instance<S>, Vec<Outgoing>),
    /// The order had another version than the step was decided on: load it and decide again.
    Conflict,
    /// The database can never take this step.
    Refused(String),
}

/// The place of a row of the outbox.
pub type OutboxKey = (OrderId, i64, i16);

/// The database did not do it. Whether it may still have happened is unknown: look, do not guess.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// What the database said.
    pub message: String,
    /// Whether trying again can help.
    pub transient: bool,
}

/// A service's database.
#[async_trait]
pub trait Store<S: Saga>: Send + Sync + 'static {
    /// The orders that are stored, in any order; the others are left out.
    async fn load(&self, orders: &[OrderId]) -> Result<Vec<Instance<S>>, StoreError>;

    /// Commits all of the steps that win in one transaction, state and outbox together, and deletes the rows of the
    /// outbox that were sent. At most one step per order. Answer i is about step i.
    async fn commit(&self, steps: Vec<Step<S>>, sent: &[OutboxKey]) -> Result<Vec<Verdict<S>>, StoreError>;

    /// The first rows of the outbox by order and version. Rows that exist are unsent.
    async fn unsent(&self, limit: u64) -> Result<Vec<Outgoing>, StoreError>;

    /// Orders with something to be done outside that is due.
    async fn due(&self, now: Timestamp, limit: u64) -> Result<Vec<OrderId>, StoreError>;
}
