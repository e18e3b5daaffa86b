//! A steady mix of orders, over HTTP.

use super::fleet::Fleet;
use super::tally::{Accepted, Cancel, Kind, Tally};
use crate::api::Service;
use crate::programs::{INITIAL_STOCK, PRODUCTS};
use anyhow::{Context, Result};
use fastrand::Rng;
use reqwest::Client;
use serde_json::{Number, Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long a request is waited for: longer than order-service waits for its commit.
const PATIENCE: Duration = Duration::from_secs(12);
/// How often a request to cancel is repeated when it has no clear answer.
const CANCEL_ATTEMPTS: usize = 3;

/// The load: orders at a steady rate until it is stopped.
pub(super) struct Load {
    stop: CancellationToken,
    ticking: JoinHandle<()>,
}

/// A client of order-service's replicas, as a simple balancer in front of them would be.
#[derive(Clone)]
pub(super) struct Shop {
    client: Client,
    fleet: Arc<Fleet>,
    tally: Arc<Tally>,
}

/// When an order is called off.
#[derive(Clone, Copy, Debug)]
enum CallOff {
    Never,
    Soon(Duration),
    Confirmed,
}

impl Load {
    /// Begins, with this many orders per second.
    pub(super) fn start(shop: Shop, rate: u64, seed: u64) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let ticking = tokio::spawn(async move {
            let mut rng = Rng::with_seed(seed);
            let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / rate.max(1)));
            let mut requests = JoinSet::new();
            while stopped.run_until_cancelled(ticks.tick()).await.is_some() {
                while requests.try_join_next().is_some() {}
                let (kind, order, total) = any_order(&mut rng);
                let call_off = match rng.u32(0..100) {
                    0..6 => CallOff::Soon(Duration::from_millis(rng.u64(0..500))),
                    6..10 => CallOff::Confirmed,
                    _ => CallOff::Never,
                };
                requests.spawn(shop.clone().trade(kind, order, total, call_off));
            }
            requests.join_all().await;
        });
        Load { stop, ticking }
    }

    /// Places no more orders, and waits for the answers that are out.
    pub(super) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.ticking.await?)
    }
}

fn cents(cents: i64) -> Value {
    let text = format!("{}.{:02}", cents / 100, cents % 100);
    text.parse::<Number>().map_or(Value::Null, Value::Number)
}

/// An order, what it is made to come to, and its total in ten-thousandths.
fn any_order(rng: &mut Rng) -> (Kind, Value, i64) {
    let kind = match rng.u32(0..100) {
        0..8 => Kind::Declined,
        8..16 => Kind::Short,
        16..26 => Kind::TwoLines,
        _ => Kind::Good,
    };
    let customer = if kind == Kind::Declined { "fail-payment".to_owned() } else { format!("c-{}", rng.u32(0..500)) };
    let mut product = rng.i64(1..=PRODUCTS);
    let mut lines = Vec::new();
    let mut total = rng.i64(0..500);
    for n in 0..rng.i64(1..=3) {
        let (quantity, price) = (rng.i64(1..=5), rng.i64(0..10_000));
        let quantity = if kind == Kind::Short && n == 0 { INITIAL_STOCK + quantity } else { quantity };
        lines.push(json!({"productId": format!("P{product}"), "quantity": quantity, "unitPrice": cents(price)}));
        total += quantity * price;
        product = product % PRODUCTS + 1;
    }
    if kind == Kind::TwoLines {
        lines.push(lines[0].clone());
        total *= 2;
    }
    let total = total.max(1);
    (kind, json!({"customerId": customer, "totalAmount": cents(total), "currency": "EUR", "items": lines}), total * 100)
}

impl Shop {
    /// Whose answers go into this tally.
    pub(super) fn new(fleet: &Arc<Fleet>, tally: &Arc<Tally>) -> Result<Self> {
        let client = Client::builder().timeout(PATIENCE).connect_timeout(Duration::from_secs(2)).build()?;
        Ok(Shop { client, fleet: Arc::clone(fleet), tally: Arc::clone(tally) })
    }

    fn url(&self, path: &str) -> Option<String> {
        let url = fastrand::choice(self.fleet.urls(Service::Order))?;
        Some(format!("{url}{path}"))
    }

    async fn trade(self, kind: Kind, order: Value, total: i64, call_off: CallOff) {
        let Some(id) = self.place(kind, &order, total).await else { return };
        match call_off {
            CallOff::Never => return,
            CallOff::Soon(pause) => tokio::time::sleep(pause).await,
            CallOff::Confirmed => {
                if !self.is_confirmed_soon(id).await {
                    return;
                }
            }
        }
        self.cancel(id).await;
    }

    /// Places an order; its id, if it was accepted.
    pub(super) async fn place(&self, kind: Kind, order: &Value, total: i64) -> Option<Uuid> {
        match self.try_place(order).await {
            Ok(Ok(id)) => {
                let accepted = Accepted { kind, total, cancel: Cancel::None };
                self.tally.lock().accepted.insert(id, accepted);
                Some(id)
            }
            Ok(Err(wrong)) => {
                self.tally.lock().wrong.push(wrong);
                None
            }
            Err(error) => {
                let seen = error.to_string();
                *self.tally.lock().unknown.entry(seen).or_default() += 1;
                None
            }
        }
    }

    /// The id of an accepted order; a wrong answer; or an error, where it is not known what happened.
    async fn try_place(&self, order: &Value) -> Result<Result<Uuid, String>> {
        let url = self.url("/api/orders").context("no connection")?;
        let reply = match self.client.post(url).json(order).send().await {
            Ok(reply) => reply,
            Err(error) if error.is_connect() => anyhow::bail!("no connection"),
            Err(error) if error.is_timeout() => anyhow::bail!("no answer in time"),
            Err(_) => anyhow::bail!("cut off"),
        };
        let status = reply.status().as_u16();
        let retry_after = reply.headers().contains_key("retry-after");
        let body: Value = reply.json().await.map_err(|_| anyhow::anyhow!("cut off"))?;
        Ok(match status {
            202 => {
                body["orderId"].as_str().and_then(|id| id.parse().ok()).ok_or(format!("202 without orderId: {body}"))
            }
            503 if retry_after => anyhow::bail!("503"),
            _ => Err(format!("{order} was answered {status} (Retry-After: {retry_after}): {body}")),
        })
    }

    async fn is_confirmed_soon(&self, id: Uuid) -> bool {
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let Some(url) = self.url(&format!("/api/orders/{id}")) else { continue };
            let Ok(reply) = self.client.get(url).send().await else { continue };
            let order: Value = reply.json().await.unwrap_or_default();
            match order["status"].as_str() {
                Some("CONFIRMED") => return true,
                Some("FAILED" | "CANCELLED") => return false,
                _ => {}
            }
        }
        false
    }

    /// Calls an order off, and notes the answer.
    pub(super) async fn cancel(&self, id: Uuid) {
        let mut answer = Cancel::Unknown;
        for _ in 0..CANCEL_ATTEMPTS {
            let Some(url) = self.url(&format!("/api/orders/{id}/cancel")) else { continue };
            let status = self.client.post(url).send().await.map(|reply| reply.status().as_u16());
            match status {
                Ok(202) => answer = Cancel::Accepted,
                Ok(409) => answer = Cancel::Refused,
                Ok(503) | Err(_) => {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    continue;
                }
                Ok(status) => self.tally.lock().wrong.push(format!("cancel of {id} was answered {status}")),
            }
            break;
        }
        if let Some(accepted) = self.tally.lock().accepted.get_mut(&id) {
            accepted.cancel = answer;
        }
    }
}
