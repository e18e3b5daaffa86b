//! Payments as rows.

use crate::saga::{Payment, PaymentSaga, Refund, Stage};
use contracts::{Money, OrderId, PaymentId, RefundId, Timestamp};
use runtime::saga::{Instance, Named};
use runtime::store::sql::{Table, read_applied};
use sea_orm::entity::prelude::*;

/// A row of `payments`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "payments")]
pub struct Model {
    /// The order.
    #[sea_orm(primary_key, auto_increment = false)]
    pub order_id: Uuid,
    /// Counts committed steps.
    pub version: i64,
    /// Ids of applied inputs, 16 bytes each.
    pub applied: Vec<u8>,
    /// From the order.
    pub correlation_id: String,
    /// From the order.
    pub traceparent: String,
    /// When the provider is to be asked, in microseconds since 1970.
    pub due_at: Option<i64>,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
    /// The payment.
    pub payment_id: String,
    /// A [`Stage`], by name.
    pub stage: String,
    /// Who pays.
    pub customer_id: String,
    /// Ten-thousandths.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// Why it failed, or why the order was closed.
    pub reason: Option<String>,
    /// The name of the refund that its first request gave it.
    pub refund_requested_as: Option<String>,
    /// Why there is a refund.
    pub refund_reason: Option<String>,
    /// A request that came before its order.
    pub held_request: Option<Json>,
    /// How often the provider gave no outcome.
    pub attempts: i64,
    /// Not before this moment, in microseconds since 1970.
    pub retry_at: i64,
    /// What somebody has to look at.
    pub attention: Option<String>,
}

/// None: payments refer to nothing.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Table for PaymentSaga {
    type Entity = Entity;
    const ORDER_ID: Column = Column::OrderId;
    const VERSION: Column = Column::Version;
    const DUE_AT: Column = Column::DueAt;

    fn write(instance: Instance<Self>, applied: Vec<u8>, due_at: Option<i64>) -> Model {
        let payment = instance.state;
        let (requested_as, refund_reason) = payment.refund.map(|refund| (refund.requested_as, refund.reason)).unzip();
        Model {
            order_id: instance.order.0,
            version: instance.version,
            applied,
            correlation_id: instance.correlation_id,
            traceparent: instance.traceparent,
            due_at,
            created_at: instance.created_at.0,
            updated_at: instance.updated_at.0,
            payment_id: PaymentId::of(instance.order).0,
            stage: payment.stage.name().to_owned(),
            customer_id: payment.customer_id,
            amount: payment.amount.ten_thousandths(),
            currency: payment.currency,
            reason: payment.reason,
            refund_requested_as: requested_as.flatten().map(|id| id.0),
            refund_reason,
            held_request: payment.held.map(|held| serde_json::to_value(held).expect("a request is JSON")),
            attempts: payment.attempts.into(),
            retry_at: payment.retry_at.0,
            attention: payment.attention,
        }
    }

    fn read(row: Model) -> Result<Instance<Self>, String> {
        let held = row.held_request.map(serde_json::from_value).transpose().map_err(|error| error.to_string())?;
        let requested_as = row.refund_requested_as.map(RefundId);
        Ok(Instance {
            order: OrderId(row.order_id),
            version: row.version,
            applied: read_applied(&row.applied)?,
            correlation_id: row.correlation_id,
            traceparent: row.traceparent,
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
            state: Payment {
                stage: Stage::named(&row.stage)?,
                customer_id: row.customer_id,
                amount: Money::from_ten_thousandths(row.amount),
                currency: row.currency,
                reason: row.reason,
                refund: row.refund_reason.map(|reason| Refund { requested_as, reason }),
                held,
                attempts: u32::try_from(row.attempts).map_err(|error| error.to_string())?,
                retry_at: Timestamp(row.retry_at),
                attention: row.attention,
            },
        })
    }
}
