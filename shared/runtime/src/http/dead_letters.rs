//! The routes for dead letters: to find them, to look at them, to send them again, to discard them.

mod bodies;
mod view;

use super::newest::Page;
use super::{Caller, Fields, JsonBody, OptionalJsonBody, Refusal, Words};
use crate::audit::store as audit;
use crate::dead_letters::DeadLetters;
use crate::dead_letters::store::wishes::{Unchanged, count, discard, subject, want, want_many};
use crate::dead_letters::store::{Filter, Model, find, newest};
use bodies::{Discard, Redrive, RedriveMany};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi, Tags};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;
use view::{DeadLetter, DeadLetterState, DeadLetterSummary, DeadLetters as List, Many};

/// How long a request waits for its letter to be sent.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often is looked whether it was.
const LOOK: Duration = Duration::from_millis(20);
/// Audit entries of one letter that are shown with it.
const HISTORY: u64 = 100;

/// The dead letters of this service.
pub struct DeadLetterApi(pub Arc<DeadLetters>);

#[derive(Tags)]
enum Tag {
    /// For those who look after what does not settle by itself.
    Operators,
}

/// A letter that is to be sent again.
#[derive(ApiResponse)]
enum Accepted {
    /// It was sent again; or, while `redriveRequestedAt` is there, it will be.
    #[oai(status = 202)]
    Accepted(Json<DeadLetter>),
}

/// Letters that are to be sent again.
#[derive(ApiResponse)]
enum ManyAccepted {
    /// A dry run: nothing was done.
    #[oai(status = 200)]
    DryRun(Json<Many>),
    /// They are sent one by one from now on.
    #[oai(status = 202)]
    Accepted(Json<Many>),
}

impl From<Unchanged> for Refusal {
    fn from(why: Unchanged) -> Self {
        match why {
            Unchanged::Unknown(_) => Refusal::not_found(why.to_string()),
            Unchanged::Impossible(_) => Refusal::conflict(why.to_string()),
            Unchanged::Database(error) => error.into(),
        }
    }
}

#[OpenApi]
impl DeadLetterApi {
    /// The messages that this service could not deal with.
    ///
    /// Newest first; without the messages themselves.
    #[oai(path = "/api/dead-letters", method = "get", tag = "Tag::Operators")]
    async fn list(
        &self,
        /// Only of this topic, as `payment.confirmed`.
        topic: Query<Option<Words>>,
        /// Only in this state.
        state: Query<Option<DeadLetterState>>,
        /// Only those whose reason contains this, in whatever case.
        reason: Query<Option<Words>>,
        /// Only those that were sent again together.
        batch: Query<Option<Uuid>>,
        /// How many, from 1 to 100; 20, if it is not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u64>>,
        /// From the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<List>, Refusal> {
        let state = state.0.map(Into::into);
        let filter = filter("", topic.0, reason.0)?;
        let filter = Filter { state, batch: batch.0, ..filter };
        let page = Page::of(limit.0, cursor.0.as_deref())?;
        let mut rows = newest(&self.0.database, &filter, page.behind, page.limit + 1).await?;
        let next_cursor = page.cut(&mut rows, |row| (row.stored_at, row.id));
        let dead_letters = rows.into_iter().map(DeadLetterSummary::from).collect();
        Ok(Json(List { dead_letters, next_cursor }))
    }

    /// One dead letter, whole: headers, key, payload, and what people did with it.
    #[oai(path = "/api/dead-letters/:id", method = "get", tag = "Tag::Operators")]
    async fn read(
        &self,
        /// The letter.
        id: Path<Uuid>,
    ) -> Result<Json<DeadLetter>, Refusal> {
        Ok(Json(self.whole(self.find(id.0).await?).await?))
    }

    /// Send a dead letter to its topic again.
    ///
    /// As it was, or with a corrected payload or key. Receivers recognise an event that they have dealt with by its
    /// eventId, so once too often changes nothing. What was sent again three times is refused with 409, as is what was
    /// discarded, unless `force` is true.
    #[oai(path = "/api/dead-letters/:id/redrive", method = "post", tag = "Tag::Operators")]
    async fn redrive(
        &self,
        caller: Data<&Caller>,
        /// The letter.
        id: Path<Uuid>,
        body: OptionalJsonBody<Redrive>,
    ) -> Result<Accepted, Refusal> {
        let letter = self.find(id.0).await?;
        let correction = body.0.unwrap_or_default().check(&letter)?;
        want(&self.0, caller.clone(), id.0, correction).await?;
        self.sent(id.0).await.map(Json).map(Accepted::Accepted)
    }

    /// Send many dead letters to their topics again.
    ///
    /// Those that are OPEN, match, and were sent again fewer than three times, the oldest first, as they were. They are
    /// sent in the background and one by one, also when the service is started again meanwhile.
    #[oai(path = "/api/dead-letters/redrive", method = "post", tag = "Tag::Operators")]
    async fn redrive_many(&self, caller: Data<&Caller>, body: JsonBody<RedriveMany>) -> Result<ManyAccepted, Refusal> {
        let dry_run = body.0.dry_run;
        let many = body.0.check()?;
        if dry_run {
            let (count, ids) = count(&self.0.database.queries, &many).await?;
            return Ok(ManyAccepted::DryRun(Json(Many { dry_run, count, ids, batch: None, follow: None })));
        }
        let (batch, count, ids) = want_many(&self.0, caller.clone(), many).await?;
        let follow = Some(format!("/api/dead-letters?batch={batch}"));
        Ok(ManyAccepted::Accepted(Json(Many { dry_run, count, ids, batch: Some(batch), follow })))
    }

    /// Say that a dead letter is not needed, and why.
    ///
    /// Once more changes nothing. 409 for one that was sent again.
    #[oai(path = "/api/dead-letters/:id/discard", method = "post", tag = "Tag::Operators")]
    async fn discard(
        &self,
        caller: Data<&Caller>,
        /// The letter.
        id: Path<Uuid>,
        body: JsonBody<Discard>,
    ) -> Result<Json<DeadLetter>, Refusal> {
        discard(&self.0, caller.clone(), id.0, body.0.check()?).await?;
        Ok(Json(self.whole(self.find(id.0).await?).await?))
    }
}

impl DeadLetterApi {
    async fn find(&self, id: Uuid) -> Result<Model, Refusal> {
        Ok(find(&self.0.database, id).await?.ok_or(Unchanged::Unknown(id))?)
    }

    async fn whole(&self, letter: Model) -> Result<DeadLetter, Refusal> {
        let wanted = audit::Wanted { subject: Some(subject(letter.id)), ..Default::default() };
        let history = audit::newest(&self.0.database.queries, wanted, HISTORY).await?;
        Ok(DeadLetter::of(letter, history)?)
    }

    /// The letter once it was sent; or as it stands, if that takes long: while the log is away, or while another
    /// replica is taking the work over.
    async fn sent(&self, id: Uuid) -> Result<DeadLetter, Refusal> {
        let until = Instant::now() + PATIENCE;
        loop {
            let letter = self.find(id).await?;
            match (&letter.wanted_at, &letter.failure) {
                (None, Some(why)) => {
                    return Err(Refusal::conflict(format!("dead letter {id} could not be sent again: {why}")));
                }
                (Some(_), _) if Instant::now() < until => tokio::time::sleep(LOOK).await,
                _ => return self.whole(letter).await,
            }
        }
    }
}

/// The filter that these parameters, or fields of a body, are.
fn filter(before: &str, topic: Option<Words>, reason: Option<Words>) -> Result<Filter, Refusal> {
    let mut fields = Fields::default();
    let topic = fields.check_words(topic, &format!("{before}topic"));
    let reason = fields.check_words(reason, &format!("{before}reason"));
    fields.finish()?;
    Ok(Filter { topic, reason, ..Filter::default() })
}
