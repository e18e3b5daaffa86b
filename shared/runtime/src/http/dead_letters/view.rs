//! Dead letters as they are shown.

use crate::audit::store::Model as Done;
use crate::dead_letters::store::{Listed, Model, State};
use crate::http::audit::AuditEntry;
use crate::store::StoreError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::Timestamp;
use poem_openapi::{Enum, Object};
use uuid::Uuid;

/// How a dead letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum DeadLetterState {
    /// Nobody has decided yet.
    Open,
    /// It was sent to its topic again.
    Redriven,
    /// It is not needed.
    Discarded,
}

impl From<State> for DeadLetterState {
    fn from(state: State) -> Self {
        match state {
            State::Open => DeadLetterState::Open,
            State::Redriven => DeadLetterState::Redriven,
            State::Discarded => DeadLetterState::Discarded,
        }
    }
}

impl From<DeadLetterState> for State {
    fn from(state: DeadLetterState) -> Self {
        match state {
            DeadLetterState::Open => State::Open,
            DeadLetterState::Redriven => State::Redriven,
            DeadLetterState::Discarded => State::Discarded,
        }
    }
}

/// How bytes are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Encoding {
    /// They are UTF-8, and shown as they are.
    Text,
    /// They are not, and shown in base64.
    Base64,
}

fn shown(bytes: Vec<u8>) -> (String, Encoding) {
    String::from_utf8(bytes)
        .map_or_else(|other| (STANDARD.encode(other.as_bytes()), Encoding::Base64), |text| (text, Encoding::Text))
}

/// A message that this service could not deal with.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct DeadLetterSummary {
    /// The letter; copies of one have the same id.
    id: Uuid,
    /// Where the message was.
    topic: String,
    /// Where the message was; -1 if the letter does not say.
    partition: i64,
    /// Where the message was.
    offset: i64,
    /// The message's key, which should be the orderId.
    #[oai(skip_serializing_if_is_none)]
    key: Option<String>,
    /// How the key is shown.
    #[oai(skip_serializing_if_is_none)]
    key_encoding: Option<Encoding>,
    /// What was wrong with it.
    reason: String,
    /// How often it was tried.
    attempts: i64,
    /// How it stands.
    state: DeadLetterState,
    /// When it died, as the letter says. ISO 8601, UTC.
    died_at: String,
    /// When this service's list had it. ISO 8601, UTC.
    stored_at: String,
    /// How often this message was sent again, in this and in earlier lives.
    redriven: i64,
    /// When it was last sent again from here. ISO 8601, UTC.
    #[oai(skip_serializing_if_is_none)]
    redriven_at: Option<String>,
    /// Since when somebody wants it sent again, which has not happened yet. ISO 8601, UTC.
    #[oai(skip_serializing_if_is_none)]
    redrive_requested_at: Option<String>,
    /// Why it could not be sent when somebody last wanted it.
    #[oai(skip_serializing_if_is_none)]
    redrive_failure: Option<String>,
    /// With which others it was sent again.
    #[oai(skip_serializing_if_is_none)]
    batch: Option<Uuid>,
}

impl From<Listed> for DeadLetterSummary {
    fn from(row: Listed) -> Self {
        let moment = |at: i64| Timestamp(at).to_string();
        let (key, key_encoding) = row.key.map(shown).unzip();
        DeadLetterSummary {
            id: row.id,
            topic: row.topic,
            partition: row.original_partition,
            offset: row.original_offset,
            key,
            key_encoding,
            reason: row.reason,
            attempts: row.attempts,
            state: row.state.into(),
            died_at: row.died_at,
            stored_at: moment(row.stored_at),
            redriven: row.redriven_before + row.redrives,
            redriven_at: row.redriven_at.map(moment),
            redrive_requested_at: row.wanted_at.map(moment),
            redrive_failure: row.failure,
            batch: row.batch,
        }
    }
}

/// A page of dead letters.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "DeadLetters")]
pub(super) struct DeadLetters {
    /// Newest first.
    pub(super) dead_letters: Vec<DeadLetterSummary>,
    /// For the next page, if there is one.
    #[oai(nullable)]
    pub(super) next_cursor: Option<String>,
}

/// A header of a message.
#[derive(Clone, Debug, Object)]
struct MessageHeader {
    /// Its name.
    name: String,
    /// Its value.
    value: String,
    /// How the value is shown.
    encoding: Encoding,
}

/// A message that this service could not deal with, whole.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct DeadLetter {
    /// As it is listed.
    #[oai(flatten)]
    summary: DeadLetterSummary,
    /// The message's value; none for a tombstone.
    #[oai(skip_serializing_if_is_none)]
    payload: Option<String>,
    /// How the payload is shown.
    #[oai(skip_serializing_if_is_none)]
    payload_encoding: Option<Encoding>,
    /// What was sent in place of the payload when it was last sent again, or is to be.
    #[oai(skip_serializing_if_is_none)]
    corrected_payload: Option<String>,
    /// What was sent in place of the key when it was last sent again, or is to be.
    #[oai(skip_serializing_if_is_none)]
    corrected_key: Option<String>,
    /// Every header of the letter, in their order.
    headers: Vec<MessageHeader>,
    /// What people did with it, newest first.
    history: Vec<AuditEntry>,
}

impl DeadLetter {
    pub(super) fn of(letter: Model, history: Vec<Done>) -> Result<Self, StoreError> {
        let headers = letter.headers()?.into_iter().map(|(name, value)| {
            let (value, encoding) = shown(value);
            MessageHeader { name, value, encoding }
        });
        let summary = letter.listed().into();
        let (payload, payload_encoding) = letter.value.map(shown).unzip();
        Ok(DeadLetter {
            summary,
            payload,
            payload_encoding,
            corrected_payload: letter.new_value.map(|value| shown(value).0),
            corrected_key: letter.new_key.map(|key| shown(key).0),
            headers: headers.collect(),
            history: history.into_iter().map(AuditEntry::from).collect(),
        })
    }
}

/// Dead letters that are to be sent again.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "RedrivenDeadLetters")]
pub(super) struct Many {
    /// Whether nothing was done.
    pub(super) dry_run: bool,
    /// How many match.
    pub(super) count: u64,
    /// Those that are sent: at most `limit`, the oldest first.
    pub(super) ids: Vec<Uuid>,
    /// Under what they can be found.
    #[oai(skip_serializing_if_is_none)]
    pub(super) batch: Option<Uuid>,
    /// Where to see how far it has come.
    #[oai(skip_serializing_if_is_none)]
    pub(super) follow: Option<String>,
}
