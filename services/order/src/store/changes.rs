//! What has changed since a moment, for live streams.

use super::{Column, Entity};
use crate::saga::{Money, Stage};
use contracts::{OrderId, Timestamp};
use runtime::database::Database;
use runtime::saga::Named;
use runtime::store::StoreError;
use runtime::store::sql::behind;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use std::sync::OnceLock;
use uuid::Uuid;

/// Changes of one read.
const PAGE: u64 = 1_000;

/// An order has changed.
#[derive(Clone, Debug)]
pub struct Change {
    /// Counts what this replica has told; 0 for what was read from the database.
    pub n: u64,
    /// The order.
    pub order: OrderId,
    /// Its version.
    pub version: i64,
    /// When.
    pub at: Timestamp,
    /// Who ordered.
    pub customer_id: String,
    /// How far the order is.
    pub stage: Stage,
    /// What is known of the money.
    pub money: Money,
    /// The words in which streams tell it, found once for all of them.
    pub told: OnceLock<String>,
}

/// The changes from this moment on, behind this one, oldest first.
pub async fn changes(
    database: &Database,
    from: Timestamp,
    after: Option<(Timestamp, OrderId)>,
) -> Result<Vec<Change>, StoreError> {
    let mut wanted = Entity::find()
        .select_only()
        .columns([
            Column::OrderId,
            Column::Version,
            Column::UpdatedAt,
            Column::CustomerId,
            Column::Stage,
            Column::Money,
        ])
        .filter(Column::UpdatedAt.gte(from.0));
    if let Some((at, order)) = after {
        wanted = wanted.filter(behind([Column::UpdatedAt, Column::OrderId], [at.0.into(), order.0.into()]));
    }
    let page = wanted.order_by_asc(Column::UpdatedAt).order_by_asc(Column::OrderId).limit(PAGE);
    let rows: Vec<(Uuid, i64, i64, String, String, String)> = page.into_tuple().all(&database.queries).await?;
    let change = |(order, version, at, customer_id, stage, money): (_, _, _, _, String, String)| {
        let (stage, money) = (Stage::named(&stage).map_err(DbErr::Type)?, Money::named(&money).map_err(DbErr::Type)?);
        let told = OnceLock::new();
        Ok(Change { n: 0, order: OrderId(order), version, at: Timestamp(at), customer_id, stage, money, told })
    };
    let found: Result<_, DbErr> = rows.into_iter().map(change).collect();
    Ok(found?)
}

/// Whether a read of [`changes`] was full, and if so where the next one goes on.
pub fn next_page(page: &[Change]) -> Option<(Timestamp, OrderId)> {
    page.last().filter(|_| page.len() as u64 == PAGE).map(|last| (last.at, last.order))
}
