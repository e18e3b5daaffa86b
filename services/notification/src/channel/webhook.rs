//! Webhooks by the Standard Webhooks specification 1.0: <https://www.standardwebhooks.com>.

mod guard;

pub use guard::is_public;

use super::Failure;
use crate::saga::{Notice, Occasion};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::{Money, OrderId, Timestamp};
use guard::PublicOnly;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use runtime::saga::Named;
use serde::Serialize;
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;
use url::Host;
use uuid::Uuid;

/// The longest that a receiver may want to be left alone.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// What messages are signed with.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// From its text, `whsec_` and base64 of 24 to 64 bytes.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let encoded = text.trim().strip_prefix("whsec_").ok_or("must begin with whsec_")?;
        let key = STANDARD.decode(encoded).map_err(|_| "must be base64 behind whsec_")?;
        if !(24..=64).contains(&key.len()) {
            return Err("must be base64 of 24 to 64 bytes behind whsec_");
        }
        Ok(Secret(key))
    }

    /// The value of `webhook-signature`.
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length will do");
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// Posts to webhooks.
pub struct Webhooks {
    client: Client,
    secret: Secret,
    allow_private: bool,
}

/// What a receiver gets.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// When the notice was recorded: the same in every repetition.
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    notification_id: Uuid,
    order_id: OrderId,
    customer_id: &'a str,
    occasion: &'static str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<&'a str>,
}

impl Webhooks {
    /// Signs with this secret. Without `allow_private` it posts to public addresses by https alone: the URLs come from
    /// customers, and must not lead into our own network.
    pub fn new(secret: Secret, allow_private: bool) -> Result<Self, reqwest::Error> {
        // A receiver that has moved is to say so to whoever placed the order, and must not send us elsewhere.
        let mut client = Client::builder().redirect(Policy::none()).no_proxy();
        if !allow_private {
            client = client.dns_resolver(Arc::new(PublicOnly));
        }
        Ok(Webhooks { client: client.build()?, secret, allow_private })
    }

    /// Posts a notice under this message id, at this moment.
    pub(super) async fn post(&self, order: OrderId, id: Uuid, notice: &Notice, now: Timestamp) -> Result<(), Failure> {
        let url = self.url(notice.to.as_deref().unwrap_or_default())?;
        let body = body(order, id, notice).map_err(|error| Failure::for_good(error.to_string()))?;
        let (id, timestamp) = (id.to_string(), now.0.div_euclid(1_000_000));
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-signature", self.secret.sign(&id, timestamp, &body))
            .header("webhook-timestamp", timestamp)
            .header("webhook-id", id)
            .body(body);
        answer(&request.send().await.map_err(|error| unreachable(&error))?)
    }

    fn url(&self, text: &str) -> Result<Url, Failure> {
        let bad = |why: &str| Failure::for_good(format!("the URL cannot be posted to: {why}"));
        let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_private => {}
            _ => return Err(bad("it must begin with https://")),
        }
        // An address that is written out is not looked up, so the resolver does not see it.
        let is_private = match url.host() {
            None => return Err(bad("it has no host")),
            Some(Host::Domain(_)) => false,
            Some(Host::Ipv4(address)) => !is_public(address.into()),
            Some(Host::Ipv6(address)) => !is_public(address.into()),
        };
        if is_private && !self.allow_private { Err(bad("its address is not public")) } else { Ok(url) }
    }
}

fn body(order: OrderId, id: Uuid, notice: &Notice) -> serde_json::Result<String> {
    let details = &notice.details;
    serde_json::to_string(&Message {
        kind: match notice.occasion {
            Occasion::OrderConfirmed => "order.confirmed",
            Occasion::OrderFailed => "order.failed",
            Occasion::OrderCancelled => "order.cancelled",
            Occasion::PaymentRefunded => "payment.refunded",
        },
        timestamp: Timestamp(notice.recorded_at),
        data: Data {
            notification_id: id,
            order_id: order,
            customer_id: &notice.customer_id,
            occasion: notice.occasion.name(),
            text: &notice.text,
            reason: details.reason.as_deref(),
            code: details.code.as_deref(),
            amount: details.amount,
            currency: details.currency.as_deref(),
        },
    })
}

fn answer(response: &Response) -> Result<(), Failure> {
    let status = response.status();
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::GONE => Err(Failure::for_good("the receiver answered 410 Gone: it wants no more".to_owned())),
        status => {
            let failure = Failure::for_now(format!("the receiver answered {status}"));
            Err(Failure { retry_after: retry_after(response), ..failure })
        }
    }
}

/// `Retry-After` in seconds. A date is not read: the own pauses do as well.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

fn unreachable(error: &reqwest::Error) -> Failure {
    // The last cause says what happened, such as "Connection refused"; the error itself holds the URL, and what may be
    // in it is not for the log.
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Failure::for_now(format!("the receiver cannot be reached: {cause}"))
}

#[cfg(test)]
mod tests;
