//! The routes that tell who did what.

use super::newest::Page;
use super::{Fields, Refusal, Words};
use crate::audit::store::{Model, Wanted, newest};
use crate::database::Database;
use contracts::Timestamp;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi, Tags};
use serde_json::Value;
use uuid::Uuid;

/// What people did at this service.
pub struct AuditApi(pub Database);

#[derive(Tags)]
enum Tag {
    /// For those who look after what does not settle by itself.
    Operators,
}

/// What somebody did.
#[derive(Clone, Debug, Object)]
pub(super) struct AuditEntry {
    /// The entry.
    id: Uuid,
    /// When. ISO 8601, UTC.
    at: String,
    /// Who: the caller's id.
    actor: String,
    /// What was done, as `dead-letter.redrive`.
    action: String,
    /// To what: a kind and an id, as `dead-letter/...`.
    subject: String,
    /// With what values.
    detail: Value,
    /// Why, in the actor's words.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<String>,
}

impl From<Model> for AuditEntry {
    fn from(row: Model) -> Self {
        let Model { id, at, actor, action, subject, detail, reason } = row;
        AuditEntry { id, at: Timestamp(at).to_string(), actor, action, subject, detail, reason }
    }
}

/// A page of entries.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
struct AuditEntries {
    /// Newest first.
    entries: Vec<AuditEntry>,
    /// For the next page, if there is one.
    #[oai(nullable)]
    next_cursor: Option<String>,
}

#[OpenApi]
impl AuditApi {
    /// Who did what at this service.
    ///
    /// One entry for every action of those who look after the system that changes something: payments, stock, notices,
    /// dead letters, parts. Newest first. What becomes of an order, a cancellation included, is in its timeline.
    #[oai(path = "/api/audit", method = "get", tag = "Tag::Operators")]
    async fn list(
        &self,
        /// Only what was done to this: a kind and an id, as `dead-letter/...`.
        subject: Query<Option<Words>>,
        /// Only what this caller did.
        actor: Query<Option<Words>>,
        /// How many, from 1 to 100; 20, if it is not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u64>>,
        /// From the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<AuditEntries>, Refusal> {
        let mut fields = Fields::default();
        let (subject, actor) = (fields.check_words(subject.0, "subject"), fields.check_words(actor.0, "actor"));
        fields.finish()?;
        let page = Page::of(limit.0, cursor.0.as_deref())?;
        let wanted = Wanted { subject, actor, before: page.behind };
        let mut rows = newest(&self.0.queries, wanted, page.limit + 1).await?;
        let next_cursor = page.cut(&mut rows, |row| (row.at, row.id));
        Ok(Json(AuditEntries { entries: rows.into_iter().map(AuditEntry::from).collect(), next_cursor }))
    }
}
