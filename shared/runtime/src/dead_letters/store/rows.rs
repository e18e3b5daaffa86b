//! One row of the table.

use super::State;
use sea_orm::entity::prelude::*;

/// One letter.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "dead_letters")]
pub struct Model {
    /// Its id, equal for copies.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Where the message was.
    pub topic: String,
    /// Where the message was.
    pub original_partition: i64,
    /// Where the message was.
    pub original_offset: i64,
    /// The message's key.
    pub key: Option<Vec<u8>>,
    /// The message's value.
    pub value: Option<Vec<u8>>,
    /// JSON: pairs of name and value, the value in base64.
    pub headers: String,
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
    /// The pause behind it, when many are sent one by one.
    pub pause_micros: i64,
    /// With which others it was last wanted.
    pub batch: Option<Uuid>,
    /// The corrected key.
    pub new_key: Option<Vec<u8>>,
    /// The corrected value.
    pub new_value: Option<Vec<u8>>,
    /// Why it could not be sent when somebody last wanted it.
    pub failure: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
