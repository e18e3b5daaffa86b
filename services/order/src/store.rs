//! Orders as rows.

pub mod changes;
pub mod claims;

use crate::saga::{Cause, Details, Money, Order, OrderSaga, Passage, Stage};
use contracts::{Money as Amount, OrderId, Reason, Timestamp};
use runtime::database::Database;
use runtime::saga::{Instance, Named};
use runtime::store::StoreError;
use runtime::store::sql::{JsonText, Table, damaged, read_applied};
use runtime::trace::{self, Context};
use sea_orm::entity::prelude::*;
use sea_orm::{QueryFilter, QuerySelect};
use std::sync::Arc;

/// A row of `orders`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "orders")]
pub struct Model {
    /// The order.
    #[sea_orm(primary_key, auto_increment = false)]
    pub order_id: Uuid,
    /// Counts committed steps.
    pub version: i64,
    /// Ids of applied inputs, 16 bytes each.
    pub applied: Vec<u8>,
    /// From the request.
    pub correlation_id: String,
    /// From the request.
    pub traceparent: String,
    /// Microseconds since 1970.
    pub due_at: Option<i64>,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
    /// A [`Stage`], by name.
    pub stage: String,
    /// A [`Money`], by name.
    pub money: String,
    /// Who ordered.
    pub customer_id: String,
    /// Ten-thousandths.
    pub total: i64,
    /// ISO 4217.
    pub currency: String,
    /// The lines, as in `order.created`.
    pub items: JsonText,
    /// Why it ended, for programs.
    pub reason_code: Option<String>,
    /// Why it ended, for people.
    pub reason_message: Option<String>,
    /// What it has been through: a line of moment, cause, stage and money for each committed step.
    pub history: String,
    /// How to reach the customer, as in `order.created`.
    pub contact: Option<JsonText>,
}

/// None: orders refer to nothing.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The order, for who only wants to see it.
pub async fn find(database: &Database, order: OrderId) -> Result<Option<Instance<OrderSaga>>, StoreError> {
    let row = Entity::find_by_id(order.0).one(&database.queries).await?;
    row.map(OrderSaga::read).transpose().map_err(damaged)
}

/// Past its deadline for so long, in milliseconds, an order is stuck.
const STUCK: i64 = 2_000;

/// Which orders are stuck: past their deadline, and nothing has come of it.
pub(crate) fn is_stuck(now: Timestamp) -> Expr {
    Column::DueAt.lt(now.plus_millis(-STUCK).0)
}

/// How many orders are at each of the stages at which they wait.
pub async fn waiting_by_stage(database: &Database) -> Result<[(Stage, i64); 2], StoreError> {
    let stages = [Stage::AwaitingPayment, Stage::AwaitingInventory];
    let counts: Vec<(String, i64)> = Entity::find()
        .select_only()
        .column(Column::Stage)
        .column_as(Column::OrderId.count(), "orders")
        .filter(Column::Stage.is_in(stages.map(Stage::name)))
        .group_by(Column::Stage)
        .into_tuple()
        .all(&database.read)
        .await?;
    let count = |stage: Stage| counts.iter().find(|(name, _)| name == stage.name()).map_or(0, |(_, count)| *count);
    Ok(stages.map(|stage| (stage, count(stage))))
}

/// How many are.
pub async fn stuck(database: &Database, now: Timestamp) -> Result<u64, StoreError> {
    Ok(Entity::find().filter(is_stuck(now)).count(&database.read).await?)
}

impl Table for OrderSaga {
    type Entity = Entity;
    const ORDER_ID: Column = Column::OrderId;
    const VERSION: Column = Column::Version;
    const DUE_AT: Column = Column::DueAt;
    const FIXED: &'static [Column] = &[Column::CustomerId];

    fn write(instance: &Instance<Self>, applied: Vec<u8>, due_at: Option<i64>) -> Model {
        let Order { stage, money, details, reason, deadline: _, history } = &instance.state;
        let (reason_code, reason_message) = reason.clone().map(|reason| (reason.code, reason.message)).unzip();
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
            money: money.name().to_owned(),
            customer_id: details.customer_id.clone(),
            total: details.total.ten_thousandths(),
            currency: details.currency.clone(),
            items: JsonText::of(&details.lines),
            reason_code,
            reason_message,
            history: history.iter().map(write_passage).collect(),
            contact: details.contact.as_ref().map(JsonText::of),
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
            state: Order {
                stage: Stage::named(&row.stage)?,
                money: Money::named(&row.money)?,
                details: Arc::new(Details {
                    customer_id: row.customer_id,
                    total: Amount::from_ten_thousandths(row.total),
                    currency: row.currency,
                    lines: row.items.read()?,
                    contact: row.contact.map(|contact| contact.read()).transpose()?,
                }),
                reason: row.reason_code.zip(row.reason_message).map(|(code, message)| Reason { code, message }),
                deadline: row.due_at.map(Timestamp),
                history: row.history.lines().map(read_passage).collect::<Result<_, _>>()?,
            },
        })
    }
}

fn write_passage(Passage { at, cause, stage, money }: &Passage) -> String {
    format!("{} {} {} {}\n", at.0, cause.name(), stage.name(), money.name())
}

fn read_passage(line: &str) -> Result<Passage, String> {
    let [at, cause, stage, money] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(format!("{line:?} is no passage"));
    };
    Ok(Passage {
        at: Timestamp(at.parse().map_err(|_| format!("{at:?} is no moment"))?),
        cause: Cause::named(cause)?,
        stage: Stage::named(stage)?,
        money: Money::named(money)?,
    })
}
