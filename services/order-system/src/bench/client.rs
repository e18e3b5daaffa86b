//! What the bench asks of the system.

use super::Products;
use crate::config::default_stock;
use anyhow::{Context, Result, bail};
use reqwest::{Response, StatusCode, Url, header};
use serde::Deserialize;
use serde_json::json;
use std::fmt::Write;
use std::time::Duration;

/// The stock of a product below which it is topped up, and by how much.
const STOCK: i64 = 1_000_000;
/// Asks for an answer once the order is final, by RFC 7240.
const WAIT: (&str, &str) = ("prefer", "wait=30");

/// Which products the orders are for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    pub(super) products: Products,
    pub(super) lines: u64,
}

/// A client of the system.
pub(super) struct Client {
    http: reqwest::Client,
    orders: Url,
    stock: Url,
    products: Vec<String>,
    mix: Mix,
}

/// What became of a POST.
pub(super) enum Placed {
    /// The order was accepted, and stands like this.
    Accepted(Standing),
    /// The system said to come back.
    Refused(Duration),
}

/// How an order stands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Standing {
    pub(super) order_id: String,
    pub(super) status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stock {
    product_id: String,
    available: i64,
}

#[derive(Deserialize)]
struct Stocks {
    stock: Vec<Stock>,
}

impl Standing {
    pub(super) fn is_final(&self) -> bool {
        self.status != "PENDING"
    }
}

impl Client {
    /// Of the system with order-service at `url`.
    pub(super) fn new(base: &Url, inventory: Option<Url>, mix: Mix) -> Result<Self> {
        let inventory = match inventory {
            Some(inventory) => inventory,
            None => {
                let mut inventory = base.clone();
                let port = base.port_or_known_default().and_then(|port| port.checked_add(2));
                inventory.set_port(port).ok().context("--url has no port")?;
                inventory
            }
        };
        Ok(Client {
            http: reqwest::Client::builder().pool_max_idle_per_host(100_000).build()?,
            orders: base.join("/api/orders")?,
            stock: inventory.join("/api/stock")?,
            products: default_stock().into_iter().map(|(product, _)| product).collect(),
            mix,
        })
    }

    /// Places order number `n`, and waits for its end if so `wanted`.
    pub(super) async fn place(&self, n: u64, to_its_end: bool) -> Result<Placed> {
        let mut request = self.http.post(self.orders.clone()).header(header::CONTENT_TYPE, "application/json");
        if to_its_end {
            request = request.header(WAIT.0, WAIT.1);
        }
        let reply = request.body(self.order(n)).send().await.context("POST /api/orders")?;
        match reply.status() {
            StatusCode::OK | StatusCode::ACCEPTED => Ok(Placed::Accepted(reply.json().await?)),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Ok(Placed::Refused(retry_after(&reply))),
            status => bail!("POST /api/orders answered {status}: {}", reply.text().await.unwrap_or_default()),
        }
    }

    /// Reads an order, at its end if the system waits for that.
    pub(super) async fn read(&self, order: &str) -> Result<Standing> {
        let order = format!("{}/{order}", self.orders);
        loop {
            let reply = self.http.get(&order).header(WAIT.0, WAIT.1).send().await?;
            if !matches!(reply.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
                return reply.error_for_status()?.json().await.with_context(|| format!("GET {order}"));
            }
            tokio::time::sleep(retry_after(&reply)).await;
        }
    }

    /// Sees that there is enough of every product.
    pub(super) async fn top_up(&self) -> Result<()> {
        let hint = || format!("the stock at {}; --inventory-url says where inventory-service is", self.stock);
        let found: Stocks =
            self.http.get(self.stock.clone()).send().await.with_context(hint)?.json().await.with_context(hint)?;
        for product in &self.products {
            let there = found.stock.iter().find(|stock| stock.product_id == *product);
            let url = format!("{}/{product}", self.stock);
            let change = match there {
                Some(stock) if stock.available >= STOCK / 2 => continue,
                Some(_) => {
                    let url = format!("{url}/adjustments");
                    self.http.post(url).json(&json!({"delta": STOCK, "reason": "for order-system bench"}))
                }
                None => self.http.put(url).json(&json!({"onHand": STOCK})),
            };
            change.send().await?.error_for_status().with_context(|| format!("more stock of {product}"))?;
        }
        Ok(())
    }

    fn order(&self, n: u64) -> String {
        let Mix { products, lines } = self.mix;
        let count = self.products.len();
        let mut items = String::new();
        for line in 0..lines {
            let place = match (products, line) {
                (Products::Hot, 0) => 0,
                (Products::Hot | Products::Spread, _) => usize::try_from(n + line).unwrap_or(0) % count,
            };
            let (product, comma) = (&self.products[place], if line == 0 { "" } else { "," });
            // Writing into a string cannot fail.
            let _ = write!(items, r#"{comma}{{"productId":"{product}","quantity":1,"unitPrice":10}}"#);
        }
        let (customer, total) = (n % 1000, lines * 10);
        format!(r#"{{"customerId":"bench-{customer}","totalAmount":{total},"currency":"USD","items":[{items}]}}"#)
    }
}

fn retry_after(reply: &Response) -> Duration {
    let seconds = reply.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1))
}
