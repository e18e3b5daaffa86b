//! A client of the four services.

use anyhow::{Context, Result, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use strum::{IntoStaticStr, VariantArray};

/// How long an order may take to become final in a test, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The four services, over HTTP.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    urls: Vec<String>,
}

/// Which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, VariantArray, IntoStaticStr)]
pub enum Service {
    /// order-service
    #[strum(serialize = "order-service")]
    Order,
    /// payment-service
    #[strum(serialize = "payment-service")]
    Payment,
    /// inventory-service
    #[strum(serialize = "inventory-service")]
    Inventory,
    /// notification-service
    #[strum(serialize = "notification-service")]
    Notification,
}

impl Service {
    /// Its name, which is its consumer group.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The published example order.
pub fn example() -> Value {
    json!({
        "customerId": "cust-1",
        "totalAmount": 99.99,
        "currency": "USD",
        "items": [{"productId": "P1", "quantity": 2, "unitPrice": 49.99}]
    })
}

/// An order of so many of one product.
pub fn order_of(product: &str, quantity: i64) -> Value {
    let line = json!({"productId": product, "quantity": quantity, "unitPrice": 0});
    json!({"customerId": "cust-1", "totalAmount": 10, "currency": "EUR", "items": [line]})
}

impl Api {
    /// At these addresses: order, payment, inventory, notification.
    pub fn new(urls: Vec<String>) -> Self {
        Api { client: Client::new(), urls }
    }

    /// A request as it is, for tests of the edge.
    pub fn request(&self, method: Method, service: Service, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.urls[service as usize]))
    }

    /// GET of JSON, whatever the status.
    pub async fn get(&self, service: Service, path: &str) -> Result<Value> {
        Ok(self.request(Method::GET, service, path).send().await?.json().await?)
    }

    /// Places an order; the reply as it is.
    pub async fn post_order(&self, order: &Value) -> Result<Response> {
        Ok(self.request(Method::POST, Service::Order, "/api/orders").json(order).send().await?)
    }

    /// Places an order, and returns its id.
    pub async fn place(&self, order: &Value) -> Result<String> {
        let reply = self.post_order(order).await?;
        let status = reply.status();
        let reply: Value = reply.json().await?;
        ensure!(status == 202, "{order} was answered {status}: {reply}");
        Ok(reply["orderId"].as_str().context("a reply without orderId")?.to_owned())
    }

    /// Waits until this holds of an order, and returns the order.
    pub async fn until(&self, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let started = Instant::now();
        loop {
            // While a service is being started again, there is no answer.
            let now = self.get(Service::Order, &format!("/api/orders/{id}")).await.unwrap_or_default();
            if holds(&now) {
                return Ok(now);
            }
            ensure!(started.elapsed() < PATIENCE, "after {PATIENCE:?} order {id} is not {what}: {now}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until an order is final, and returns it.
    pub async fn until_final(&self, id: &str) -> Result<Value> {
        let is_final = |order: &Value| order["status"].as_str().is_some_and(|status| status != "PENDING");
        self.until(id, "final", is_final).await
    }

    /// Waits until what a service says at this path has this value at this JSON pointer.
    pub async fn until_says(&self, service: Service, path: &str, pointer: &str, value: &Value) -> Result<Value> {
        let started = Instant::now();
        loop {
            let now = self.get(service, path).await.unwrap_or_default();
            if now.pointer(pointer) == Some(value) {
                return Ok(now);
            }
            ensure!(started.elapsed() < PATIENCE, "after {PATIENCE:?} {path} does not say {pointer} = {value}: {now}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until a service can do its work.
    pub async fn until_ready(&self, service: Service) -> Result<()> {
        self.until_says(service, "/health/ready", "/status", &json!("UP")).await?;
        Ok(())
    }

    /// Waits until all of these orders are final, and counts them by status.
    pub async fn until_all_final(&self, ids: &[String]) -> Result<std::collections::BTreeMap<String, usize>> {
        let orders: Vec<Value> =
            stream::iter(ids).map(|id| self.until_final(id)).buffer_unordered(32).try_collect().await?;
        let mut statuses = std::collections::BTreeMap::new();
        for order in orders {
            *statuses.entry(order["status"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        Ok(statuses)
    }
}
