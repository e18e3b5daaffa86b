//! Reservations as rows.

use crate::saga::{InventorySaga, Reservation, Stage};
use crate::stock;
use contracts::{OrderId, Timestamp};
use runtime::saga::{Instance, Named, Step};
use runtime::store::sql::{Table, read_applied};
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
    pub lines: Json,
    /// The payment as it was told.
    pub payment: Option<Json>,
    /// Of what there was too little.
    pub missing: Json,
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

    fn write(instance: Instance<Self>, applied: Vec<u8>, due_at: Option<i64>) -> Model {
        let Reservation { stage, lines, payment, missing, reason, deadline: _ } = instance.state;
        let json = "plain data is JSON";
        Model {
            order_id: instance.order.0,
            version: instance.version,
            applied,
            correlation_id: instance.correlation_id,
            traceparent: instance.traceparent,
            due_at,
            created_at: instance.created_at.0,
            updated_at: instance.updated_at.0,
            stage: stage.name().to_owned(),
            lines: serde_json::to_value(lines).expect(json),
            payment: payment.map(|payment| serde_json::to_value(payment).expect(json)),
            missing: serde_json::to_value(missing).expect(json),
            reason,
        }
    }

    fn read(row: Model) -> Result<Instance<Self>, String> {
        let text = |error: serde_json::Error| error.to_string();
        Ok(Instance {
            order: OrderId(row.order_id),
            version: row.version,
            applied: read_applied(&row.applied)?,
            correlation_id: row.correlation_id,
            traceparent: row.traceparent,
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
            state: Reservation {
                stage: Stage::named(&row.stage)?,
                lines: serde_json::from_value(row.lines).map_err(text)?,
                payment: row.payment.map(serde_json::from_value).transpose().map_err(text)?,
                missing: serde_json::from_value(row.missing).map_err(text)?,
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
