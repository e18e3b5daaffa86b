//! The HTTP API of order-service.

mod list;
mod request;
mod stream;
mod timeline;
mod view;

pub(crate) use stream::STREAMS;

use crate::feed::FeedMessage;
use crate::saga::{Input, OrderSaga};
use crate::store::claims::{Claim, Claims};
use crate::waiting::{Ended, Waiting, is_final};
use contracts::{Money, OrderId, event_id};
use list::Filter;
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi, Tags};
use request::{Cancellation, NewOrder, key};
use runtime::actors::group_commit::Request;
use runtime::actors::order::Outcome;
use runtime::actors::{Address, Wiring};
use runtime::database::Database;
use runtime::http::{Caller, JsonAmount, JsonBody, OptionalJsonBody, Refusal, Stopping, Wait};
use runtime::saga::{Caused, Instance, Origin, Rejection, Saga};
use runtime::store::StoreError;
use runtime::trace;
use std::sync::Arc;
use std::time::Duration;
use stream::Stream;
use time::OffsetDateTime;
use timeline::Timeline;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;
use view::{Acknowledgement, OrderChange, OrderList, OrderStatus, OrderView, etag};

/// Requests that may wait for the journal at a time; more are told to come back.
pub(crate) const WINDOW: usize = 2_000;
/// How long a request waits for its commit.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a request waits for the commit of an earlier one with the same key.
const PATIENCE_WITH_THE_FIRST: Duration = Duration::from_secs(5);

/// The parts of the service that the routes speak to.
pub struct Api {
    /// The actors.
    pub wiring: Arc<Wiring<OrderSaga>>,
    /// Who is told of an order's end.
    pub waiting: Arc<Waiting>,
    /// Makes claims of idempotency keys.
    pub claims: Address<Request<Claims>>,
    /// Tells of changes.
    pub feed: Address<FeedMessage>,
    /// Where orders are read.
    pub database: Database,
    /// Orders under way beyond which no more are taken on.
    pub limit: u64,
    /// Room for requests that wait for the journal.
    pub window: Semaphore,
    /// Room for streams.
    pub streams: Arc<Semaphore>,
}

/// The routes.
pub struct Routes(pub Arc<Api>);

#[derive(Tags)]
enum Tag {
    /// Placing and following orders.
    Orders,
}

fn amount(ten_thousandths: i64) -> JsonAmount {
    Money::from_ten_thousandths(ten_thousandths).into()
}

/// A request that was taken on.
#[derive(ApiResponse)]
enum Accepted {
    /// It is committed; what comes of it can be read at `Location`.
    #[oai(status = 202)]
    Accepted(
        Json<Acknowledgement>,
        /// Where the order can be read.
        #[oai(header = "Location")]
        String,
        /// The request's own, or a new one. All events of an order carry that of the request that placed it.
        #[oai(header = "X-Correlation-Id")]
        String,
        /// `wait=N`, if the answer was held back as the header Prefer wished.
        #[oai(header = "Preference-Applied")]
        Option<String>,
        /// `true`, if this is the answer to an earlier request with the same `Idempotency-Key`.
        #[oai(header = "Idempotency-Replayed")]
        Option<String>,
    ),
}

/// An order that was found.
#[derive(ApiResponse)]
enum Found {
    /// How it stands.
    #[oai(status = 200)]
    Found(
        Json<OrderView>,
        /// Names this version of the order, for `If-Match`.
        #[oai(header = "ETag")]
        String,
        /// `wait=N`, if the answer was held back as the header Prefer wished.
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
}

#[OpenApi]
impl Routes {
    /// Place an order.
    ///
    /// Answers as soon as the order and its `OrderCreated` event are committed. Payment and stock follow: read the
    /// order to see how it ends, or wait for that with `Prefer: wait=10`. With an `Idempotency-Key` the request can be
    /// sent again without harm: there is one order, and the answer is that to the first request.
    #[oai(path = "/api/orders", method = "post", tag = "Tag::Orders")]
    #[expect(clippy::too_many_arguments, reason = "each is a header that the documents name")]
    async fn place(
        &self,
        caller: Data<&Caller>,
        stopping: Data<&Stopping>,
        /// Ties together all that comes of this request; without it the request gets a new UUID.
        #[oai(
            name = "X-Correlation-Id",
            validator(min_length = 1, max_length = 200, pattern = r"^[!-~]([ -~]*[!-~])?$")
        )]
        correlation_id: Header<Option<String>>,
        /// W3C trace context.
        traceparent: Header<Option<String>>,
        /// `wait=N`: answer when the order is final, or after N seconds, at most 30.
        prefer: Header<Option<String>>,
        /// Names this request, such as by a UUID: 1 to 255 characters, quoted or bare. It is remembered for 48 hours.
        #[oai(
            name = "Idempotency-Key",
            validator(min_length = 1, max_length = 255, pattern = r"^[!-~]([ -~]*[!-~])?$")
        )]
        idempotency_key: Header<Option<String>>,
        order: JsonBody<NewOrder>,
    ) -> Result<Accepted, Refusal> {
        let details = order.0.check()?;
        if !caller.may_act_for(&details.customer_id) {
            return Err(Refusal::forbidden("a customer may place orders for itself alone"));
        }
        let order = OrderId(list::new_id(self.0.wiring.clock.now()));
        let mut ask = Ask::new(order, correlation_id.0, traceparent.0);
        let claimed = match idempotency_key.as_deref() {
            Some(header) => Some(self.0.claim(&caller, "place", key(header)?, details.asked(), &mut ask).await?),
            None => None,
        };
        ask.id = event_id(OrderSaga::SERVICE, ask.order, 1, "place");
        let wait = Wait::of(prefer.as_deref()).and_then(|wait| Some((wait, self.0.waiting.enter(ask.order)?)));
        let is_known = claimed == Some(Claimed::Before) && self.0.find(ask.order).await?.is_some();
        let replayed = is_known || {
            // More would wait longer than their deadlines allow.
            if self.0.wiring.load.under_way() >= self.0.limit {
                return Err(Refusal::unavailable("too many orders are under way; nothing was stored, try again"));
            }
            !self.0.take(&ask, Input::Place(details)).await?.applied
        };
        let (mut status, mut applied) = (OrderStatus::Pending, None);
        if let Some((wait, ended)) = wait {
            // What was accepted stays so, whatever goes wrong now.
            if let Ok(Some(instance)) = self.0.until_final(ask.order, ended, wait, &stopping).await {
                status = instance.state.stage.into();
            }
            applied = Some(wait.applied());
        }
        Ok(accepted(ask, status, applied, replayed))
    }

    /// List orders, newest first.
    ///
    /// A page holds up to `limit` orders. Where there are more, `nextCursor` says where the list goes on: what is placed
    /// meanwhile neither moves nor repeats anything.
    #[oai(path = "/api/orders", method = "get", tag = "Tag::Orders")]
    #[expect(clippy::too_many_arguments, reason = "each is a filter that the documents name")]
    async fn list(
        &self,
        caller: Data<&Caller>,
        /// Orders that stand so.
        status: Query<Option<OrderStatus>>,
        /// Orders of this customer.
        #[oai(
            name = "customerId",
            validator(
                min_length = 1,
                max_length = 200,
                pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
            )
        )]
        customer_id: Query<Option<String>>,
        /// Orders from this moment on, ISO 8601.
        #[oai(name = "createdFrom")]
        created_from: Query<Option<OffsetDateTime>>,
        /// Orders up to this moment, ISO 8601.
        #[oai(name = "createdTo")]
        created_to: Query<Option<OffsetDateTime>>,
        /// Orders that are past their deadline, and still wait.
        stuck: Query<Option<bool>>,
        /// How many, from 1 to 100; 20, if it is not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u64>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<OrderList>, Refusal> {
        let filter = Filter {
            status: status.0,
            customer_id: customer_id.0,
            created_from: created_from.0,
            created_to: created_to.0,
            stuck: stuck.0.unwrap_or(false),
            limit: limit.0,
            cursor: cursor.0,
        };
        let (orders, next_cursor) = filter.find(&caller, &self.0.database, self.0.wiring.clock.now()).await?;
        Ok(Json(OrderList { orders: orders.into_iter().map(OrderView::from).collect(), next_cursor }))
    }

    /// Follow all orders.
    ///
    /// Server-sent events named `order`, one for each change of an order; of changes that follow within moments, the
    /// last. Each has an `id`: come back with it as `Last-Event-ID`, and the stream goes on from there.
    #[oai(path = "/api/orders/events", method = "get", tag = "Tag::Orders")]
    async fn follow_all(
        &self,
        caller: Data<&Caller>,
        stopping: Data<&Stopping>,
        /// The `id` of the last event that was received.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
    ) -> Result<Stream<OrderChange>, Refusal> {
        let none = |()| Refusal::malformed("Last-Event-ID", "is none that this stream has given");
        let since = last_event_id.0.map(|id| id.parse().map_err(none)).transpose()?;
        self.0.changes(caller.clone(), since, &stopping).await
    }

    /// Read an order.
    #[oai(path = "/api/orders/:orderId", method = "get", tag = "Tag::Orders")]
    async fn read(
        &self,
        caller: Data<&Caller>,
        stopping: Data<&Stopping>,
        /// The order.
        #[oai(name = "orderId")]
        order_id: Path<Uuid>,
        /// `wait=N`: answer when the order is final, or after N seconds, at most 30.
        prefer: Header<Option<String>>,
    ) -> Result<Found, Refusal> {
        let order = OrderId(order_id.0);
        let wait = Wait::of(prefer.as_deref()).and_then(|wait| Some((wait, self.0.waiting.enter(order)?)));
        let mut found = self.0.read(order, &caller).await?;
        let applied = wait.as_ref().map(|(wait, _)| wait.applied());
        if let Some((wait, ended)) = wait.filter(|_| !is_final(found.state.stage)) {
            found = match self.0.until_final(order, ended, wait, &stopping).await? {
                Some(ended) => ended,
                None => self.0.read(order, &caller).await?,
            };
        }
        let etag = etag(found.version);
        Ok(Found::Found(Json(found.into()), etag, applied))
    }

    /// Read what an order has been through.
    ///
    /// Every request, deadline, event and transition that order-service knows of, in the order in which it took note of
    /// them, and the steps that are still to come with their deadlines.
    #[oai(path = "/api/orders/:orderId/timeline", method = "get", tag = "Tag::Orders")]
    async fn timeline(
        &self,
        caller: Data<&Caller>,
        /// The order.
        #[oai(name = "orderId")]
        order_id: Path<Uuid>,
    ) -> Result<Json<Timeline>, Refusal> {
        Ok(Json(self.0.read(OrderId(order_id.0), &caller).await?.into()))
    }

    /// Follow an order.
    ///
    /// Server-sent events named `order`: how the order stands now, and after each change; of changes that follow within
    /// moments, the last. The `id` is the order's version: come back with it as `Last-Event-ID`, and what is known is
    /// not said again.
    #[oai(path = "/api/orders/:orderId/events", method = "get", tag = "Tag::Orders")]
    async fn follow(
        &self,
        caller: Data<&Caller>,
        stopping: Data<&Stopping>,
        /// The order.
        #[oai(name = "orderId")]
        order_id: Path<Uuid>,
        /// The `id` of the last event that was received.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
    ) -> Result<Stream<OrderView>, Refusal> {
        let none = |_| Refusal::malformed("Last-Event-ID", "is none that this stream has given");
        let since = last_event_id.0.map(|id| id.parse::<i64>().map_err(none)).transpose()?;
        let order = self.0.read(OrderId(order_id.0), &caller).await?;
        self.0.changes_of(order.order, since, &stopping).await
    }

    /// Call an order off.
    ///
    /// Possible while it is pending and after it was confirmed; what was charged is given back and what was held is
    /// released. Calling it off again changes nothing. With `If-Match` it is called off only as the caller knows it.
    #[oai(path = "/api/orders/:orderId/cancel", method = "post", tag = "Tag::Orders")]
    #[expect(clippy::too_many_arguments, reason = "each is a header that the documents name")]
    async fn cancel(
        &self,
        caller: Data<&Caller>,
        /// The order.
        #[oai(name = "orderId")]
        order_id: Path<Uuid>,
        /// For the logs; without it the request gets a new UUID.
        #[oai(
            name = "X-Correlation-Id",
            validator(min_length = 1, max_length = 200, pattern = r"^[!-~]([ -~]*[!-~])?$")
        )]
        correlation_id: Header<Option<String>>,
        /// W3C trace context.
        traceparent: Header<Option<String>>,
        /// Names this request, such as by a UUID: 1 to 255 characters, quoted or bare. It is remembered for 48 hours.
        #[oai(
            name = "Idempotency-Key",
            validator(min_length = 1, max_length = 255, pattern = r"^[!-~]([ -~]*[!-~])?$")
        )]
        idempotency_key: Header<Option<String>>,
        /// The `ETag` of the order as the caller knows it.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        cancellation: OptionalJsonBody<Cancellation>,
    ) -> Result<Accepted, Refusal> {
        let reason = Cancellation::check(cancellation.0)?;
        let order = self.0.read(OrderId(order_id.0), &caller).await?;
        let mut ask = Ask::new(order.order, correlation_id.0, traceparent.0);
        if let Some(header) = idempotency_key.as_deref() {
            let operation = format!("cancel {}", order.order);
            self.0.claim(&caller, &operation, key(header)?, reason.clone().into_bytes(), &mut ask).await?;
        }
        let replayed = order.applied.contains(&ask.id);
        // Any version will do for `*`.
        if let Some(tags) = if_match.as_deref().filter(|tags| tags.trim() != "*") {
            if !replayed && !matches(tags, order.version) {
                return Err(changed(order.order));
            }
            ask.expected = Some(order.version);
        }
        let taken = self.0.take(&ask, Input::Cancel(reason)).await?;
        Ok(accepted(ask, taken.status, None, replayed))
    }
}

/// Whether one of these entity tags is that of this version, by the strong comparison of RFC 9110.
fn matches(if_match: &str, version: i64) -> bool {
    if_match.split(',').any(|tag| tag.trim() == etag(version))
}

fn changed(order: OrderId) -> Refusal {
    Refusal::stale(format!("order {order} has changed meanwhile; GET /api/orders/{order} shows it with its new ETag"))
}

/// A caller's request, on its way to an order.
struct Ask {
    order: OrderId,
    id: Uuid,
    correlation_id: String,
    traceparent: String,
    expected: Option<i64>,
    patience: Duration,
}

impl Ask {
    fn new(order: OrderId, correlation_id: Option<String>, traceparent: Option<String>) -> Self {
        Ask {
            order,
            id: Uuid::now_v7(),
            correlation_id: correlation_id.unwrap_or_default(),
            traceparent: trace::accept(traceparent.as_deref()),
            expected: None,
            patience: PATIENCE,
        }
    }
}

/// Whether an idempotency key was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claimed {
    Now,
    Before,
}

/// What became of an [`Ask`].
struct Taken {
    /// Whether it changed anything.
    applied: bool,
    status: OrderStatus,
}

fn accepted(ask: Ask, status: OrderStatus, applied: Option<String>, replayed: bool) -> Accepted {
    let Ask { order, correlation_id, .. } = ask;
    let acknowledgement = Acknowledgement { order_id: order.0, status, correlation_id: correlation_id.clone() };
    let location = format!("/api/orders/{order}");
    Accepted::Accepted(Json(acknowledgement), location, correlation_id, applied, replayed.then(|| "true".to_owned()))
}

impl Api {
    async fn find(&self, order: OrderId) -> Result<Option<Instance<OrderSaga>>, StoreError> {
        Ok(self.wiring.store.load(&[order]).await?.pop().map(|loaded| loaded.instance))
    }

    /// The order, if there is one that this caller may see. Another's is none.
    async fn read(&self, order: OrderId, caller: &Caller) -> Result<Instance<OrderSaga>, Refusal> {
        let found = self.find(order).await?.filter(|found| caller.may_act_for(&found.state.details.customer_id));
        found.ok_or_else(|| unknown(order))
    }

    /// Waits for an order's end, but not longer than is wished, and not when the service is being stopped.
    async fn until_final(
        &self,
        order: OrderId,
        ended: Ended,
        wait: Wait,
        stopping: &Stopping,
    ) -> Result<Option<Instance<OrderSaga>>, StoreError> {
        let until = Instant::now() + wait.duration();
        tokio::select! {
            found = self.waiting.until_final(order, ended, until, &*self.wiring.store) => found,
            () = stopping.0.cancelled() => Ok(None),
        }
    }

    /// Claims a key for what is asked. What was asked first under this key is asked again, or refused if it was
    /// something else.
    async fn claim(
        &self,
        caller: &Caller,
        operation: &str,
        key: &str,
        asked: Vec<u8>,
        ask: &mut Ask,
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
        let made = self.claims.call(|reply| Request::Do(claim, reply));
        let made = tokio::time::timeout(PATIENCE, made).await;
        let busy = || Refusal::unavailable("the idempotency key could not be stored; nothing was done, try again");
        let first = made.map_err(|_| busy())?.map_err(|_| busy())??;
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

    async fn take(&self, ask: &Ask, input: Input) -> Result<Taken, Refusal> {
        let _place = self
            .window
            .try_acquire()
            .map_err(|_| Refusal::unavailable("too many requests are waiting; nothing was stored, try again"))?;
        if !self.wiring.health.is_ready() {
            return Err(Refusal::unavailable("the service is not ready; nothing was stored, try again"));
        }
        let order = ask.order;
        let cause = Caused {
            origin: Origin::Here,
            id: ask.id,
            correlation_id: ask.correlation_id.clone(),
            traceparent: ask.traceparent.clone(),
            input,
            expected: ask.expected,
        };
        let in_doubt = || {
            let detail = format!("it is not known whether order {order} was changed; GET /api/orders/{order} tells");
            Refusal::unavailable(detail)
        };
        let taken = match tokio::time::timeout(ask.patience, self.wiring.order(order, cause)).await {
            Ok(taken) => taken.map_err(|_| in_doubt())?,
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

fn unknown(order: OrderId) -> Refusal {
    Refusal::not_found(format!("there is no order {order}"))
}
