//! Who is told of what a store has done.

use super::{StoreError, Verdict};
use crate::saga::{Saga, Step};
use async_trait::async_trait;

/// Who is told.
#[async_trait]
pub trait Watcher<S: Saga>: Send + Sync + 'static {
    /// What became of these steps.
    fn decided(&self, steps: &[Step<S>], verdicts: &[Verdict<S>]);

    /// What waits is about to be counted.
    async fn counting(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
