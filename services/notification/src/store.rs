//! Notices as rows: one row per order for the rules, and one per notice for those who read them.

use crate::channel::message_id;
use crate::saga::{Channel, Event, Notice, Notices, NotificationSaga, Status};
use contracts::{OrderId, Timestamp};
use runtime::database::Database;
use runtime::saga::{Instance, Named, Step};
use runtime::store::sql::{JsonText, Table, read_applied, upsert};
use runtime::trace::{self, Context};
use sea_orm::DatabaseTransaction;
use sea_orm::entity::prelude::*;

/// A row of `notices`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notices")]
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
    /// When a notice is to be sent, in microseconds since 1970.
    pub due_at: Option<i64>,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
    /// The order's notices.
    pub notices: JsonText,
}

/// None: notices refer to nothing.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The record of each notice.
pub mod notifications {
    use sea_orm::entity::prelude::*;

    /// A row of `notifications`.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "notifications")]
    pub struct Model {
        /// The order.
        #[sea_orm(primary_key, auto_increment = false)]
        pub order_id: Uuid,
        /// An [`Occasion`](crate::saga::Occasion), by name.
        #[sea_orm(primary_key, auto_increment = false)]
        pub occasion: String,
        /// The channel, such as `LOG`.
        #[sea_orm(primary_key, auto_increment = false)]
        pub channel: String,
        /// The message id: the same, however often the notice is delivered.
        pub notification_id: Uuid,
        /// To whom.
        pub customer_id: String,
        /// What it says.
        pub text: String,
        /// A [`Status`](crate::saga::Status), by name.
        pub status: String,
        /// Microseconds since 1970.
        pub created_at: i64,
        /// Microseconds since 1970.
        pub sent_at: Option<i64>,
        /// The address or URL it goes to.
        pub recipient: Option<String>,
        /// Deliveries so far, failed or not.
        pub attempts: i64,
        /// What was seen of the last one, if it failed.
        pub last_error: Option<String>,
        /// When the next one is due, in microseconds since 1970.
        pub next_at: Option<i64>,
    }

    /// None: notifications refer to nothing.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The attempts log: how each delivery by mail or webhook went.
pub mod deliveries {
    use sea_orm::entity::prelude::*;

    /// A row of `deliveries`.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "deliveries")]
    pub struct Model {
        /// The notice.
        #[sea_orm(primary_key, auto_increment = false)]
        pub notification_id: Uuid,
        /// Counts the notice's deliveries, from 1.
        #[sea_orm(primary_key, auto_increment = false)]
        pub n: i64,
        /// When it was over, in microseconds since 1970.
        pub at: i64,
        /// What was seen of it, if it failed.
        pub error: Option<String>,
    }

    /// None: deliveries refer to nothing.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// How many notices were given up and wait for somebody.
pub async fn needing_attention(database: &Database) -> Result<u64, DbErr> {
    // Written out, so that every database sees that its small index has them all.
    let given_up = Expr::cust(format!("status = '{}'", Status::Failed.name()));
    notifications::Entity::find().filter(given_up).count(&database.read).await
}

#[async_trait::async_trait]
impl Table for NotificationSaga {
    type Entity = Entity;
    const ORDER_ID: Column = Column::OrderId;
    const VERSION: Column = Column::Version;
    const DUE_AT: Column = Column::DueAt;

    fn write(instance: &Instance<Self>, applied: Vec<u8>, due_at: Option<i64>) -> Model {
        Model {
            order_id: instance.order.0,
            version: instance.version,
            applied,
            correlation_id: instance.correlation_id.clone(),
            traceparent: trace::written(instance.traceparent),
            due_at,
            created_at: instance.created_at.0,
            updated_at: instance.updated_at.0,
            notices: JsonText::of(&instance.state.0),
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
            state: Notices(row.notices.read()?),
        })
    }

    /// Keeps the record of each notice in step with the rules.
    fn settles(step: &Step<Self>) -> bool {
        changed(step).next().is_some()
    }

    async fn settle(&self, transaction: &DatabaseTransaction, steps: &mut [Step<Self>]) -> Result<(), DbErr> {
        use notifications::Column;
        let records =
            steps.iter().flat_map(|step| changed(step).map(|(_, notice)| record(&step.next, notice))).collect();
        let key = [Column::OrderId, Column::Occasion, Column::Channel];
        let changing = [Column::Status, Column::SentAt, Column::Attempts, Column::LastError, Column::NextAt];
        upsert::<notifications::Entity>(transaction, records, &key, &changing).await?;
        let delivered = steps
            .iter()
            .flat_map(|step| changed(step).filter_map(|(event, notice)| delivery(&step.next, event, notice)))
            .collect();
        use deliveries::Column as Delivery;
        upsert::<deliveries::Entity>(
            transaction,
            delivered,
            &[Delivery::NotificationId, Delivery::N],
            &[Delivery::At, Delivery::Error],
        )
        .await
    }
}

/// What happened in a step, with the notices that it happened to, as they are now.
fn changed(step: &Step<NotificationSaga>) -> impl Iterator<Item = (&Event, &Notice)> {
    step.events.iter().filter_map(|event| Some((event, step.next.state.get(event.key())?)))
}

fn record(instance: &Instance<NotificationSaga>, notice: &Notice) -> notifications::Model {
    notifications::Model {
        order_id: instance.order.0,
        occasion: notice.occasion.name().to_owned(),
        channel: notice.channel.name().to_owned(),
        notification_id: message_id(instance.order, notice.key()),
        customer_id: notice.customer_id.clone(),
        text: notice.text.clone(),
        status: notice.status.name().to_owned(),
        created_at: instance.updated_at.0,
        sent_at: (notice.status == Status::Sent).then_some(instance.updated_at.0),
        recipient: notice.to.clone(),
        attempts: notice.deliveries.into(),
        last_error: notice.last_error.clone(),
        next_at: (notice.status == Status::Pending).then_some(notice.retry_at.max(notice.recorded_at)),
    }
}

/// The entry of the attempts log. The log channel has none: it does not fail.
fn delivery(instance: &Instance<NotificationSaga>, event: &Event, notice: &Notice) -> Option<deliveries::Model> {
    let error = match event {
        Event::Sent(_) => None,
        Event::Postponed(_, error, _) | Event::GivenUp(_, error) => Some(error.clone()),
        Event::Recorded(_) | Event::BegunAnew(_) => return None,
    };
    (notice.channel != Channel::Log).then(|| deliveries::Model {
        notification_id: message_id(instance.order, notice.key()),
        n: notice.deliveries.into(),
        at: instance.updated_at.0,
        error,
    })
}
