//! Sees what is committed: tells those who wait, and counts.

use crate::saga::{Event, OrderSaga, Stage};
use crate::store::{stuck, waiting_by_stage};
use crate::waiting::{Waiting, is_final};
use async_trait::async_trait;
use runtime::actors::consumer::count_nothing;
use runtime::clock::Clock;
use runtime::database::Database;
use runtime::saga::{Instance, Named, Saga, Step};
use runtime::store::watcher::Watcher;
use runtime::store::{StoreError, Verdict};
use std::sync::Arc;
use std::time::Duration;

/// Sees every step.
pub struct Observer {
    /// Who waits for an order's end.
    pub waiting: Arc<Waiting>,
    /// Where the orders are.
    pub database: Database,
    /// What time it is there.
    pub clock: Arc<dyn Clock>,
}

impl Observer {
    fn count(instance: &Instance<OrderSaga>) {
        let (service, stage) = (OrderSaga::SERVICE, instance.state.stage);
        let status = if is_final(stage) { stage.name() } else { "PENDING" };
        metrics::counter!("orders_total", "service" => service, "status" => status).increment(1);
        if is_final(stage) {
            let micros = u64::try_from(instance.updated_at.0 - instance.created_at.0).unwrap_or(0);
            metrics::histogram!("order_duration_seconds", "service" => service, "outcome" => status)
                .record(Duration::from_micros(micros));
        }
    }
}

#[async_trait]
impl Watcher<OrderSaga> for Observer {
    fn decided(&self, steps: &[Step<OrderSaga>], verdicts: &[Verdict<OrderSaga>]) {
        for (step, verdict) in steps.iter().zip(verdicts) {
            let instance = match verdict {
                Verdict::Committed(instance, _) => instance,
                Verdict::Conflict | Verdict::Refused(_) => continue,
            };
            // What is only noted changes nothing, and counts as that.
            if let [Event::Noted(_, _, Some(why))] = step.events[..] {
                count_nothing::<OrderSaga>(why);
            }
            // One that came to its stage by this very step, and not before it.
            let history = &instance.state.history;
            let before = history.iter().rev().nth(1).map_or(Stage::Unknown, |passage| passage.stage);
            let is_end = is_final(instance.state.stage) && before != instance.state.stage;
            if instance.version == 1 || is_end {
                Self::count(instance);
            }
            if is_end
                && let Some(reason) = instance.state.reason.as_ref().filter(|_| instance.state.stage == Stage::Failed)
            {
                let (service, code) = (OrderSaga::SERVICE, reason.code.clone());
                metrics::counter!("order_failures_total", "service" => service, "code" => code).increment(1);
            }
            if is_end {
                self.waiting.tell(instance);
            }
        }
    }

    async fn counting(&self) -> Result<(), StoreError> {
        let late = stuck(&self.database, self.clock.now()).await?;
        metrics::gauge!("orders_stuck", "service" => OrderSaga::SERVICE).set(late as f64);
        for (stage, count) in waiting_by_stage(&self.database).await? {
            metrics::gauge!("orders_by_stage", "service" => OrderSaga::SERVICE, "stage" => stage.name())
                .set(count as f64);
        }
        Ok(())
    }
}
