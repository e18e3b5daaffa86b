//! A store that tells somebody what it has done.

use super::{Backlog, Loaded, OutboxKey, Overdue, Store, StoreError, Verdict};
use crate::saga::{Outgoing, Saga, Step};
use async_trait::async_trait;
use contracts::{OrderId, Timestamp};
use std::sync::Arc;

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

/// The store.
pub struct Watched<T, W> {
    /// What does the work.
    pub store: T,
    /// Who is told of it.
    pub watcher: Arc<W>,
}

#[async_trait]
impl<S: Saga, T: Store<S>, W: Watcher<S>> Store<S> for Watched<T, W> {
    fn is_remote(&self) -> bool {
        self.store.is_remote()
    }

    async fn load(&self, orders: &[OrderId]) -> Result<Vec<Loaded<S>>, StoreError> {
        self.store.load(orders).await
    }

    async fn commit(&self, steps: &[Step<S>], sent: &[OutboxKey]) -> Result<Vec<Verdict<S>>, StoreError> {
        let verdicts = self.store.commit(steps, sent).await?;
        self.watcher.decided(steps, &verdicts);
        Ok(verdicts)
    }

    async fn unsent(&self, after: Option<OutboxKey>, limit: u64) -> Result<Vec<Outgoing>, StoreError> {
        self.store.unsent(after, limit).await
    }

    async fn due(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, OrderId)>,
        limit: u64,
    ) -> Result<Vec<Overdue>, StoreError> {
        self.store.due(now, after, limit).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.watcher.counting().await?;
        self.store.backlog().await
    }
}
