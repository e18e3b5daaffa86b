//! The HTTP API of notification-service.

use crate::store::notifications::{Column, Entity, Model};
use contracts::Timestamp;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi, Tags};
use runtime::database::Database;
use runtime::http::Refusal;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

/// The routes.
pub struct Api {
    database: Database,
}

#[derive(Tags)]
enum Tag {
    /// What customers were told.
    Notifications,
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
    /// The way to the customer, such as `LOG`.
    channel: String,
    /// `PENDING`, `SENT`, or `SUPERSEDED` by a cancellation and not sent.
    status: String,
    /// What it says.
    text: String,
    /// ISO 8601, UTC.
    created_at: String,
    /// ISO 8601, UTC.
    #[oai(skip_serializing_if_is_none)]
    sent_at: Option<String>,
}

impl From<Model> for NotificationView {
    fn from(row: Model) -> Self {
        NotificationView {
            notification_id: row.notification_id,
            order_id: row.order_id,
            customer_id: row.customer_id,
            occasion: row.occasion,
            channel: row.channel,
            status: row.status,
            text: row.text,
            created_at: Timestamp(row.created_at).to_string(),
            sent_at: row.sent_at.map(|at| Timestamp(at).to_string()),
        }
    }
}

/// Notices.
#[derive(Clone, Debug, Object)]
struct Notifications {
    /// The notices that match, in the order in which they came.
    notifications: Vec<NotificationView>,
}

#[OpenApi]
impl Api {
    /// What a customer was told of an order.
    #[oai(path = "/api/notifications", method = "get", tag = "Tag::Notifications")]
    async fn list(
        &self,
        /// The order.
        #[oai(name = "orderId")]
        order_id: Query<Uuid>,
    ) -> Result<Json<Notifications>, Refusal> {
        let rows = Entity::find()
            .filter(Column::OrderId.eq(order_id.0))
            .order_by_asc(Column::CreatedAt)
            .all(&self.database.read)
            .await?;
        Ok(Json(Notifications { notifications: rows.into_iter().map(NotificationView::from).collect() }))
    }
}

impl Api {
    /// The routes of this service.
    pub fn new(database: Database) -> Self {
        Api { database }
    }
}
