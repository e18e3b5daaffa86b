//! The HTTP API of order-service.

use crate::saga::{Details, Input, Order, OrderSaga, Stage};
use crate::waiting::{Ended, Waiting, is_final};
use contracts::{Money, OrderId, OrderLine, event_id, is_iso4217};
use poem::web::Data;
use poem_openapi::param::{Header, Path};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi, Tags};
use runtime::actors::Wiring;
use runtime::actors::order::Outcome;
use runtime::http::{Fields, JsonAmount, JsonBody, OptionalJsonBody, Refusal, Stopping, Wait};
use runtime::saga::{Caused, Instance, Named, Origin, Rejection, Saga};
use runtime::store::StoreError;
use runtime::trace;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

/// Requests that may wait for the journal at a time; more are told to come back.
const WINDOW: usize = 2_000;
/// How long a request waits for its commit.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines of one order.
const MAX_LINES: usize = 500;

/// The routes.
pub struct Api {
    wiring: Arc<Wiring<OrderSaga>>,
    waiting: Arc<Waiting>,
    window: Semaphore,
    limit: u64,
}

#[derive(Tags)]
enum Tag {
    /// Placing and following orders.
    Orders,
}

/// An order to be placed.
#[derive(Clone, Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct NewOrder {
    /// Who orders. 1 to 200 characters.
    customer_id: String,
    /// What is charged: at least 0.01, and at least the sum of the lines (it may hold shipping or tax).
    total_amount: JsonAmount,
    /// An alphabetic code of ISO 4217.
    currency: String,
    /// What is ordered. 1 to 500 lines; lines of one product count together.
    items: Vec<NewLine>,
}

/// One line of an order.
#[derive(Clone, Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", rename = "OrderLine")]
#[serde(rename_all = "camelCase")]
struct NewLine {
    /// The product. 1 to 200 characters.
    product_id: String,
    /// How many, from 1 to 1000000000.
    quantity: i64,
    /// The price of one, 0 or more.
    unit_price: JsonAmount,
}

fn amount(ten_thousandths: i64) -> JsonAmount {
    Money::from_ten_thousandths(ten_thousandths).into()
}

impl Example for NewOrder {
    fn example() -> Self {
        let line = NewLine { product_id: "P1".into(), quantity: 2, unit_price: amount(499_900) };
        NewOrder {
            customer_id: "cust-1".into(),
            total_amount: amount(999_900),
            currency: "USD".into(),
            items: vec![line],
        }
    }
}

impl NewOrder {
    /// The order, or every field that is at fault.
    fn check(self) -> Result<Details, Refusal> {
        let mut fields = Fields::default();
        fields.check_text(&self.customer_id, "/customerId");
        fields.check(is_iso4217(&self.currency), "/currency", "must be a three-letter code of ISO 4217, such as USD");
        let lines = self.items.len();
        fields.check(lines > 0, "/items", "must not be empty");
        fields.check(lines <= MAX_LINES, "/items", format!("must have at most {MAX_LINES} lines"));
        let mut sum = 0_i128;
        for (i, line) in self.items.iter().enumerate() {
            fields.check_text(&line.product_id, &format!("/items/{i}/productId"));
            let deliverable = (1..=contracts::MAX_QUANTITY).contains(&line.quantity);
            let most = contracts::MAX_QUANTITY;
            fields.check(deliverable, format!("/items/{i}/quantity"), format!("must be from 1 to {most}"));
            let price = line.unit_price.money();
            let pointer = format!("/items/{i}/unitPrice");
            match price {
                Ok(price) => {
                    fields.check(price >= Money::ZERO, pointer, "must not be negative");
                    sum += i128::from(price.ten_thousandths()) * i128::from(line.quantity);
                }
                Err(why) => fields.check(false, pointer, why),
            }
        }
        let total = self.total_amount.money();
        match &total {
            Ok(total) => {
                fields.check(total.ten_thousandths() >= 100, "/totalAmount", "must be at least 0.01");
                let covers = i128::from(total.ten_thousandths()) >= sum;
                fields.check(covers, "/totalAmount", "must not be less than the sum of the lines");
            }
            Err(why) => fields.check(false, "/totalAmount", why),
        }
        fields.finish()?;
        let line = |line: NewLine| OrderLine {
            product_id: line.product_id,
            quantity: line.quantity,
            unit_price: line.unit_price.0,
        };
        Ok(Details {
            customer_id: self.customer_id,
            total: total.unwrap_or_default(),
            currency: self.currency,
            lines: self.items.into_iter().map(line).collect(),
        })
    }
}

/// Why an order is called off.
#[derive(Clone, Debug, Default, Object, Deserialize)]
#[oai(example)]
struct Cancellation {
    /// In the caller's words. At most 200 characters.
    #[serde(default)]
    reason: Option<String>,
}

impl Example for Cancellation {
    fn example() -> Self {
        Cancellation { reason: Some("ordered twice".into()) }
    }
}

/// How an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
enum OrderStatus {
    /// Payment and stock are being settled.
    Pending,
    /// Paid for and held.
    Confirmed,
    /// It will not be delivered; `reason` says why.
    Failed,
    /// It was called off.
    Cancelled,
}

impl From<Stage> for OrderStatus {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Unknown | Stage::AwaitingPayment | Stage::AwaitingInventory => OrderStatus::Pending,
            Stage::Confirmed => OrderStatus::Confirmed,
            Stage::Failed => OrderStatus::Failed,
            Stage::Cancelled => OrderStatus::Cancelled,
        }
    }
}

/// What became of a request.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
struct Acknowledgement {
    /// The order.
    order_id: Uuid,
    /// How it stands.
    status: OrderStatus,
    /// The request's correlation id.
    correlation_id: String,
}

/// Why an order ended without delivery.
#[derive(Clone, Debug, Object)]
struct OrderReason {
    /// `PAYMENT_DECLINED`, `OUT_OF_STOCK`, `PAYMENT_TIMEOUT`, `INVENTORY_TIMEOUT` or `CANCELLED`.
    code: String,
    /// In words.
    message: String,
}

/// One line of an order.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
struct LineView {
    /// The product.
    product_id: String,
    /// How many.
    quantity: i64,
    /// The price of one.
    unit_price: JsonAmount,
}

/// An order.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "Order")]
struct OrderView {
    /// The order.
    order_id: Uuid,
    /// How it stands.
    status: OrderStatus,
    /// What it waits for, while it is pending: `AWAITING_PAYMENT` or `AWAITING_INVENTORY`.
    #[oai(skip_serializing_if_is_none)]
    stage: Option<String>,
    /// Until when it waits for that, ISO 8601, UTC.
    #[oai(skip_serializing_if_is_none)]
    deadline: Option<String>,
    /// What is known of the money: `UNKNOWN`, `NONE`, `CHARGED`, `REFUND_DUE` or `REFUNDED`.
    money: String,
    /// Why it ended without delivery, if it did.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<OrderReason>,
    /// Who ordered.
    customer_id: String,
    /// What is charged.
    total_amount: JsonAmount,
    /// ISO 4217.
    currency: String,
    /// What was ordered.
    items: Vec<LineView>,
    /// Ties together all that came of the order, over all services.
    correlation_id: String,
    /// When it was accepted, ISO 8601, UTC.
    created_at: String,
    /// When it last changed, ISO 8601, UTC.
    updated_at: String,
    /// Counts its changes.
    version: i64,
}

impl From<Instance<OrderSaga>> for OrderView {
    fn from(instance: Instance<OrderSaga>) -> Self {
        let Order { stage, money, details, reason, deadline } = instance.state;
        let line = |line: OrderLine| LineView {
            product_id: line.product_id,
            quantity: line.quantity,
            unit_price: JsonAmount(line.unit_price),
        };
        let status = OrderStatus::from(stage);
        OrderView {
            order_id: instance.order.0,
            status,
            stage: (status == OrderStatus::Pending).then(|| stage.name().to_owned()),
            deadline: deadline.map(|deadline| deadline.to_string()),
            money: money.name().to_owned(),
            reason: reason.map(|reason| OrderReason { code: reason.code, message: reason.message }),
            customer_id: details.customer_id,
            total_amount: details.total.into(),
            currency: details.currency,
            items: details.lines.into_iter().map(line).collect(),
            correlation_id: instance.correlation_id,
            created_at: instance.created_at.to_string(),
            updated_at: instance.updated_at.to_string(),
            version: instance.version,
        }
    }
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
    ),
}

/// An order that was found.
#[derive(ApiResponse)]
enum Found {
    /// How it stands.
    #[oai(status = 200)]
    Found(
        Json<OrderView>,
        /// `wait=N`, if the answer was held back as the header Prefer wished.
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
}

#[OpenApi]
impl Api {
    /// Place an order.
    ///
    /// Answers as soon as the order and its `OrderCreated` event are committed. Payment and stock follow: read the
    /// order to see how it ends, or wait for that with `Prefer: wait=10`.
    #[oai(path = "/api/orders", method = "post", tag = "Tag::Orders")]
    async fn place(
        &self,
        /// Ties together all that comes of this request; without it the request gets a new UUID.
        #[oai(name = "X-Correlation-Id")]
        correlation_id: Header<Option<String>>,
        /// W3C trace context.
        traceparent: Header<Option<String>>,
        /// `wait=N`: answer when the order is final, or after N seconds, at most 30.
        prefer: Header<Option<String>>,
        stopping: Data<&Stopping>,
        order: JsonBody<NewOrder>,
    ) -> Result<Accepted, Refusal> {
        let details = order.0.check()?;
        // More would wait longer than their deadlines allow.
        if self.wiring.load.under_way() >= self.limit {
            return Err(Refusal::unavailable("too many orders are under way; nothing was stored, try again"));
        }
        let order = OrderId(Uuid::now_v7());
        let id = event_id(OrderSaga::SERVICE, order, 1, "place");
        let wait = Wait::of(prefer.as_deref()).and_then(|wait| Some((wait, self.waiting.enter(order)?)));
        let mut accepted = self.take(order, id, Input::Place(details), correlation_id.0, traceparent.0).await?;
        if let Some((wait, ended)) = wait {
            let Accepted::Accepted(Json(acknowledgement), _, _, applied) = &mut accepted;
            // What was accepted stays so, whatever goes wrong now.
            if let Ok(Some(instance)) = self.until_final(order, ended, wait, &stopping).await {
                acknowledgement.status = instance.state.stage.into();
            }
            *applied = Some(wait.applied());
        }
        Ok(accepted)
    }

    /// Read an order.
    #[oai(path = "/api/orders/:orderId", method = "get", tag = "Tag::Orders")]
    async fn read(
        &self,
        /// The order.
        #[oai(name = "orderId")]
        order_id: Path<Uuid>,
        /// `wait=N`: answer when the order is final, or after N seconds, at most 30.
        prefer: Header<Option<String>>,
        stopping: Data<&Stopping>,
    ) -> Result<Found, Refusal> {
        let order = OrderId(order_id.0);
        let wait = Wait::of(prefer.as_deref()).and_then(|wait| Some((wait, self.waiting.enter(order)?)));
        let mut found = self.load(order).await?;
        let applied = wait.as_ref().map(|(wait, _)| wait.applied());
        if let Some((wait, ended)) = wait.filter(|_| !is_final(found.state.stage)) {
            found = match self.until_final(order, ended, wait, &stopping).await? {
                Some(ended) => ended,
                None => self.load(order).await?,
            };
        }
        Ok(Found::Found(Json(found.into()), applied))
    }

    /// Call an order off.
    ///
    /// Possible while it is pending and after it was confirmed; what was charged is given back and what was held is
    /// released. Calling it off again changes nothing.
    #[oai(path = "/api/orders/:orderId/cancel", method = "post", tag = "Tag::Orders")]
    async fn cancel(
        &self,
        /// The order.
        #[oai(name = "orderId")]
        order_id: Path<Uuid>,
        /// For the logs; without it the request gets a new UUID.
        #[oai(name = "X-Correlation-Id")]
        correlation_id: Header<Option<String>>,
        /// W3C trace context.
        traceparent: Header<Option<String>>,
        cancellation: OptionalJsonBody<Cancellation>,
    ) -> Result<Accepted, Refusal> {
        let reason = cancellation.0.and_then(|body| body.reason).unwrap_or_else(|| "cancelled on request".into());
        let mut fields = Fields::default();
        fields.check_text(&reason, "/reason");
        fields.finish()?;
        let id = Uuid::now_v7();
        self.take(OrderId(order_id.0), id, Input::Cancel(reason), correlation_id.0, traceparent.0).await
    }
}

impl Api {
    /// The routes of this service.
    pub fn new(wiring: Arc<Wiring<OrderSaga>>, waiting: Arc<Waiting>, limit: u64) -> Self {
        Api { wiring, waiting, window: Semaphore::new(WINDOW), limit }
    }

    async fn load(&self, order: OrderId) -> Result<Instance<OrderSaga>, Refusal> {
        let found = self.wiring.store.load(&[order]).await?.pop().map(|loaded| loaded.instance);
        found.ok_or_else(|| Refusal::not_found(format!("there is no order {order}")))
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

    async fn take(
        &self,
        order: OrderId,
        id: Uuid,
        input: Input,
        correlation_id: Option<String>,
        traceparent: Option<String>,
    ) -> Result<Accepted, Refusal> {
        let _place = self
            .window
            .try_acquire()
            .map_err(|_| Refusal::unavailable("too many requests are waiting; nothing was stored, try again"))?;
        if !self.wiring.health.is_ready() {
            return Err(Refusal::unavailable("the service is not ready; nothing was stored, try again"));
        }
        let correlation_id = correlation_id.unwrap_or_default();
        let traceparent = trace::accept(traceparent.as_deref());
        let cause = Caused { origin: Origin::Here, id, correlation_id: correlation_id.clone(), traceparent, input };
        let unknown = || {
            let detail = format!("it is not known whether order {order} was changed; GET /api/orders/{order} tells");
            Refusal::unavailable(detail)
        };
        let taken = tokio::time::timeout(PATIENCE, self.wiring.order(order, cause)).await;
        match taken.map_err(|_| unknown())?.map_err(|_| unknown())? {
            Outcome::Applied(instance) | Outcome::Nothing(_, instance) => Ok(Accepted::Accepted(
                Json(Acknowledgement {
                    order_id: order.0,
                    status: instance.state.stage.into(),
                    correlation_id: correlation_id.clone(),
                }),
                format!("/api/orders/{order}"),
                correlation_id,
                None,
            )),
            Outcome::Rejected(Rejection::UnknownOrder) => Err(Refusal::not_found(format!("there is no order {order}"))),
            Outcome::Rejected(why @ (Rejection::AlreadyFailed | Rejection::NothingUnderWay)) => {
                Err(Refusal::conflict(format!("order {order} cannot be cancelled: {why}")))
            }
            Outcome::Refused(why) => {
                tracing::error!(order_id = %order, why, "an order could not be stored");
                Err(Refusal::unavailable("the order could not be stored"))
            }
            Outcome::Unavailable => Err(unknown()),
        }
    }
}
