//! Which orders are this replica's.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

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

    /// Whether this is one of them.
    pub(super) fn contains(&self, partition: i32) -> bool {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).contains(&partition)
    }
}
