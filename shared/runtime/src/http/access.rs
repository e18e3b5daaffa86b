//! Who is let in. Every request is asked here, before any route sees it; what is not named as open is closed.

mod api_keys;
mod document;
mod jwt;
mod key_set;
mod rate;
mod roles;

pub use api_keys::ApiKeys;
pub use jwt::{Jwt, SECRET_LENGTH, SignedWith};
pub use key_set::KeySet;
pub use rate::Rate;

pub(super) use document::Document;

use super::Caller;
use super::problem::{Problem, Refusal};
use crate::saga::Named;
use poem::Request;
use poem::http::{HeaderMap, Method, StatusCode, header};
use poem_openapi::payload::Json;
use std::net::IpAddr;

/// What a caller is asked for.
enum Ask {
    Nothing,
    ApiKey(ApiKeys),
    Token(Jwt),
}

/// Who is let in, and how often.
pub struct Access {
    ask: Ask,
    rate: Option<Rate>,
}

/// Why a caller is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It gave nothing to know it by.
    Missing,
    /// What it gave is worth nothing. Why is for the log: to a caller it would be a hint.
    Worthless(String),
    /// What it gave was worth something once.
    Expired,
    /// Nobody can say now what it is worth.
    Undecided,
}

/// What a request says about who sends it.
pub(super) struct Sender {
    credential: Option<String>,
    address: Option<IpAddr>,
}

impl Access {
    /// Everybody.
    pub fn open(rate: Option<Rate>) -> Self {
        Access { ask: Ask::Nothing, rate }
    }

    /// Who has one of these keys.
    pub fn api_keys(keys: ApiKeys, rate: Option<Rate>) -> Self {
        Access { ask: Ask::ApiKey(keys), rate }
    }

    /// Who has such a token.
    pub fn jwt(jwt: Jwt, rate: Option<Rate>) -> Self {
        Access { ask: Ask::Token(jwt), rate }
    }

    /// Whether nobody is asked for a name.
    pub fn is_open(&self) -> bool {
        matches!(self.ask, Ask::Nothing)
    }

    /// What a request says about who sends it. Taken out of it, since the request itself cannot wait for an answer.
    pub(super) fn sender(&self, request: &Request) -> Sender {
        let credential = match self.ask {
            Ask::Nothing => None,
            Ask::ApiKey(_) => bearer(request.headers()).or_else(|| single(request.headers(), "x-api-key")),
            Ask::Token(_) => bearer(request.headers()),
        };
        Sender { credential, address: request.remote_addr().as_socket_addr().map(|address| address.ip()) }
    }

    /// Who sends this, if it is let in.
    pub(super) async fn admit(&self, method: &Method, path: &str, sender: Sender) -> Result<Caller, Refusal> {
        if is_open(path) {
            return Ok(Caller::anyone());
        }
        let known = match &self.ask {
            Ask::Nothing => Ok(Caller::anyone()),
            Ask::ApiKey(keys) => sender.credential.ok_or(Denied::Missing).and_then(|key| keys.caller(&key)),
            Ask::Token(jwt) => match sender.credential {
                Some(token) => jwt.caller(&token).await,
                None => Err(Denied::Missing),
            },
        };
        self.limit(known.as_ref().ok(), sender.address)?;
        let caller = known.map_err(|denied| self.refusal(denied))?;
        let needed = roles::needed(method, path);
        if caller.role < needed {
            let detail = format!("this needs the role {}, and the caller's is {}", needed.name(), caller.role.name());
            return Err(Refusal::forbidden(detail));
        }
        Ok(caller)
    }

    /// Who has no name of its own is counted by its address.
    fn limit(&self, known: Option<&Caller>, address: Option<IpAddr>) -> Result<(), Refusal> {
        let Some(rate) = &self.rate else { return Ok(()) };
        let named = known.filter(|_| !self.is_open());
        let waited = match named {
            Some(caller) => rate.take_as(&caller.id),
            None => rate.take_from(address),
        };
        waited.map_err(|seconds| {
            let detail = format!("too many requests of this caller; nothing was done, try again in {seconds} s");
            Refusal::TooMany(Json(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)), seconds)
        })
    }

    fn refusal(&self, denied: Denied) -> Refusal {
        let (detail, challenge) = match denied {
            Denied::Missing => (
                match self.ask {
                    Ask::Nothing | Ask::Token(_) => "this needs a token, as Authorization: Bearer <token>",
                    Ask::ApiKey(_) => "this needs a key, as Authorization: Bearer <key> or X-API-Key: <key>",
                },
                "",
            ),
            Denied::Worthless(why) => {
                tracing::debug!(why, "a credential was not accepted");
                ("the credential is not accepted", r#", error="invalid_token""#)
            }
            Denied::Expired => {
                ("the token has expired", r#", error="invalid_token", error_description="the token has expired""#)
            }
            Denied::Undecided => {
                return Refusal::unavailable("the keys that tokens are signed with cannot be fetched; try again");
            }
        };
        let problem = Problem::new(StatusCode::UNAUTHORIZED, detail);
        Refusal::Unknown(Json(problem), format!(r#"Bearer realm="order-system"{challenge}"#))
    }
}

/// What everybody may see: whether the service is well, how it does, and what it offers.
fn is_open(path: &str) -> bool {
    ["/metrics", "/docs", "/openapi.json", "/openapi.yaml", "/dashboard"].contains(&path)
        || ["/health/", "/docs/", "/dashboard/assets/", "/dashboard/orders/"]
            .iter()
            .any(|start| path.starts_with(start))
}

/// The one value of a header. Two of one name say nothing that can be relied on.
fn single(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let (value, more) = (values.next()?, values.next());
    match more {
        None => value.to_str().ok().map(str::to_owned),
        Some(_) => None,
    }
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = single(headers, header::AUTHORIZATION.as_str())?;
    let (scheme, credential) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim().to_owned())
}
