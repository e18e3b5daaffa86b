//! The table of what was done. Entries are added and never changed.

use crate::database::{Database, uncancelled};
use crate::http::Caller;
use crate::store::sql::before;
use contracts::Timestamp;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use serde_json::Value;
use uuid::Uuid;

mod rows {
    use sea_orm::entity::prelude::*;

    /// One entry.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_log")]
    pub struct Model {
        /// Its own id.
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        /// When, in microseconds since 1970.
        pub at: i64,
        /// Who.
        pub actor: String,
        /// What was done.
        pub action: String,
        /// To what.
        pub subject: String,
        /// With what values.
        pub detail: Json,
        /// Why, in the actor's words.
        pub reason: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub use rows::Model;
use rows::{ActiveModel, Column, Entity};

/// Entries of one statement.
const PAGE: usize = 500;

/// What somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// To what, as `stock/P1`: a kind and an id.
    pub subject: String,
    /// What, as `stock.adjust`.
    pub action: &'static str,
    /// With what values: a JSON object.
    pub detail: Value,
    /// Why, in the actor's words.
    pub reason: Option<String>,
}

/// Notes what this caller did, in the transaction in which it is done.
pub async fn record(
    transaction: &impl ConnectionTrait,
    caller: &Caller,
    now: Timestamp,
    entry: Entry,
) -> Result<(), DbErr> {
    record_all(transaction, caller, now, vec![entry]).await
}

/// Notes what this caller asks for, before it is done somewhere else. What is cut off in between leaves an entry of
/// something that was not done, and never something done without an entry.
pub async fn record_first(database: &Database, caller: &Caller, now: Timestamp, entry: Entry) -> Result<(), DbErr> {
    let (database, caller) = (database.clone(), caller.clone());
    uncancelled(async move { record(database.writer(), &caller, now, entry).await }).await
}

/// Notes many things that this caller did at once.
pub async fn record_all(
    transaction: &impl ConnectionTrait,
    caller: &Caller,
    now: Timestamp,
    entries: Vec<Entry>,
) -> Result<(), DbErr> {
    let rows = entries.into_iter().map(|entry| ActiveModel {
        id: Set(Uuid::now_v7()),
        at: Set(now.0),
        actor: Set(caller.id.clone()),
        action: Set(entry.action.to_owned()),
        subject: Set(entry.subject),
        detail: Set(entry.detail),
        reason: Set(entry.reason),
    });
    let rows: Vec<ActiveModel> = rows.collect();
    for page in rows.chunks(PAGE) {
        Entity::insert_many(page.iter().cloned()).exec_without_returning(transaction).await?;
    }
    Ok(())
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this subject only.
    pub subject: Option<String>,
    /// Of this actor only.
    pub actor: Option<String>,
    /// Older than the entry of this moment and id.
    pub before: Option<(i64, Uuid)>,
}

/// The newest of the entries that are wanted.
pub async fn newest(connection: &impl ConnectionTrait, wanted: Wanted, limit: u64) -> Result<Vec<Model>, DbErr> {
    let mut rows = Entity::find().order_by_desc(Column::At).order_by_desc(Column::Id).limit(limit);
    if let Some(subject) = wanted.subject {
        rows = rows.filter(Column::Subject.eq(subject));
    }
    if let Some(actor) = wanted.actor {
        rows = rows.filter(Column::Actor.eq(actor));
    }
    if let Some((at, id)) = wanted.before {
        rows = rows.filter(before([Column::At, Column::Id], [at.into(), id.into()]));
    }
    rows.all(connection).await
}
