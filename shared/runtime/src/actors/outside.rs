//! What sagas want done outside their databases.

use crate::saga::Saga;
use async_trait::async_trait;
use contracts::OrderId;
use tokio::sync::Semaphore;

/// What is done in one place outside at a time: each may be a connection, and more than a process may open would take those
/// of its database and its callers, too.
pub const AT_ONCE: usize = 256;

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
