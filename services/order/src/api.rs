//! The HTTP API of order-service.

mod ask;
mod list;
mod reply;
mod request;
mod stream;
mod timeline;
mod view;

pub(crate) use stream::STREAMS;

use crate::feed::FeedMessage;
use crate::saga::{Input, OrderSaga};
use crate::store::claims::Claims;
use crate::waiting::{Waiting, is_final};
use ask::{Ask, Claimed, changed, matches};
use contracts::{Money, OrderId, event_id};
use list::Filter;
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{OpenApi, Tags};
use reply::{Accepted, Found, Placed};
use request::{Cancellation, IdempotencyKey, NewOrder, key};
use runtime::actors::Wiring;
use runtime::actors::address::Address;
use runtime::actors::group_commit::Request;
use runtime::database::Database;
use runtime::http::{Caller, CorrelationId, JsonAmount, JsonBody, OptionalJsonBody, Refusal, Stopping, Wait, Words};
use runtime::saga::Saga;
use std::sync::Arc;
use stream::{Stream, Told};
use time::OffsetDateTime;
use timeline::Timeline;
use tokio::sync::Semaphore;
use uuid::Uuid;
use view::{OrderList, OrderStatus, OrderView, etag};

/// Requests that may wait for the journal at a time; more are told to come back.
pub(crate) const WINDOW: usize = 2_000;

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
    pub window: Arc<Semaphore>,
    /// Room for streams.
    pub streams: Arc<Semaphore>,
    /// Room for those of them that read what they have missed.
    pub catching_up: Arc<Semaphore>,
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

#[OpenApi]
impl Routes {
    /// Place an order.
    ///
    /// Answers as soon as the order and its `OrderCreated` event are committed. Payment and stock follow: read the
    /// order to see how it ends, or wait for that with `Prefer: wait=10`. With an `Idempotency-Key` the request can be
    /// sent again without harm: there is one order, and the answer tells of it.
    #[oai(path = "/api/orders", method = "post", tag = "Tag::Orders")]
    #[expect(clippy::too_many_arguments, reason = "each is a header that the documents name")]
    async fn place(
        &self,
        caller: Data<&Caller>,
        stopping: Data<&Stopping>,
        /// Ties together all that comes of this request; without it the request gets a new UUID.
        #[oai(name = "X-Correlation-Id")]
        correlation_id: Header<Option<CorrelationId>>,
        /// W3C trace context.
        traceparent: Header<Option<String>>,
        /// `wait=N`: answer when the order is final, or after N seconds, at most 30.
        prefer: Header<Option<String>>,
        /// Names this request, such as by a UUID: 1 to 255 characters, bare or in quotes. It is remembered for 48 hours.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<IdempotencyKey>>,
        order: JsonBody<NewOrder>,
    ) -> Result<Placed, Refusal> {
        let details = order.0.check()?;
        if !caller.may_act_for(&details.customer_id) {
            return Err(Refusal::forbidden("a customer may place orders for itself alone"));
        }
        let order = OrderId(list::new_id(self.0.wiring.clock.now()));
        let mut ask = Ask::new(order, correlation_id.0, traceparent.0);
        let room = self.0.room_for_an_order();
        let claimed = match &idempotency_key.0 {
            Some(header) => {
                self.0.claim(&caller, "place", key(&header.0)?, details.asked(), &mut ask, room.is_ok()).await?
            }
            None => Claimed::Now,
        };
        ask.id = event_id(OrderSaga::SERVICE, ask.order, 1, "place");
        let wait = Wait::of(prefer.as_deref()).and_then(|wait| Some((wait, self.0.waiting.enter(ask.order)?)));
        let is_known = claimed == Claimed::Before && self.0.find(ask.order).await?.is_some();
        let replayed = match (is_known, room) {
            (true, _) => true,
            (false, room) => {
                let taken = self.0.take(&ask, Input::Place(Arc::new(details)), room?).await?;
                // A commit whose answer was lost is found applied, too, by the request that it was of.
                claimed == Claimed::Before && !taken.applied
            }
        };
        let applied = wait.as_ref().map(|(wait, _)| wait.applied());
        let ended = match wait {
            // What was accepted stays so, whatever goes wrong now.
            Some((wait, ended)) => self.0.until_final(ask.order, ended, wait, &stopping).await.unwrap_or(None),
            None => None,
        };
        Ok(Placed::of(ask, ended, applied, replayed))
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
        #[oai(name = "customerId")]
        customer_id: Query<Option<Words>>,
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
    ) -> Result<Stream<Told>, Refusal> {
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
        /// The `ETag` of the order as the caller has it: if it is still so, the answer is 304 without a body.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
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
        if if_none_match.as_deref().is_some_and(|tags| tags.trim() == "*" || matches(tags, found.version)) {
            return Ok(Found::Unchanged(etag));
        }
        Ok(Found::Found(Json(Box::new(found.into())), etag, applied))
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
        #[oai(name = "X-Correlation-Id")]
        correlation_id: Header<Option<CorrelationId>>,
        /// W3C trace context.
        traceparent: Header<Option<String>>,
        /// Names this request, such as by a UUID: 1 to 255 characters, bare or in quotes. It is remembered for 48 hours.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<IdempotencyKey>>,
        /// The `ETag` of the order as the caller knows it.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        cancellation: OptionalJsonBody<Cancellation>,
    ) -> Result<Accepted, Refusal> {
        let reason = Cancellation::check(cancellation.0)?;
        let (asked, input) = (reason.clone().into_bytes(), Input::Cancel(reason));
        let order = self.0.read(OrderId(order_id.0), &caller).await?;
        let mut ask = Ask::new(order.order, correlation_id.0, traceparent.0);
        // Any version will do for `*`.
        let tags = if_match.as_deref().filter(|tags| tags.trim() != "*");
        let is_stale = tags.is_some_and(|tags| !matches(tags, order.version));
        let room = self.0.room();
        if let Some(header) = &idempotency_key.0 {
            let operation = format!("cancel {}", order.order);
            let may_claim = room.is_ok() && !is_stale && self.0.would_take(&order, &input);
            self.0.claim(&caller, &operation, key(&header.0)?, asked, &mut ask, may_claim).await?;
        }
        let replayed = order.applied.contains(&ask.id);
        if is_stale && !replayed {
            return Err(changed(order.order));
        }
        ask.expected = tags.map(|_| order.version);
        let taken = self.0.take(&ask, input, room?).await?;
        Ok(Accepted::of(ask, taken.status, replayed))
    }
}
