//! What people want of dead letters, and what came of it.

use super::rows::{ActiveModel, Column, Entity};
use super::{Filter, MOST_REDRIVES, Model, State};
use crate::audit::store::{self as audit, Entry};
use crate::database::{Database, uncancelled};
use crate::dead_letters::DeadLetters;
use crate::http::Caller;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveEnum, ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait,
    PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};
use serde_json::json;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use uuid::Uuid;

/// Why a letter was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Unchanged {
    /// There is none of this id.
    #[error("there is no dead letter {0}")]
    Unknown(Uuid),
    /// Not as it stands.
    #[error("{0}")]
    Impossible(String),
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// The subject of a letter's audit entries.
pub fn subject(id: Uuid) -> String {
    format!("dead-letter/{id}")
}

/// What somebody wants of one letter.
#[derive(Clone, Debug, Default)]
pub struct Correction {
    /// In place of the value.
    pub value: Option<String>,
    /// In place of the key.
    pub key: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Also if it was sent again too often, or discarded.
    pub force: bool,
}

async fn locked(transaction: &DatabaseTransaction, id: Uuid) -> Result<Model, Unchanged> {
    // SQLite has no such lock; there the transaction is the only writer from its first moment.
    Entity::find_by_id(id).lock_exclusive().one(transaction).await?.ok_or(Unchanged::Unknown(id))
}

/// Wants a letter sent again, and notes who does.
pub async fn want(
    letters: &Arc<DeadLetters>,
    caller: Caller,
    id: Uuid,
    correction: Correction,
) -> Result<(), Unchanged> {
    let shared = Arc::clone(letters);
    uncancelled(async move {
        let transaction = shared.database.begin().await?;
        let letter = locked(&transaction, id).await?;
        let times = letter.redriven_before + letter.redrives;
        if letter.wanted_at.is_some() {
            return Err(Unchanged::Impossible(format!("dead letter {id} is being sent again already")));
        }
        if !correction.force && letter.state == State::Discarded {
            let what = format!("dead letter {id} was discarded; force sends it all the same");
            return Err(Unchanged::Impossible(what));
        }
        if !correction.force && times >= MOST_REDRIVES {
            let what = format!("dead letter {id} was sent again {times} times already; force sends it once more");
            return Err(Unchanged::Impossible(what));
        }
        let now = shared.clock.now();
        let detail = json!({
            "topic": letter.topic, "partition": letter.original_partition, "offset": letter.original_offset,
            "times": times + 1, "corrected": correction.value.is_some() || correction.key.is_some(),
            "force": correction.force, "from": letter.state.to_value(),
        });
        let wanted = ActiveModel {
            id: Set(id),
            wanted_at: Set(Some(now.0)),
            pause_micros: Set(0),
            batch: Set(None),
            new_key: Set(correction.key.map(String::into_bytes)),
            new_value: Set(correction.value.map(String::into_bytes)),
            failure: Set(None),
            ..Default::default()
        };
        Entity::update(wanted).exec(&transaction).await?;
        let entry = Entry { subject: subject(id), action: "dead-letter.redrive", detail, reason: correction.reason };
        audit::record(&transaction, &caller, now, entry).await?;
        Ok(transaction.commit().await?)
    })
    .await?;
    letters.wanted.notify_one();
    Ok(())
}

/// What somebody wants of many letters.
#[derive(Clone, Debug)]
pub struct Many {
    /// Which.
    pub filter: Filter,
    /// How many at most.
    pub limit: u64,
    /// How many in a second.
    pub per_second: NonZeroU32,
    /// Why.
    pub note: Option<String>,
}

/// Those that would be sent now: the oldest.
fn first(many: &Many) -> Select<Entity> {
    let redrivable = Entity::find().filter(many.filter.redrivable()).select_only().column(Column::Id);
    redrivable.order_by_asc(Column::StoredAt).order_by_asc(Column::Id).limit(many.limit)
}

/// How many could be sent again, and which of them would be now.
pub async fn count(connection: &impl ConnectionTrait, many: &Many) -> Result<(u64, Vec<Uuid>), DbErr> {
    let count = Entity::find().filter(many.filter.redrivable()).count(connection).await?;
    Ok((count, first(many).into_tuple().all(connection).await?))
}

/// Wants many letters sent again, one by one as they were, and notes who does.
pub async fn want_many(
    letters: &Arc<DeadLetters>,
    caller: Caller,
    many: Many,
) -> Result<(Uuid, u64, Vec<Uuid>), DbErr> {
    let shared = Arc::clone(letters);
    let batch = Uuid::now_v7();
    let (count, ids) = uncancelled(async move {
        let transaction = shared.database.begin().await?;
        let (count, _) = count(&transaction, &many).await?;
        // Locked, so that what somebody else wants at this moment is theirs alone.
        let ids: Vec<Uuid> = first(&many).lock_exclusive().into_tuple().all(&transaction).await?;
        let (now, pause) = (shared.clock.now(), 1_000_000 / i64::from(many.per_second.get()));
        for page in ids.chunks(500) {
            Entity::update_many()
                .col_expr(Column::WantedAt, Expr::value(now.0))
                .col_expr(Column::PauseMicros, Expr::value(pause))
                .col_expr(Column::Batch, Expr::value(batch))
                .col_expr(Column::NewKey, Expr::value(None::<Vec<u8>>))
                .col_expr(Column::NewValue, Expr::value(None::<Vec<u8>>))
                .col_expr(Column::Failure, Expr::value(None::<String>))
                .filter(Column::Id.is_in(page.iter().copied()))
                .exec(&transaction)
                .await?;
        }
        let entry = |id: &Uuid| Entry {
            subject: subject(*id),
            action: "dead-letter.redrive",
            detail: json!({"batch": batch, "topic": many.filter.topic, "reason": many.filter.reason}),
            reason: many.note.clone(),
        };
        audit::record_all(&transaction, &caller, now, ids.iter().map(entry).collect()).await?;
        transaction.commit().await?;
        Ok::<_, DbErr>((count, ids))
    })
    .await?;
    letters.wanted.notify_one();
    Ok((batch, count, ids))
}

/// Says that a letter is not needed, and notes who does.
pub async fn discard(letters: &Arc<DeadLetters>, caller: Caller, id: Uuid, reason: String) -> Result<(), Unchanged> {
    let shared = Arc::clone(letters);
    uncancelled(async move {
        let transaction = shared.database.begin().await?;
        let letter = locked(&transaction, id).await?;
        match letter.state {
            State::Discarded => return Ok(()),
            State::Redriven => {
                return Err(Unchanged::Impossible(format!(
                    "dead letter {id} was sent again; there is nothing to discard"
                )));
            }
            State::Open if letter.wanted_at.is_some() => {
                return Err(Unchanged::Impossible(format!("dead letter {id} is being sent again")));
            }
            State::Open => {}
        }
        let discarded = ActiveModel { id: Set(id), state: Set(State::Discarded), ..Default::default() };
        Entity::update(discarded).exec(&transaction).await?;
        let detail =
            json!({"topic": letter.topic, "partition": letter.original_partition, "offset": letter.original_offset});
        let entry = Entry { subject: subject(id), action: "dead-letter.discard", detail, reason: Some(reason) };
        audit::record(&transaction, &caller, shared.clock.now(), entry).await?;
        Ok(transaction.commit().await?)
    })
    .await
}

/// The next letter of these topics that somebody wants sent: single ones before many, then the oldest wish.
pub async fn next_wanted(database: &Database, topics: &BTreeSet<String>) -> Result<Option<Model>, DbErr> {
    Entity::find()
        .filter(Column::WantedAt.is_not_null())
        .filter(Column::Topic.is_in(topics))
        .order_by_asc(Column::PauseMicros)
        .order_by_asc(Column::WantedAt)
        .order_by_asc(Column::StoredAt)
        .order_by_asc(Column::Id)
        .one(&database.read)
        .await
}

/// Notes that a wanted letter was sent, or why it cannot be.
pub async fn sent(letters: &DeadLetters, letter: &Model, sent: Result<(), String>) -> Result<(), DbErr> {
    let now = letters.clock.now().0;
    let mut row = Entity::update_many()
        .col_expr(Column::WantedAt, Expr::value(None::<i64>))
        .filter(Column::Id.eq(letter.id))
        // Not a later wish.
        .filter(Column::WantedAt.eq(letter.wanted_at));
    row = match sent {
        Ok(()) => row
            .col_expr(Column::State, Expr::value(State::Redriven.to_value()))
            .col_expr(Column::Redrives, Expr::value(letter.redrives + 1))
            .col_expr(Column::RedrivenAt, Expr::value(now)),
        Err(why) => row.col_expr(Column::Failure, Expr::value(why)),
    };
    let database = letters.database.clone();
    uncancelled(async move { row.exec(database.writer()).await.map(drop) }).await
}
