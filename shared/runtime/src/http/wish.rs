//! What an operator wants of an order: taken on by its actor, behind whatever that is at.

use super::{CorrelationId, Refusal};
use crate::actors::Wiring;
use crate::actors::order::Outcome;
use crate::saga::{Caused, Instance, Origin, Rejection, Saga};
use crate::trace;
use contracts::OrderId;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How long an operator waits for the commit: also behind a call of something outside.
const PATIENCE: Duration = Duration::from_secs(20);

/// Gives an operator's wish to its order, and waits until it is committed: what stands then, or why it is not granted.
///
/// The wish comes with the request's own correlation id and `traceparent`. `path` shows what came of it.
pub async fn wish<S: Saga>(
    wiring: &Wiring<S>,
    order: OrderId,
    input: S::Input,
    (correlation_id, traceparent): (Option<CorrelationId>, Option<String>),
    path: &str,
) -> Result<Result<Arc<Instance<S>>, Rejection>, Refusal> {
    let cause = Caused {
        origin: Origin::Here,
        id: Uuid::now_v7(),
        correlation_id: correlation_id.unwrap_or_default().0,
        traceparent: Some(trace::accept(traceparent.as_deref())),
        input,
        expected: None,
    };
    let in_doubt = || Refusal::unavailable(format!("it is not known whether this was done; GET {path} tells"));
    let taken = tokio::time::timeout(PATIENCE, wiring.order(order, cause)).await;
    match taken.map_err(|_| in_doubt())?.map_err(|_| in_doubt())? {
        Outcome::Applied(instance) | Outcome::Nothing(_, instance) => Ok(Ok(instance)),
        Outcome::Rejected(why) => Ok(Err(why)),
        Outcome::Refused(why) => {
            tracing::error!(service = S::SERVICE, order_id = %order, why, "an operator's wish could not be stored");
            Err(Refusal::unavailable("this could not be stored"))
        }
        Outcome::Unavailable => Err(in_doubt()),
    }
}
