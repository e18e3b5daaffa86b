//! Errors as RFC 9457 `application/problem+json`. `docs/problems.md` explains each type.

use super::Words;
use poem::http::StatusCode;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object};
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::ops::RangeInclusive;

/// What is wrong with a field, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FieldFault {
    /// It is not there.
    Missing,
    /// It is empty, or blank.
    Empty,
    /// It has more characters, or more elements, than it may.
    TooLong,
    /// A number is too small or too large, or has too many places.
    OutOfRange,
    /// It is of another type.
    WrongType,
    /// It is of the right type, and not what it should name or be.
    Invalid,
    /// It was used for something else before.
    Reused,
}

/// A field that is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Object, Serialize, Deserialize)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the request's body; or the name of a parameter or header.
    pub pointer: String,
    /// What is wrong with it, for programs.
    pub code: FieldFault,
    /// What is wrong with it.
    pub detail: String,
}

/// An error, as RFC 9457 describes it.
#[derive(Clone, Debug, PartialEq, Eq, Object, Serialize, Deserialize)]
pub struct Problem {
    /// Names the kind of problem; explained in docs/problems.md.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem, in words.
    pub title: String,
    /// The HTTP status code.
    pub status: u16,
    /// What is wrong this time, and what to do.
    pub detail: String,
    /// The path that was asked.
    #[oai(skip_serializing_if_is_none)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The W3C trace id of the request, under which the logs and traces tell of it.
    #[oai(rename = "traceId", skip_serializing_if_is_none)]
    #[serde(rename = "traceId", default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The fields at fault, where fields are.
    #[oai(skip_serializing_if_is_empty, default)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// The media type of every error.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// A problem of the kind that goes with the status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Box<Self> {
        let title = match status {
            StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Content",
            StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
            status => status.canonical_reason().unwrap_or("Error"),
        };
        let kind = title.to_ascii_lowercase().replace(' ', "-");
        Box::new(Problem {
            kind: format!("urn:order-system:problem:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            instance: None,
            trace_id: None,
            errors: Vec::new(),
        })
    }

    /// With one field at fault.
    #[must_use]
    pub fn blaming(
        self: Box<Self>,
        pointer: impl Into<String>,
        code: FieldFault,
        detail: impl Into<String>,
    ) -> Box<Self> {
        self.with_errors(vec![FieldError { pointer: pointer.into(), code, detail: detail.into() }])
    }

    /// With the fields at fault.
    #[must_use]
    pub fn with_errors(mut self: Box<Self>, errors: Vec<FieldError>) -> Box<Self> {
        self.errors = errors;
        self
    }
}

/// A refused request: what any route of any service can answer besides its success.
#[derive(ApiResponse)]
pub enum Refusal {
    /// The request cannot be read: not JSON, or a parameter that is none.
    #[oai(status = 400, content_type = "application/problem+json")]
    Malformed(Json<Box<Problem>>),
    /// The service does not know who asks: there is no credential, or none that it accepts.
    #[oai(status = 401, content_type = "application/problem+json")]
    Unknown(
        Json<Box<Problem>>,
        /// What it accepts.
        #[oai(header = "WWW-Authenticate")]
        String,
    ),
    /// This caller may not do this.
    #[oai(status = 403, content_type = "application/problem+json")]
    Forbidden(Json<Box<Problem>>),
    /// There is no such thing.
    #[oai(status = 404, content_type = "application/problem+json")]
    NotFound(Json<Box<Problem>>),
    /// Not possible as things stand.
    #[oai(status = 409, content_type = "application/problem+json")]
    Conflict(Json<Box<Problem>>),
    /// Things have changed since the caller looked.
    #[oai(status = 412, content_type = "application/problem+json")]
    Stale(Json<Box<Problem>>),
    /// The body is larger than 256 KiB.
    #[oai(status = 413, content_type = "application/problem+json")]
    TooLarge(Json<Box<Problem>>),
    /// The body is not declared as JSON.
    #[oai(status = 415, content_type = "application/problem+json")]
    NotJson(Json<Box<Problem>>),
    /// The request can be read, but its content is wrong.
    #[oai(status = 422, content_type = "application/problem+json")]
    Wrong(Json<Box<Problem>>),
    /// Too many requests of this caller.
    #[oai(status = 429, content_type = "application/problem+json")]
    TooMany(
        Json<Box<Problem>>,
        /// Seconds to wait before trying again.
        #[oai(header = "Retry-After")]
        u32,
    ),
    /// The service cannot do this now.
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(
        Json<Box<Problem>>,
        /// Seconds to wait before trying again.
        #[oai(header = "Retry-After")]
        u32,
    ),
}

impl Refusal {
    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Refusal::NotFound(Json(Problem::new(StatusCode::NOT_FOUND, detail)))
    }

    /// 409.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Refusal::Conflict(Json(Problem::new(StatusCode::CONFLICT, detail)))
    }

    /// 400, for a parameter or header that cannot be read.
    pub fn malformed(name: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let problem = Problem::new(StatusCode::BAD_REQUEST, format!("{name}: {detail}"));
        Refusal::Malformed(Json(problem.blaming(name, FieldFault::Invalid, detail)))
    }

    /// 403.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Refusal::Forbidden(Json(Problem::new(StatusCode::FORBIDDEN, detail)))
    }

    /// 412.
    pub fn stale(detail: impl Into<String>) -> Self {
        Refusal::Stale(Json(Problem::new(StatusCode::PRECONDITION_FAILED, detail)))
    }

    /// 422, for an idempotency key that was used for another request.
    pub fn key_reused(detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail.clone());
        Refusal::Wrong(Json(problem.blaming("Idempotency-Key", FieldFault::Reused, detail)))
    }

    /// 503, to be tried again in a second.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Refusal::Unavailable(Json(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)), 1)
    }
}

impl Refusal {
    /// 503 for a stored row that cannot be read, with what is wrong with it in the log.
    pub fn damaged(what: String) -> Self {
        tracing::error!(what, "a stored row cannot be read");
        Refusal::unavailable("what is stored cannot be read; the log of the service says more")
    }
}

impl From<crate::store::StoreError> for Refusal {
    fn from(error: crate::store::StoreError) -> Self {
        tracing::warn!(%error, "a read failed");
        Refusal::unavailable("the database does not answer; try again")
    }
}

impl From<sea_orm::DbErr> for Refusal {
    fn from(error: sea_orm::DbErr) -> Self {
        crate::store::StoreError::from(error).into()
    }
}

/// The faults of a body, found one by one.
#[derive(Debug, Default)]
pub struct Fields(Vec<FieldError>);

impl Fields {
    /// Notes a fault unless `fine`.
    pub fn check(&mut self, fine: bool, pointer: impl Into<String>, code: FieldFault, detail: impl Into<String>) {
        if !fine {
            self.0.push(FieldError { pointer: pointer.into(), code, detail: detail.into() });
        }
    }

    /// A number within these bounds.
    pub fn check_range<N: PartialOrd + Display>(
        &mut self,
        number: N,
        range: RangeInclusive<N>,
        pointer: impl Into<String>,
    ) {
        let detail = format!("must be from {} to {}", range.start(), range.end());
        self.check(range.contains(&number), pointer, FieldFault::OutOfRange, detail);
    }

    /// A text that people and databases can take: not blank, not too long, no control characters.
    pub fn check_text(&mut self, text: &str, pointer: &str) {
        self.check(!text.trim().is_empty(), pointer, FieldFault::Empty, "must not be empty");
        self.check(text.chars().count() <= 200, pointer, FieldFault::TooLong, "must have at most 200 characters");
        self.check(
            !text.chars().any(char::is_control),
            pointer,
            FieldFault::Invalid,
            "must not contain control characters",
        );
    }

    /// The same of words that may be missing; gives them back.
    pub fn check_words(&mut self, words: Option<Words>, pointer: &str) -> Option<String> {
        let text = words?.0;
        self.check_text(&text, pointer);
        Some(text)
    }

    /// A 422 that names every fault, if there is one.
    pub fn finish(self) -> Result<(), Refusal> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let detail = format!("{} {}", first.pointer, first.detail);
        Err(Refusal::Wrong(Json(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_errors(self.0))))
    }
}
