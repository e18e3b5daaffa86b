//! What somebody has to see to, said and counted as it is committed.

use crate::saga::{Event, Key, NotificationSaga};
use crate::store::needing_attention;
use async_trait::async_trait;
use runtime::database::Database;
use runtime::saga::{Named, Saga, Step};
use runtime::store::watcher::Watcher;
use runtime::store::{StoreError, Verdict};

/// Says it, and counts it in this database.
pub struct Attention(pub Database);

/// The notices that this step gives up, and why.
fn given_up(step: &Step<NotificationSaga>) -> impl Iterator<Item = (Key, &str)> {
    step.events.iter().filter_map(|event| match event {
        Event::GivenUp(key, error) => Some((*key, error.as_str())),
        Event::Recorded(_) | Event::Sent(_) | Event::Postponed(..) | Event::BegunAnew(_) => None,
    })
}

#[async_trait]
impl Watcher<NotificationSaga> for Attention {
    fn decided(&self, steps: &[Step<NotificationSaga>], verdicts: &[Verdict<NotificationSaga>]) {
        let committed = steps.iter().zip(verdicts).filter(|(_, verdict)| matches!(verdict, Verdict::Committed(..)));
        for (step, _) in committed {
            for (Key { occasion, channel }, error) in given_up(step) {
                let (order_id, occasion, channel) = (step.next.order, occasion.name(), channel.name());
                let correlation_id = &step.next.correlation_id;
                tracing::error!(%order_id, correlation_id, occasion, channel, error, "a notice was given up and needs attention");
                let service = NotificationSaga::SERVICE;
                metrics::counter!("notices_given_up_total", "service" => service, "channel" => channel).increment(1);
            }
        }
    }

    async fn counting(&self) -> Result<(), StoreError> {
        let count = needing_attention(&self.0).await?;
        metrics::gauge!("notices_needing_attention", "service" => NotificationSaga::SERVICE).set(count as f64);
        Ok(())
    }
}
