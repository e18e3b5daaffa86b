//! The table of dead letters.

mod rows;
pub mod wishes;

use super::DeadLetters;
use super::letter::{Letter, again};
use crate::database::{Database, uncancelled};
use crate::event_log::NewRecord;
use crate::store::sql::before;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sea_orm::sea_query::{Expr, Func, LikeExpr, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, DbErr, DeriveActiveEnum, EntityTrait, EnumIter, ExprTrait,
    FromQueryResult, QueryFilter, QueryOrder, QuerySelect, Select,
};
use uuid::Uuid;

pub use rows::Model;
use rows::{ActiveModel, Column, Entity};

/// How a letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum State {
    /// Nobody has decided yet.
    #[sea_orm(string_value = "OPEN")]
    Open,
    /// It was sent again.
    #[sea_orm(string_value = "REDRIVEN")]
    Redriven,
    /// Somebody said that it is not needed.
    #[sea_orm(string_value = "DISCARDED")]
    Discarded,
}

/// A message that was sent again so often is not, unless somebody insists.
pub const MOST_REDRIVES: i64 = 3;

/// What of a letter is listed: all but what may be large.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Listed {
    /// Its id.
    pub id: Uuid,
    /// Where the message was.
    pub topic: String,
    /// Where the message was.
    pub original_partition: i64,
    /// Where the message was.
    pub original_offset: i64,
    /// The message's key.
    pub key: Option<Vec<u8>>,
    /// What was wrong.
    pub reason: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When, as the letter says.
    pub died_at: String,
    /// How often it had been sent again before it died this time.
    pub redriven_before: i64,
    /// When it was stored here, in microseconds since 1970.
    pub stored_at: i64,
    /// How it stands.
    pub state: State,
    /// How often it was sent again from here.
    pub redrives: i64,
    /// When it was last sent again.
    pub redriven_at: Option<i64>,
    /// Since when somebody wants it sent again.
    pub wanted_at: Option<i64>,
    /// Why it could not be sent when somebody last wanted it.
    pub failure: Option<String>,
    /// With which others it was last wanted.
    pub batch: Option<Uuid>,
}

impl Model {
    /// What of it is listed.
    pub fn listed(&self) -> Listed {
        Listed {
            id: self.id,
            topic: self.topic.clone(),
            original_partition: self.original_partition,
            original_offset: self.original_offset,
            key: self.key.clone(),
            reason: self.reason.clone(),
            attempts: self.attempts,
            died_at: self.died_at.clone(),
            redriven_before: self.redriven_before,
            stored_at: self.stored_at,
            state: self.state,
            redrives: self.redrives,
            redriven_at: self.redriven_at,
            wanted_at: self.wanted_at,
            failure: self.failure.clone(),
            batch: self.batch,
        }
    }

    /// The letter's headers.
    pub fn headers(&self) -> Result<Vec<(String, Vec<u8>)>, DbErr> {
        let damaged = |what: String| DbErr::Custom(format!("the headers of dead letter {}: {what}", self.id));
        let pairs: Vec<(String, String)> =
            serde_json::from_str(&self.headers).map_err(|error| damaged(error.to_string()))?;
        let read = |(name, value): (String, String)| match STANDARD.decode(value) {
            Ok(value) => Ok((name, value)),
            Err(error) => Err(damaged(error.to_string())),
        };
        pairs.into_iter().map(read).collect()
    }

    /// The message that it becomes when it is sent again.
    pub fn message(&self) -> Result<NewRecord, DbErr> {
        let key = self.new_key.clone().or_else(|| self.key.clone());
        let value = self.new_value.clone().or_else(|| self.value.clone());
        Ok(again(&self.topic, key, value, self.headers()?, self.redriven_before + self.redrives + 1))
    }
}

/// Which letters are meant.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this topic only.
    pub topic: Option<String>,
    /// In this state only.
    pub state: Option<State>,
    /// Whose reason contains this, in whatever case.
    pub reason: Option<String>,
    /// That were wanted together.
    pub batch: Option<Uuid>,
}

impl Filter {
    fn condition(&self) -> Condition {
        let mut all = Condition::all();
        if let Some(topic) = &self.topic {
            all = all.add(Column::Topic.eq(topic));
        }
        if let Some(state) = self.state {
            all = all.add(Column::State.eq(state));
        }
        if let Some(reason) = &self.reason {
            let text = reason.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            let contains = LikeExpr::new(format!("%{text}%")).escape('\\');
            all = all.add(Expr::expr(Func::lower(Expr::col(Column::Reason))).like(contains));
        }
        if let Some(batch) = self.batch {
            all = all.add(Column::Batch.eq(batch));
        }
        all
    }

    /// Those that can be wanted together: open, not wanted yet, and not sent again too often.
    fn redrivable(&self) -> Condition {
        let times = Expr::col(Column::RedrivenBefore).add(Expr::col(Column::Redrives));
        Filter { state: Some(State::Open), ..self.clone() }
            .condition()
            .add(Column::WantedAt.is_null())
            .add(times.lt(MOST_REDRIVES))
    }
}

/// Stores a letter, if it is not there yet.
pub async fn keep(letters: &DeadLetters, letter: Letter) -> Result<(), DbErr> {
    let headers: Vec<(String, String)> =
        letter.headers.into_iter().map(|(name, value)| (name, STANDARD.encode(value))).collect();
    let row = ActiveModel {
        id: Set(letter.id),
        topic: Set(letter.topic),
        original_partition: Set(letter.partition),
        original_offset: Set(letter.offset),
        key: Set(letter.key),
        value: Set(letter.value),
        headers: Set(serde_json::to_string(&headers).expect("pairs of text are JSON")),
        reason: Set(letter.reason),
        attempts: Set(letter.attempts),
        died_at: Set(letter.died_at),
        redriven_before: Set(letter.redriven),
        stored_at: Set(letters.clock.now().0),
        state: Set(State::Open),
        redrives: Set(0),
        redriven_at: Set(None),
        wanted_at: Set(None),
        pause_micros: Set(0),
        batch: Set(None),
        new_key: Set(None),
        new_value: Set(None),
        failure: Set(None),
    };
    let once = OnConflict::column(Column::Id).do_nothing().to_owned();
    let database = letters.database.clone();
    uncancelled(async move {
        Entity::insert(row).on_conflict(once).exec_without_returning(database.writer()).await.map(drop)
    })
    .await
}

fn listed(filter: &Filter) -> Select<Entity> {
    Entity::find().filter(filter.condition()).order_by_desc(Column::StoredAt).order_by_desc(Column::Id)
}

/// The newest letters that are meant, from behind this one on.
pub async fn newest(
    database: &Database,
    filter: &Filter,
    place: Option<(i64, Uuid)>,
    limit: u64,
) -> Result<Vec<Listed>, DbErr> {
    let columns = [
        Column::Id,
        Column::Topic,
        Column::OriginalPartition,
        Column::OriginalOffset,
        Column::Key,
        Column::Reason,
        Column::Attempts,
        Column::DiedAt,
        Column::RedrivenBefore,
        Column::StoredAt,
        Column::State,
        Column::Redrives,
        Column::RedrivenAt,
        Column::WantedAt,
        Column::Failure,
        Column::Batch,
    ];
    let mut rows = listed(filter).select_only().columns(columns).limit(limit);
    if let Some((at, id)) = place {
        rows = rows.filter(before([Column::StoredAt, Column::Id], [at.into(), id.into()]));
    }
    rows.into_model::<Listed>().all(&database.queries).await
}

/// One letter, whole.
pub async fn find(database: &Database, id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id).one(&database.queries).await
}

/// What waits for somebody, or for being sent, of one topic.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct Waiting {
    /// The topic.
    pub topic: String,
    /// How many letters are open.
    pub open: i64,
    /// How many somebody wants sent again.
    pub wanted: i64,
}

/// What waits, by topic.
pub async fn waiting(database: &Database) -> Result<Vec<Waiting>, DbErr> {
    let open = Expr::case(Column::State.eq(State::Open), 1).finally(0);
    Entity::find()
        .select_only()
        .column(Column::Topic)
        .column_as(Expr::expr(open).sum(), "open")
        .column_as(Column::WantedAt.count(), "wanted")
        .filter(Condition::any().add(Column::State.eq(State::Open)).add(Column::WantedAt.is_not_null()))
        .group_by(Column::Topic)
        .into_model()
        .all(&database.read)
        .await
}
