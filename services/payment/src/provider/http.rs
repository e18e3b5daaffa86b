//! A provider over HTTP, as payment-sandbox is one. `docs/provider.md` describes what it is asked and may answer.

use super::{Charge, NoOutcome, PaymentProvider, Refund, Transfer};
use async_trait::async_trait;
use contracts::Money;
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The largest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024;
/// The longest that a provider may want to be left alone.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);
/// Characters of a provider's own words that are passed on.
const WORDS: usize = 300;

/// A provider at an address.
#[derive(Clone, Debug)]
pub struct HttpProvider {
    client: Client,
    charges: Url,
    refunds: Url,
}

/// What a provider is asked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    customer_id: &'a str,
    amount: Money,
    currency: &'a str,
    reference: &'a str,
}

/// A provider's answer of status 200.
#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    reason: Option<String>,
}

impl Answer {
    fn reason(self) -> String {
        self.reason.map_or_else(|| "the provider gave no reason".to_owned(), |reason| words(&reason))
    }

    fn unreadable(&self) -> NoOutcome {
        NoOutcome::away(format!("the provider answered with the status {:?}, which means nothing here", self.status))
    }
}

/// Why there is no [`Answer`].
enum Failure {
    /// It is not known what was done.
    NoOutcome(NoOutcome),
    /// The provider takes this request for wrong, and would however often it came.
    Refused(String),
}

impl HttpProvider {
    /// At this address, to which `/v1/charges` and `/v1/refunds` are added.
    pub fn new(url: &Url) -> Result<Self, reqwest::Error> {
        let route = |name: &str| {
            let mut route = url.clone();
            if let Ok(mut path) = route.path_segments_mut() {
                path.pop_if_empty().extend(["v1", name]);
            }
            route
        };
        // A redirected POST may arrive as something else.
        let client = Client::builder().redirect(Policy::none()).build()?;
        Ok(HttpProvider { client, charges: route("charges"), refunds: route("refunds") })
    }

    async fn ask(&self, route: &Url, transfer: &Transfer) -> Result<Answer, Failure> {
        let question = Question {
            customer_id: &transfer.customer_id,
            amount: transfer.amount,
            currency: &transfer.currency,
            reference: &transfer.payment_id.0,
        };
        // A string of RFC 8941. Our keys have nothing in them that would need an escape.
        let key = format!("\"{}\"", transfer.key);
        let request = self.client.post(route.clone()).header("Idempotency-Key", key).json(&question);
        let response = request.send().await.map_err(|error| Failure::from(&error))?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let body = read(response).await?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| {
                Failure::NoOutcome(NoOutcome::away(format!("the provider's answer cannot be read: {error}")))
            });
        }
        let said = format!("the provider answered {status}{}", detail(&body));
        match status {
            // About who asks, when and where, and not about what is asked: another time it may be answered.
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::CONFLICT
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::NoOutcome(NoOutcome { retry_after, ..NoOutcome::away(said) }))
            }
            status if status.is_client_error() => Err(Failure::Refused(said)),
            _ => Err(Failure::NoOutcome(NoOutcome { retry_after, ..NoOutcome::away(said) })),
        }
    }
}

impl From<&reqwest::Error> for Failure {
    fn from(error: &reqwest::Error) -> Self {
        // The last cause says what happened, such as "Connection refused".
        let mut cause: &dyn std::error::Error = error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        Failure::NoOutcome(NoOutcome::away(format!("the provider cannot be reached: {cause}")))
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::from(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_LIMIT {
            let error = format!("the provider's answer is longer than {ANSWER_LIMIT} bytes");
            return Err(Failure::NoOutcome(NoOutcome::away(error)));
        }
    }
    Ok(body)
}

/// `Retry-After` in seconds. A date is not read: the own pauses do as well.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

/// What a problem (RFC 9457) says in words.
fn detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    serde_json::from_slice(body).map(|problem: Problem| format!(": {}", words(&problem.detail))).unwrap_or_default()
}

/// A provider's own words, cut to a length that can be stored and shown.
fn words(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(WORDS).collect()
}

#[async_trait]
impl PaymentProvider for HttpProvider {
    async fn charge(&self, transfer: &Transfer) -> Result<Charge, NoOutcome> {
        match self.ask(&self.charges, transfer).await {
            Ok(answer) => match answer.status.as_str() {
                "CHARGED" => Ok(Charge::Charged),
                "DECLINED" => Ok(Charge::Declined(answer.reason())),
                _ => Err(answer.unreadable()),
            },
            // Not a decline: what the key did before, if it did anything, is not known.
            Err(Failure::Refused(error)) => Err(NoOutcome { error, retry_after: None, is_there: true }),
            Err(Failure::NoOutcome(no_outcome)) => Err(no_outcome),
        }
    }

    async fn refund(&self, transfer: &Transfer) -> Result<Refund, NoOutcome> {
        match self.ask(&self.refunds, transfer).await {
            Ok(answer) => match answer.status.as_str() {
                "REFUNDED" => Ok(Refund::Refunded),
                "REFUSED" => Ok(Refund::Refused(answer.reason())),
                _ => Err(answer.unreadable()),
            },
            Err(Failure::Refused(why)) => Ok(Refund::Refused(why)),
            Err(Failure::NoOutcome(no_outcome)) => Err(no_outcome),
        }
    }
}
