//! Lists of orders, newest first. An order's id begins with the moment at which it was taken on, so that lists go by ids:
//! a cursor is the last id that was seen, and what is placed meanwhile comes before it.

use super::view::OrderStatus;
use crate::saga::OrderSaga;
use crate::store::{Column, Entity, is_stuck};
use contracts::Timestamp;
use runtime::database::Database;
use runtime::http::{Caller, Fields, Refusal, Role, Words};
use runtime::saga::{Instance, Named};
use runtime::store::sql::Table;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use time::OffsetDateTime;
use uuid::{Builder, Uuid};

/// Orders of a page, if the caller does not say.
const USUAL: u64 = 20;
/// How far the moment in an order's id may be from that of its first version, in milliseconds.
const APART: i64 = 60_000;

/// An id for an order that is taken on at this moment.
pub(super) fn new_id(at: Timestamp) -> Uuid {
    Builder::from_unix_timestamp_millis(millis(at), Uuid::new_v4().as_bytes()[..10].try_into().expect("10 of 16"))
        .into_uuid()
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.0 / 1_000).unwrap_or(0)
}

fn moment(at: OffsetDateTime) -> Timestamp {
    Timestamp(i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX))
}

/// Which orders are wanted.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) status: Option<OrderStatus>,
    pub(super) customer_id: Option<Words>,
    pub(super) created_from: Option<OffsetDateTime>,
    pub(super) created_to: Option<OffsetDateTime>,
    pub(super) stuck: bool,
    pub(super) limit: Option<u64>,
    pub(super) cursor: Option<String>,
}

impl Filter {
    /// The orders, and where the list goes on. A customer sees its own alone.
    pub(super) async fn find(
        self,
        caller: &Caller,
        database: &Database,
        now: Timestamp,
    ) -> Result<(Vec<Instance<OrderSaga>>, Option<String>), Refusal> {
        let limit = self.limit.unwrap_or(USUAL);
        let mut wanted = Entity::find();
        if let Some(cursor) = self.cursor {
            let last = Uuid::try_parse(&cursor).ok().filter(|_| cursor.len() == 32);
            let last = last.ok_or_else(|| Refusal::malformed("cursor", "is none that a list has given"))?;
            wanted = wanted.filter(Column::OrderId.lt(last));
        }
        if let Some(status) = self.status {
            wanted = wanted.filter(Column::Stage.is_in(status.stages().map(Named::name)));
        }
        let mut fields = Fields::default();
        let customer_id = fields.check_words(self.customer_id, "customerId");
        fields.finish()?;
        let own = caller.customer_id.clone().filter(|_| caller.role == Role::Customer);
        for customer_id in customer_id.into_iter().chain(own) {
            wanted = wanted.filter(Column::CustomerId.eq(customer_id));
        }
        if let Some(from) = self.created_from.map(moment) {
            let first = Builder::from_unix_timestamp_millis(millis(from.plus_millis(-APART)), &[0; 10]).into_uuid();
            wanted = wanted.filter(Column::OrderId.gte(first)).filter(Column::CreatedAt.gte(from.0));
        }
        // Moments are shown in milliseconds, so a whole one is meant.
        if let Some(to) = self.created_to.map(|to| moment(to).plus_millis(1)) {
            let last = Builder::from_unix_timestamp_millis(millis(to.plus_millis(APART)), &[0xff; 10]).into_uuid();
            wanted = wanted.filter(Column::OrderId.lte(last)).filter(Column::CreatedAt.lt(to.0));
        }
        if self.stuck {
            wanted = wanted.filter(is_stuck(now));
        }
        // One more than is asked for tells whether the list goes on.
        let mut rows = wanted.order_by_desc(Column::OrderId).limit(limit + 1).all(&database.queries).await?;
        let goes_on = rows.len() as u64 > limit;
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = rows.last().filter(|_| goes_on).map(|last| last.order_id.simple().to_string());
        let orders: Result<Vec<_>, String> = rows.into_iter().map(OrderSaga::read).collect();
        Ok((orders.map_err(Refusal::damaged)?, next))
    }
}
