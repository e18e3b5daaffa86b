//! Payments as rows.

use crate::saga::{Acknowledged, Payment, PaymentSaga, Refund, RefundRequest, Stage};
use contracts::{Money, OrderId, PaymentId, RefundId, Timestamp};
use runtime::database::Database;
use runtime::saga::{Instance, Named};
use runtime::store::sql::{JsonText, Table, read_applied};
use runtime::trace::{self, Context};
use sea_orm::PaginatorTrait;
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
    /// How to reach who pays, if the order came with it: a [`Contact`](contracts::Contact).
    pub contact: Option<JsonText>,
    /// Why it failed, or why the order was closed.
    pub reason: Option<String>,
    /// The name of the refund that its first request gave it.
    pub refund_requested_as: Option<String>,
    /// Why there is a refund.
    pub refund_reason: Option<String>,
    /// How the money was given back by other means.
    pub refund_note: Option<String>,
    /// Requests that came before their order.
    pub held_request: Option<JsonText>,
    /// How often the provider gave no outcome.
    pub attempts: i64,
    /// What was seen of the last of these attempts.
    pub last_error: Option<String>,
    /// Not before this moment, in microseconds since 1970.
    pub retry_at: i64,
    /// What somebody has to look at: texts by the name of a [`Concern`](crate::saga::Concern), null if there is nothing.
    pub attention: Option<JsonText>,
    /// What somebody has looked at.
    pub acknowledged: Option<String>,
    /// What there was to say about it.
    pub acknowledged_note: Option<String>,
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
    const FIXED: &'static [Column] = &[Column::PaymentId];

    fn write(instance: &Instance<Self>, applied: Vec<u8>, due_at: Option<i64>) -> Model {
        let payment = instance.state.clone();
        let (acknowledged, acknowledged_note) = payment.acknowledged.map(|seen| (seen.what, seen.note)).unzip();
        let (requested_as, refund_reason, refund_note) = match payment.refund {
            Some(Refund { requested_as, reason, note }) => (requested_as, Some(reason), note),
            None => (None, None, None),
        };
        Model {
            order_id: instance.order.0,
            version: instance.version,
            applied,
            correlation_id: instance.correlation_id.clone(),
            traceparent: trace::written(instance.traceparent),
            due_at,
            created_at: instance.created_at.0,
            updated_at: instance.updated_at.0,
            payment_id: PaymentId::of(instance.order).0,
            stage: payment.stage.name().to_owned(),
            customer_id: payment.customer_id,
            amount: payment.amount.ten_thousandths(),
            currency: payment.currency,
            contact: payment.contact.as_ref().map(JsonText::of),
            reason: payment.reason,
            refund_requested_as: requested_as.map(|id| id.0),
            refund_reason,
            refund_note,
            held_request: (!payment.held.is_empty()).then(|| JsonText::of(&payment.held)),
            attempts: payment.attempts.into(),
            last_error: payment.last_error,
            retry_at: payment.retry_at.0,
            attention: (!payment.attention.is_empty()).then(|| JsonText::of(&payment.attention)),
            acknowledged,
            acknowledged_note,
        }
    }

    fn read(row: Model) -> Result<Instance<Self>, String> {
        let contact = row.contact.as_ref().map(JsonText::read).transpose()?;
        // There was one at most.
        let held = |json: &JsonText| {
            json.read().or_else(|why| json.read().map(|one: RefundRequest| vec![one]).map_err(|_| why))
        };
        let held = row.held_request.as_ref().map(held).transpose()?;
        let attention = row.attention.as_ref().map(JsonText::read).transpose()?;
        let requested_as = row.refund_requested_as.map(RefundId);
        Ok(Instance {
            order: OrderId(row.order_id),
            version: row.version,
            applied: read_applied(&row.applied)?,
            correlation_id: row.correlation_id,
            traceparent: Context::read(&row.traceparent),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
            state: Payment {
                stage: Stage::named(&row.stage)?,
                customer_id: row.customer_id,
                amount: Money::from_ten_thousandths(row.amount),
                currency: row.currency,
                contact,
                reason: row.reason,
                refund: row.refund_reason.map(|reason| Refund { requested_as, reason, note: row.refund_note }),
                held: held.unwrap_or_default(),
                attempts: u32::try_from(row.attempts).map_err(|error| error.to_string())?,
                last_error: row.last_error,
                retry_at: Timestamp(row.retry_at),
                attention: attention.unwrap_or_default(),
                acknowledged: row
                    .acknowledged
                    .zip(row.acknowledged_note)
                    .map(|(what, note)| Acknowledged { what, note }),
            },
        })
    }
}

/// Payments that somebody has to look at: how many there are.
pub async fn needing_attention(database: &Database) -> Result<u64, DbErr> {
    Entity::find().filter(Column::Attention.is_not_null()).count(&database.read).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::Contact;

    #[test]
    fn a_contact_is_stored_with_its_payment() {
        let contact = |text: &str| Some(Contact { email: Some(text.into()), webhook_url: None });
        for contact in [None, contact("a@example.org")] {
            let mut instance = Instance::<PaymentSaga>::unknown(OrderId(Uuid::from_u128(1)));
            instance.state = Payment { contact, ..Payment::default() };
            let row = PaymentSaga::write(&instance, Vec::new(), None);
            assert_eq!(PaymentSaga::read(row), Ok(instance));
        }
    }
}
