//! Reservations as rows.

use crate::saga::{InventorySaga, Reservation, Stage};
use crate::stock;
use contracts::{OrderId, Timestamp};
use runtime::saga::{Instance, Named, Step};
use runtime::store::sql::{JsonText, Table, read_applied};
use runtime::trace::{self, Context};
use sea_orm::DatabaseTransaction;
use sea_orm::entity::prelude::*;

/// A row of `reservations`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reservations")]
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
    /// Microseconds since 1970.
    pub due_at: Option<i64>,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
    /// A [`Stage`], by name.
    pub stage: String,
    /// What the order needs.
    pub lines: JsonText,
    /// The payment as it was told.
    pub payment: Option<JsonText>,
    /// Of what there was too little.
    pub missing: JsonText,
    /// Why it ended.
    pub reason: Option<String>,
}

/// None: reservations refer to nothing.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

#[async_trait::async_trait]
impl Table for InventorySaga {
    type Entity = Entity;
    const ORDER_ID: Column = Column::OrderId;
    const VERSION: Column = Column::Version;
    const DUE_AT: Column = Column::DueAt;

    fn write(instance: &Instance<Self>, applied: Vec<u8>, due_at: Option<i64>) -> Model {
        let Reservation { stage, lines, payment, missing, reason, deadline: _ } = &instance.state;
        Model {
            order_id: instance.order.0,
            version: instance.version,
            applied,
            correlation_id: instance.correlation_id.clone(),
            traceparent: trace::written(instance.traceparent),
            due_at,
            created_at: instance.created_at.0,
            updated_at: instance.updated_at.0,
            stage: stage.name().to_owned(),
            lines: JsonText::of(lines),
            payment: payment.as_ref().map(JsonText::of),
            missing: JsonText::of(missing),
            reason: reason.clone(),
        }
    }

    fn read(row: Model) -> Result<Instance<Self>, String> {
        Ok(Instance {
            order: OrderId(row.order_id),
            version: row.version,
            applied: read_applied(&row.applied)?,
            correlation_id: row.correlation_id,
            traceparent: Context::read(&row.traceparent),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
            state: Reservation {
                stage: Stage::named(&row.stage)?,
                lines: row.lines.read()?,
                payment: row.payment.map(|payment| payment.read()).transpose()?,
                missing: row.missing.read()?,
                reason: row.reason,
                deadline: row.due_at.map(Timestamp),
            },
        })
    }

    fn settles(step: &Step<Self>) -> bool {
        stock::settles(step)
    }

    async fn settle(&self, transaction: &DatabaseTransaction, steps: &mut [Step<Self>]) -> Result<(), DbErr> {
        stock::settle(self, transaction, steps).await
    }
}
