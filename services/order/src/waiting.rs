//! Who waits for an order to end, and is told as the end is committed.

use crate::saga::{OrderSaga, Stage};
use crate::store;
use contracts::OrderId;
use runtime::database::Database;
use runtime::saga::Instance;
use runtime::store::StoreError;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Requests that may wait at a time; more are answered at once.
const WAITING: usize = 2_000;
/// How long an end may stay unseen that another replica has committed.
const LOOK: Duration = Duration::from_secs(1);

/// Whether nothing but a cancel can change an order any more.
pub fn is_final(stage: Stage) -> bool {
    match stage {
        Stage::Unknown | Stage::AwaitingPayment | Stage::AwaitingInventory => false,
        Stage::Confirmed | Stage::Failed | Stage::Cancelled => true,
    }
}

/// Those who wait, by order.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<HashMap<OrderId, Vec<oneshot::Sender<Instance<OrderSaga>>>>>);

/// The end of an order, told to who entered before it.
pub type Ended = oneshot::Receiver<Instance<OrderSaga>>;

impl Waiting {
    /// From here on the order's end is told; or none, if too many wait already.
    pub fn enter(&self, order: OrderId) -> Option<Ended> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING {
            // Those who have left make room.
            waiting.retain(|_, waiting| waiting.iter().any(|waiting| !waiting.is_closed()));
        }
        if waiting.len() >= WAITING {
            return None;
        }
        let (told, ended) = oneshot::channel();
        let of_order = waiting.entry(order).or_default();
        of_order.retain(|waiting| !waiting.is_closed());
        of_order.push(told);
        Some(ended)
    }

    /// Waits for an order's end, but not longer than this. Returns the order at its end, or none if it did not come.
    pub async fn until_final(
        &self,
        order: OrderId,
        mut ended: Ended,
        until: Instant,
        database: &Database,
    ) -> Result<Option<Instance<OrderSaga>>, StoreError> {
        loop {
            if let Ok(Ok(instance)) = tokio::time::timeout_at(until.min(Instant::now() + LOOK), ended).await {
                return Ok(Some(instance));
            }
            // Another replica may have committed the end. Entered before looking, so that none is missed.
            let again = self.enter(order);
            let found = store::find(database, order).await?;
            match (found.filter(|instance| is_final(instance.state.stage)), again) {
                (Some(instance), _) => return Ok(Some(instance)),
                (None, Some(again)) if Instant::now() < until => ended = again,
                (None, _) => return Ok(None),
            }
        }
    }

    /// Tells of an order's end.
    pub fn tell(&self, instance: &Instance<OrderSaga>) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance.order);
        for waiting in waiting.into_iter().flatten() {
            // Who waited may have left.
            let _ = waiting.send(instance.clone());
        }
    }
}
