//! The HTTP API of payment-service.

use crate::saga::{PaymentSaga, Stage};
use crate::store::{Column, Entity, Model};
use contracts::{PaymentId, RefundId};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi, Tags};
use runtime::database::Database;
use runtime::http::{JsonAmount, Refusal};
use runtime::saga::Instance;
use runtime::store::sql::Table;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

/// The routes.
pub struct Api {
    database: Database,
}

#[derive(Tags)]
enum Tag {
    /// What was charged and given back.
    Payments,
}

/// How a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
enum PaymentStatus {
    /// The provider has not answered yet.
    Pending,
    /// The customer was charged.
    Confirmed,
    /// The customer was not charged, and will not be.
    Failed,
    /// The customer has the money back.
    Refunded,
}

/// A payment.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "Payment")]
struct PaymentView {
    /// The payment.
    payment_id: String,
    /// The order that is paid for.
    order_id: Uuid,
    /// Who pays.
    customer_id: String,
    /// How much.
    amount: JsonAmount,
    /// ISO 4217.
    currency: String,
    /// How it stands.
    status: PaymentStatus,
    /// Why it failed.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<String>,
    /// The refund, if one is due or done.
    #[oai(skip_serializing_if_is_none)]
    refund: Option<RefundView>,
    /// What somebody has to look at.
    #[oai(skip_serializing_if_is_none)]
    attention: Option<String>,
    /// Ties together all that came of the order, over all services.
    correlation_id: String,
    /// ISO 8601, UTC.
    created_at: String,
    /// ISO 8601, UTC.
    updated_at: String,
}

/// A refund of all that was charged.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "Refund")]
struct RefundView {
    /// The refund.
    refund_id: String,
    /// Why.
    reason: String,
}

/// Payments.
#[derive(Clone, Debug, Object)]
struct Payments {
    /// The payments that match: an order has at most one.
    payments: Vec<PaymentView>,
}

/// A payment as it is shown; none for orders that are known here but were never to be paid.
fn view(row: Model) -> Result<Option<PaymentView>, Refusal> {
    let Instance { order, state: payment, correlation_id, created_at, updated_at, .. } = read(row)?;
    let status = match payment.stage {
        Stage::Unknown | Stage::RefundHeld | Stage::Closed => return Ok(None),
        Stage::Charging | Stage::ChargingToRefund => PaymentStatus::Pending,
        Stage::Confirmed | Stage::Refunding => PaymentStatus::Confirmed,
        Stage::Failed => PaymentStatus::Failed,
        Stage::Refunded => PaymentStatus::Refunded,
    };
    let payment_id = PaymentId::of(order);
    let refund = payment.refund.map(|refund| RefundView {
        refund_id: refund.requested_as.unwrap_or_else(|| RefundId::of(&payment_id)).0,
        reason: refund.reason,
    });
    Ok(Some(PaymentView {
        payment_id: payment_id.0,
        order_id: order.0,
        customer_id: payment.customer_id,
        amount: payment.amount.into(),
        currency: payment.currency,
        status,
        reason: payment.reason,
        refund,
        attention: payment.attention,
        correlation_id,
        created_at: created_at.to_string(),
        updated_at: updated_at.to_string(),
    }))
}

fn read(row: Model) -> Result<Instance<PaymentSaga>, Refusal> {
    PaymentSaga::read(row).map_err(Refusal::damaged)
}

#[OpenApi]
impl Api {
    /// The payments of an order.
    #[oai(path = "/api/payments", method = "get", tag = "Tag::Payments")]
    async fn list(
        &self,
        /// The order.
        #[oai(name = "orderId")]
        order_id: Query<Uuid>,
    ) -> Result<Json<Payments>, Refusal> {
        let row = Entity::find_by_id(order_id.0).one(&self.database.read).await?;
        let payments = row.map(view).transpose()?.flatten().into_iter().collect();
        Ok(Json(Payments { payments }))
    }

    /// Read a payment.
    #[oai(path = "/api/payments/:paymentId", method = "get", tag = "Tag::Payments")]
    async fn read(
        &self,
        /// The payment.
        #[oai(name = "paymentId")]
        payment_id: Path<String>,
    ) -> Result<Json<PaymentView>, Refusal> {
        let row = Entity::find().filter(Column::PaymentId.eq(&payment_id.0)).one(&self.database.read).await?;
        let payment = row.map(view).transpose()?.flatten();
        payment.map(Json).ok_or_else(|| Refusal::not_found(format!("there is no payment {}", payment_id.0)))
    }
}

impl Api {
    /// The routes of this service.
    pub fn new(database: Database) -> Self {
        Api { database }
    }
}
