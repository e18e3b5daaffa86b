//! What somebody has to look at, as numbers, counted as it is committed.

use crate::saga::{Concern, Event, PaymentSaga};
use crate::store::needing_attention;
use async_trait::async_trait;
use runtime::database::Database;
use runtime::saga::{Named, Saga, Step};
use runtime::store::watcher::Watcher;
use runtime::store::{StoreError, Verdict};

/// Counts it, in this database and as it is committed.
pub struct Attention(pub Database);

/// Why somebody has to look from this step on.
fn concerns(step: &Step<PaymentSaga>) -> Vec<(Concern, &str)> {
    let needed = step.events.iter().filter_map(|event| match event {
        Event::AttentionNeeded(concern, what) => Some((*concern, what.as_str())),
        Event::ChargeIntended { .. }
        | Event::Confirmed
        | Event::Failed { .. }
        | Event::Closed(_)
        | Event::RefundHeld(_)
        | Event::RefundDue(_)
        | Event::RefundIntended(_)
        | Event::RefundNamed(_)
        | Event::RefundRefused
        | Event::RefundNoted(_)
        | Event::Refunded
        | Event::Postponed { .. }
        | Event::Hastened
        | Event::Acknowledged(_) => None,
    });
    needed.collect()
}

#[async_trait]
impl Watcher<PaymentSaga> for Attention {
    fn decided(&self, steps: &[Step<PaymentSaga>], verdicts: &[Verdict<PaymentSaga>]) {
        let committed = steps.iter().zip(verdicts).filter_map(|(step, verdict)| match verdict {
            Verdict::Committed(..) => Some((&step.next, concerns(step))),
            Verdict::Conflict | Verdict::Refused(_) => None,
        });
        for (next, concerns) in committed {
            for (concern, what) in concerns {
                let (order_id, correlation_id, reason) = (next.order, &next.correlation_id, concern.name());
                tracing::error!(%order_id, correlation_id, reason, what, "a payment needs attention");
                let service = PaymentSaga::SERVICE;
                metrics::counter!("payments_needing_attention_total", "service" => service, "reason" => reason)
                    .increment(1);
            }
        }
    }

    async fn counting(&self) -> Result<(), StoreError> {
        let count = needing_attention(&self.0).await?;
        metrics::gauge!("payments_needing_attention", "service" => PaymentSaga::SERVICE).set(count as f64);
        Ok(())
    }
}
