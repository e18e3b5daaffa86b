//! The parts of the supervision tree, for those who run the service.

use super::operations::Tag;
use super::{Caller, JsonBody, Refusal, Words};
use crate::actors::Wiring;
use crate::actors::roster::{NotRestarted, Roster, State};
use crate::audit::{Entry, record_first};
use crate::clock::Clock;
use crate::database::Database;
use crate::saga::Saga;
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde::Deserialize;
use std::sync::Arc;

/// The routes.
pub struct PartsApi {
    roster: Arc<Roster>,
    database: Database,
    clock: Arc<dyn Clock>,
}

impl PartsApi {
    /// Of this service.
    pub fn of<S: Saga>(wiring: &Wiring<S>, database: &Database) -> Self {
        PartsApi { roster: Arc::clone(&wiring.roster), database: database.clone(), clock: Arc::clone(&wiring.clock) }
    }
}

/// How a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
enum PartState {
    /// It has not been started yet.
    Starting,
    /// It runs.
    Running,
    /// It has ended and is about to be started again.
    Restarting,
}

/// A part of the supervision tree.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
struct PartView {
    /// What it is, as `journal`.
    kind: String,
    /// How it stands.
    state: PartState,
    /// How often it was started again.
    restarts: u64,
    /// Why it ended the last time, if it did.
    #[oai(skip_serializing_if_is_none)]
    last_error: Option<String>,
}

/// The parts of the supervision tree, in the order of their start.
#[derive(Clone, Debug, Object)]
struct PartList {
    /// The parts.
    parts: Vec<PartView>,
}

/// Why a part is to be started again.
#[derive(Clone, Debug, Object, Deserialize)]
#[oai(example)]
struct Restart {
    /// Why. At most 200 characters.
    reason: Words,
}

impl Example for Restart {
    fn example() -> Self {
        Restart { reason: "it has not moved for minutes".into() }
    }
}

/// A part that ends.
#[derive(ApiResponse)]
enum Restarted {
    /// It ends, and its supervisor starts it again.
    #[oai(status = 202)]
    Accepted(Json<PartList>),
}

#[OpenApi]
impl PartsApi {
    /// The parts of the supervision tree, in the order of their start.
    #[oai(path = "/api/parts", method = "get", tag = "Tag::Service")]
    async fn list(&self) -> Result<Json<PartList>, Refusal> {
        Ok(Json(self.view()))
    }

    /// End a part, whatever it is at, so that its supervisor starts it again.
    ///
    /// What it had in hand comes again, as after a crash. `http` is the part that answers, so it cannot be asked.
    #[oai(path = "/api/parts/:kind/restart", method = "post", tag = "Tag::Service")]
    async fn restart(
        &self,
        caller: Data<&Caller>,
        /// Which, as `publisher`.
        kind: Path<String>,
        body: JsonBody<Restart>,
    ) -> Result<Restarted, Refusal> {
        let reason = body.0.reason.check("/reason")?;
        if kind.0 == "http" {
            return Err(Refusal::conflict("http is the part that answers this request; restart the process instead"));
        }
        if !self.roster.report().iter().any(|part| part.kind == kind.0) {
            return Err(Refusal::not_found(format!("this service has no part {:?}", kind.0)));
        }
        let detail = serde_json::json!({});
        let entry = Entry { subject: format!("part/{}", kind.0), action: "part.restart", detail, reason: Some(reason) };
        record_first(&self.database, caller.0, self.clock.now(), entry).await?;
        match self.roster.restart(&kind.0).await {
            Ok(()) => Ok(Restarted::Accepted(Json(self.view()))),
            Err(NotRestarted::NotRunning) => Err(Refusal::conflict("it is being started already")),
            Err(NotRestarted::Unknown) => Err(Refusal::not_found(format!("this service has no part {:?}", kind.0))),
        }
    }
}

impl PartsApi {
    fn view(&self) -> PartList {
        let parts = self.roster.report().into_iter().map(|part| PartView {
            kind: part.kind.to_owned(),
            state: match part.state {
                State::Starting => PartState::Starting,
                State::Running(_) => PartState::Running,
                State::Restarting => PartState::Restarting,
            },
            restarts: part.restarts,
            last_error: part.last_error,
        });
        PartList { parts: parts.collect() }
    }
}
