//! A caller's request on its way to an order, and back.

use super::Api;
use super::view::{OrderStatus, etag};
use crate::saga::{Input, OrderSaga};
use crate::store::{self, claims::Claim};
use crate::waiting::Ended;
use contracts::OrderId;
use runtime::actors::Wiring;
use runtime::actors::group_commit::Request;
use runtime::actors::order::Outcome;
use runtime::http::{Caller, CorrelationId, Refusal, Stopping, Wait};
use runtime::saga::{Caused, Decision, Instance, Origin, Rejection, Saga};
use runtime::store::StoreError;
use runtime::trace::{self, Context};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use uuid::Uuid;

/// How long a request waits for its commit.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a request waits for the commit of an earlier one with the same key.
const PATIENCE_WITH_THE_FIRST: Duration = Duration::from_secs(5);

/// Whether one of these entity tags is that of this version, by the strong comparison of RFC 9110.
pub(super) fn matches(tags: &str, version: i64) -> bool {
    tags.split(',').any(|tag| tag.trim() == etag(version))
}

/// 412.
pub(super) fn changed(order: OrderId) -> Refusal {
    Refusal::stale(format!("order {order} has changed meanwhile; GET /api/orders/{order} shows it with its new ETag"))
}

/// A caller's request, on its way to an order.
pub(super) struct Ask {
    pub(super) order: OrderId,
    /// The same for a request that is sent again under its idempotency key.
    pub(super) id: Uuid,
    pub(super) correlation_id: String,
    traceparent: Context,
    /// The version that it is for, if it is for none other.
    pub(super) expected: Option<i64>,
    patience: Duration,
}

impl Ask {
    pub(super) fn new(order: OrderId, correlation_id: Option<CorrelationId>, traceparent: Option<String>) -> Self {
        Ask {
            order,
            id: Uuid::now_v7(),
            correlation_id: correlation_id.unwrap_or_default().0,
            traceparent: trace::accept(traceparent.as_deref()),
            expected: None,
            patience: PATIENCE,
        }
    }
}

/// Whether an idempotency key was there before this request, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claimed {
    Now,
    Before,
}

/// What became of an [`Ask`].
pub(super) struct Taken {
    /// Whether it changed anything.
    pub(super) applied: bool,
    pub(super) status: OrderStatus,
}

impl Api {
    /// The order, whosever it is.
    pub(super) async fn find(&self, order: OrderId) -> Result<Option<Instance<OrderSaga>>, StoreError> {
        store::find(&self.database, order).await
    }

    /// The order, if there is one that this caller may see. Another's is none.
    pub(super) async fn read(&self, order: OrderId, caller: &Caller) -> Result<Instance<OrderSaga>, Refusal> {
        let found = self.find(order).await?.filter(|found| caller.may_act_for(&found.state.details.customer_id));
        found.ok_or_else(|| unknown(order))
    }

    /// Waits for an order's end, but not longer than is wished, and not when the service is being stopped.
    pub(super) async fn until_final(
        &self,
        order: OrderId,
        ended: Ended,
        wait: Wait,
        stopping: &Stopping,
    ) -> Result<Option<Instance<OrderSaga>>, StoreError> {
        let until = Instant::now() + wait.duration();
        tokio::select! {
            found = self.waiting.until_final(order, ended, until, &self.database) => found,
            () = stopping.0.cancelled() => Ok(None),
        }
    }

    /// A place among the requests that wait for their commit.
    pub(super) fn room(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = Arc::clone(&self.window)
            .try_acquire_owned()
            .map_err(|_| Refusal::unavailable("too many requests are waiting; nothing was stored, try again"))?;
        if !self.wiring.health.is_ready() {
            return Err(Refusal::unavailable("the service is not ready; nothing was stored, try again"));
        }
        Ok(place)
    }

    /// The same, if one more order can be seen through: more would wait longer than their deadlines allow.
    pub(super) fn room_for_an_order(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        if self.wiring.load.under_way() >= self.limit {
            return Err(Refusal::unavailable("too many orders are under way; nothing was stored, try again"));
        }
        self.room()
    }

    /// Whether the order as it was read would not refuse this.
    pub(super) fn would_take(&self, order: &Instance<OrderSaga>, input: &Input) -> bool {
        let Wiring { saga, clock, .. } = &*self.wiring;
        !matches!(saga.decide(&order.state, input, clock.now()), Decision::Rejected(_))
    }

    /// Claims a key for what is asked. What was asked first under this key is asked again, or refused if it was
    /// something else. What is known to be refused claims nothing: a refusal leaves the key free.
    pub(super) async fn claim(
        &self,
        caller: &Caller,
        operation: &str,
        key: &str,
        asked: Vec<u8>,
        ask: &mut Ask,
        may_claim: bool,
    ) -> Result<Claimed, Refusal> {
        let claim = Claim {
            caller: caller.id.clone(),
            operation: operation.to_owned(),
            key: key.to_owned(),
            asked,
            order: ask.order,
            request: ask.id,
            correlation_id: ask.correlation_id.clone(),
        };
        let first = if may_claim {
            let made = self.claims.call(|reply| Request::Do(claim, reply));
            let made = tokio::time::timeout(PATIENCE, made).await;
            let busy = || Refusal::unavailable("the idempotency key could not be stored; nothing was done, try again");
            made.map_err(|_| busy())?.map_err(|_| busy())??
        } else {
            match claim.standing(&self.database).await? {
                Some(first) => first,
                None => return Ok(Claimed::Now),
            }
        };
        if !first.same {
            return Err(Refusal::key_reused(format!("the Idempotency-Key {key:?} was used for another request")));
        }
        if first.row.request_id == ask.id {
            return Ok(Claimed::Now);
        }
        ask.order = OrderId(first.row.order_id);
        ask.id = first.row.request_id;
        ask.correlation_id = first.row.correlation_id;
        ask.patience = PATIENCE_WITH_THE_FIRST;
        Ok(Claimed::Before)
    }

    /// Gives what is asked to the order.
    pub(super) async fn take(&self, ask: &Ask, input: Input, place: OwnedSemaphorePermit) -> Result<Taken, Refusal> {
        let order = ask.order;
        let cause = Caused {
            origin: Origin::Here,
            id: ask.id,
            correlation_id: ask.correlation_id.clone(),
            traceparent: Some(ask.traceparent),
            input,
            expected: ask.expected,
        };
        let in_doubt = || {
            let detail = format!("it is not known whether order {order} was changed; GET /api/orders/{order} tells");
            Refusal::unavailable(detail)
        };
        let wiring = Arc::clone(&self.wiring);
        // A task of its own: a caller that gives up takes nothing out of the queue, so its place stays taken, too.
        let taken = tokio::spawn(async move {
            let _place = place;
            wiring.order(order, cause).await
        });
        let taken = match tokio::time::timeout(ask.patience, taken).await {
            Ok(taken) => taken.ok().and_then(Result::ok).ok_or_else(in_doubt)?,
            Err(_) if ask.patience == PATIENCE => return Err(in_doubt()),
            Err(_) => return Err(Refusal::conflict("the first request with this Idempotency-Key is still under way")),
        };
        let taken_as = |applied, instance: &Instance<OrderSaga>| Taken { applied, status: instance.state.stage.into() };
        match taken {
            Outcome::Applied(instance) => Ok(taken_as(true, &instance)),
            Outcome::Nothing(_, instance) => Ok(taken_as(false, &instance)),
            Outcome::Rejected(Rejection::UnknownOrder) => Err(unknown(order)),
            Outcome::Rejected(Rejection::Stale) => Err(changed(order)),
            Outcome::Rejected(why @ (Rejection::AlreadyFailed | Rejection::NothingUnderWay)) => {
                Err(Refusal::conflict(format!("order {order} cannot be cancelled: {why}")))
            }
            Outcome::Refused(why) => {
                tracing::error!(order_id = %order, why, "an order could not be stored");
                Err(Refusal::unavailable("the order could not be stored"))
            }
            Outcome::Unavailable => Err(in_doubt()),
        }
    }
}

/// 404.
pub(super) fn unknown(order: OrderId) -> Refusal {
    Refusal::not_found(format!("there is no order {order}"))
}
