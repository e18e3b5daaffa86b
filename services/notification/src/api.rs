//! The HTTP API of notification-service.

use crate::saga::{Channel, Input, Key, NotificationSaga, Occasion, Status};
use crate::store::deliveries::{Column as Delivery, Entity as Deliveries, Model as DeliveryRow};
use crate::store::notifications::{Column, Entity, Model};
use contracts::{OrderId, Timestamp};
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi, Tags};
use runtime::actors::Wiring;
use runtime::audit::{Entry, record_first};
use runtime::database::Database;
use runtime::http::{Caller, CorrelationId, MOST, Page, Refusal, wish};
use runtime::saga::Named;
use runtime::store::sql::{before, behind};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

/// The routes.
pub struct Api {
    database: Database,
    wiring: Arc<Wiring<NotificationSaga>>,
}

#[derive(Tags)]
enum Tag {
    /// What customers were told.
    Notifications,
    /// For those who look after notices that do not arrive.
    Operators,
}

/// How far a notice has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename = "NotificationStatus", rename_all = "SCREAMING_SNAKE_CASE")]
enum StatusView {
    /// It is to be sent, or to be tried again.
    Pending,
    /// It was sent.
    Sent,
    /// It could not be sent, and is not tried any more unless an operator sends it again.
    Failed,
    /// A cancellation has overtaken it, and it is not sent.
    Superseded,
}

/// A way to the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename = "NotificationChannel", rename_all = "SCREAMING_SNAKE_CASE")]
enum ChannelView {
    /// The service's log.
    Log,
    /// Mail.
    Email,
    /// A signed message to a URL.
    Webhook,
}

/// A notice to a customer.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "Notification")]
struct NotificationView {
    /// The message id: the same, however often the notice is delivered.
    notification_id: Uuid,
    /// The order.
    order_id: Uuid,
    /// To whom.
    customer_id: String,
    /// Of what: `ORDER_CONFIRMED`, `ORDER_FAILED`, `ORDER_CANCELLED` or `PAYMENT_REFUNDED`.
    occasion: String,
    /// The way to the customer: `LOG`, `EMAIL` or `WEBHOOK`.
    channel: String,
    /// `PENDING`, `SENT`, `FAILED` and not tried any more, or `SUPERSEDED` by a cancellation and not sent.
    status: String,
    /// What it says.
    text: String,
    /// ISO 8601, UTC.
    created_at: String,
    /// ISO 8601, UTC.
    #[oai(skip_serializing_if_is_none)]
    sent_at: Option<String>,
    /// The address or URL that it goes to.
    #[oai(skip_serializing_if_is_none)]
    recipient: Option<String>,
    /// How its delivery goes, where that can fail: by mail or webhook.
    #[oai(skip_serializing_if_is_none)]
    attempts: Option<AttemptsView>,
    /// Every delivery, first one first. Only where one notice is asked for.
    #[oai(skip_serializing_if_is_none)]
    deliveries: Option<Vec<DeliveryView>>,
}

/// How the delivery of a notice goes.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "NotificationAttempts")]
struct AttemptsView {
    /// Deliveries so far, failed or not.
    count: i64,
    /// What was seen of the last one, if it failed.
    #[oai(skip_serializing_if_is_none)]
    last_error: Option<String>,
    /// Not before this moment is the next one. ISO 8601, UTC.
    #[oai(skip_serializing_if_is_none)]
    next_at: Option<String>,
}

/// One delivery of a notice.
#[derive(Clone, Debug, Object)]
#[oai(rename = "Delivery")]
struct DeliveryView {
    /// Counts the notice's deliveries, from 1.
    n: i64,
    /// When it was over. ISO 8601, UTC.
    at: String,
    /// What was seen of it; without it the notice was taken.
    #[oai(skip_serializing_if_is_none)]
    error: Option<String>,
}

impl From<DeliveryRow> for DeliveryView {
    fn from(row: DeliveryRow) -> Self {
        DeliveryView { n: row.n, at: text(row.at), error: row.error }
    }
}

impl From<Model> for NotificationView {
    fn from(row: Model) -> Self {
        let attempts = (row.channel != Channel::Log.name()).then(|| AttemptsView {
            count: row.attempts,
            last_error: row.last_error,
            next_at: row.next_at.map(text),
        });
        NotificationView {
            notification_id: row.notification_id,
            order_id: row.order_id,
            customer_id: row.customer_id,
            occasion: row.occasion,
            channel: row.channel,
            status: row.status,
            text: row.text,
            created_at: text(row.created_at),
            sent_at: row.sent_at.map(text),
            recipient: row.recipient,
            attempts,
            deliveries: None,
        }
    }
}

fn text(moment: i64) -> String {
    Timestamp(moment).to_string()
}

/// Notices.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
struct Notifications {
    /// The notices that match: those of one order in the order in which they came, others newest first.
    notifications: Vec<NotificationView>,
    /// Where the list goes on, if it does: the `cursor` of the next request.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

/// What becomes of an operator's request.
#[derive(ApiResponse)]
enum Accepted {
    /// It is committed; the notice as it stands now. Its delivery follows.
    #[oai(status = 202)]
    Accepted(Json<NotificationView>),
}

#[OpenApi]
impl Api {
    /// What customers were told.
    ///
    /// With `orderId` an order's notices, in the order in which they came; without it all notices, newest first.
    #[oai(path = "/api/notifications", method = "get", tag = "Tag::Notifications")]
    async fn list(
        &self,
        /// The order.
        #[oai(name = "orderId")]
        order_id: Query<Option<Uuid>>,
        /// Only notices that have come so far; `FAILED` are those that somebody has to see to.
        status: Query<Option<StatusView>>,
        /// Only notices that go this way.
        channel: Query<Option<ChannelView>>,
        /// How many, from 1 to 100; 100, if it is not given.
        #[oai(name = "limit", validator(minimum(value = "1"), maximum(value = "100")))]
        most: Query<Option<u64>>,
        /// `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<Notifications>, Refusal> {
        let page = Page::of(Some(most.0.unwrap_or(MOST)), cursor.0.as_deref())?;
        let mut wanted = Entity::find().limit(page.limit + 1);
        wanted = match order_id.0 {
            Some(order) => wanted
                .filter(Column::OrderId.eq(order))
                .order_by_asc(Column::CreatedAt)
                .order_by_asc(Column::NotificationId),
            None => wanted.order_by_desc(Column::CreatedAt).order_by_desc(Column::NotificationId),
        };
        if let Some((at, id)) = page.behind {
            let (columns, place) = ([Column::CreatedAt, Column::NotificationId], [at.into(), id.into()]);
            wanted = wanted.filter(if order_id.0.is_some() { behind(columns, place) } else { before(columns, place) });
        }
        if let Some(status) = status.0 {
            wanted = wanted.filter(Column::Status.eq(Status::from(status).name()));
        }
        if let Some(channel) = channel.0 {
            wanted = wanted.filter(Column::Channel.eq(Channel::from(channel).name()));
        }
        let mut rows = wanted.all(&self.database.queries).await?;
        let next_cursor = page.cut(&mut rows, |row| (row.created_at, row.notification_id));
        Ok(Json(Notifications { notifications: rows.into_iter().map(NotificationView::from).collect(), next_cursor }))
    }

    /// Read a notice, with every delivery of it.
    #[oai(path = "/api/notifications/:notificationId", method = "get", tag = "Tag::Notifications")]
    async fn read(
        &self,
        /// The notice.
        #[oai(name = "notificationId")]
        notification_id: Path<Uuid>,
    ) -> Result<Json<NotificationView>, Refusal> {
        let row = self.find(notification_id.0).await?;
        let deliveries = Deliveries::find()
            .filter(Delivery::NotificationId.eq(notification_id.0))
            .order_by_asc(Delivery::N)
            .all(&self.database.queries)
            .await?;
        let deliveries = deliveries.into_iter().map(DeliveryView::from).collect();
        Ok(Json(NotificationView { deliveries: Some(deliveries), ..row.into() }))
    }

    /// Send a notice again, and now.
    ///
    /// It goes out under the same message id, so that its receiver can tell that it is a repetition, and gets as many
    /// attempts as a new one. Possible for any notice but one that a cancellation has superseded; 409 for that.
    #[oai(path = "/api/notifications/:notificationId/resend", method = "post", tag = "Tag::Operators")]
    async fn resend(
        &self,
        /// The notice.
        #[oai(name = "notificationId")]
        notification_id: Path<Uuid>,
        /// For the logs; without it the request gets a new UUID.
        #[oai(name = "X-Correlation-Id")]
        correlation_id: Header<Option<CorrelationId>>,
        /// W3C trace context.
        traceparent: Header<Option<String>>,
        caller: Data<&Caller>,
    ) -> Result<Accepted, Refusal> {
        let id = notification_id.0;
        let row = self.find(id).await?;
        let input = Input::Resend(key(&row)?);
        let entry = Entry {
            subject: format!("notification/{id}"),
            action: "notification.resend",
            detail: json!({"orderId": row.order_id}),
            reason: None,
        };
        record_first(&self.database, &caller, self.wiring.clock.now(), entry).await?;
        let (order, said) = (OrderId(row.order_id), (correlation_id.0, traceparent.0));
        match wish(&self.wiring, order, input, said, &format!("/api/notifications/{id}")).await? {
            Ok(_) => Ok(Accepted::Accepted(Json(self.find(id).await?.into()))),
            Err(_) => {
                let detail = format!("notification {id} was superseded by a cancellation, and would be false now");
                Err(Refusal::conflict(detail))
            }
        }
    }
}

/// What tells the notice of this row apart.
fn key(row: &Model) -> Result<Key, Refusal> {
    let occasion = Occasion::named(&row.occasion).map_err(Refusal::damaged)?;
    let channel = Channel::named(&row.channel).map_err(Refusal::damaged)?;
    Ok(Key { occasion, channel })
}

impl Api {
    /// The routes of this service.
    pub fn new(database: Database, wiring: Arc<Wiring<NotificationSaga>>) -> Self {
        Api { database, wiring }
    }

    async fn find(&self, id: Uuid) -> Result<Model, Refusal> {
        let row = Entity::find().filter(Column::NotificationId.eq(id)).one(&self.database.queries).await?;
        row.ok_or_else(|| Refusal::not_found(format!("there is no notification {id}")))
    }
}

impl From<StatusView> for Status {
    fn from(status: StatusView) -> Self {
        match status {
            StatusView::Pending => Status::Pending,
            StatusView::Sent => Status::Sent,
            StatusView::Failed => Status::Failed,
            StatusView::Superseded => Status::Superseded,
        }
    }
}

impl From<ChannelView> for Channel {
    fn from(channel: ChannelView) -> Self {
        match channel {
            ChannelView::Log => Channel::Log,
            ChannelView::Email => Channel::Email,
            ChannelView::Webhook => Channel::Webhook,
        }
    }
}
