//! Pages of notices: how long they are, and where they go on.

use crate::store::notifications::{Column, Model};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::http::StatusCode;
use poem_openapi::payload::Json;
use runtime::http::{Fields, Problem, Refusal};
use runtime::store::sql::{before, behind};
use sea_orm::sea_query::Expr;
use std::fmt;
use uuid::Uuid;

/// The most notices of one page.
pub(super) const MOST: u64 = 100;

/// How many notices a page is to have.
pub(super) fn limit(wanted: Option<u64>) -> Result<u64, Refusal> {
    let limit = wanted.unwrap_or(MOST);
    let mut fields = Fields::default();
    fields.check_range(limit, 1..=MOST, "limit");
    fields.finish().map(|()| limit)
}

/// The last notice of a page. What comes later is not in the way of what is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    created_at: i64,
    id: Uuid,
}

impl Cursor {
    /// At this notice.
    pub(super) fn at(row: &Model) -> Self {
        Cursor { created_at: row.created_at, id: row.notification_id }
    }

    /// From its text.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let parts = bytes.as_deref().and_then(|bytes| bytes.split_first_chunk::<8>());
        let cursor = parts.and_then(|(created_at, id)| {
            Some(Cursor { created_at: i64::from_be_bytes(*created_at), id: Uuid::from_slice(id).ok()? })
        });
        cursor.ok_or_else(|| {
            let detail = "the cursor is none of ours; take nextCursor of the page before";
            Refusal::Malformed(Json(Problem::new(StatusCode::BAD_REQUEST, detail)))
        })
    }

    /// The notices behind it, with the oldest first or the newest.
    pub(super) fn behind(self, oldest_first: bool) -> Expr {
        let (columns, place) = ([Column::CreatedAt, Column::NotificationId], [self.created_at.into(), self.id.into()]);
        if oldest_first { behind(columns, place) } else { before(columns, place) }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.created_at.to_be_bytes()[..], self.id.as_bytes()].concat();
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = Cursor { created_at: 1_700_000_000_123_456, id: Uuid::from_u128(7) };
        assert_eq!(Cursor::parse(&cursor.to_string()).ok(), Some(cursor));
        for wrong in ["", "!", "AAAA", &cursor.to_string()[1..]] {
            assert!(Cursor::parse(wrong).is_err(), "{wrong}");
        }
    }
}
