//! The table of events that wait for the log.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
pub(super) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(super) order_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(super) version: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(super) n: i16,
    pub(super) topic: String,
    pub(super) event_type: String,
    pub(super) value: Vec<u8>,
    pub(super) correlation_id: String,
    pub(super) traceparent: String,
    pub(super) created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(super) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
