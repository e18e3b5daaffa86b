//! The dashboard: its page, what moves it, and a part that is ended and comes back.

use anyhow::{Context, Result, ensure};
use e2e::api::{Service, example};
use e2e::embedded::Embedded;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The events of a stream, one after the other.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(system: &Embedded) -> Result<Self> {
        let response = system.api.request(Method::GET, Service::Order, "/dashboard/events").send().await?;
        Ok(Stream { response: response.error_for_status()?, text: String::new() })
    }

    async fn next(&mut self) -> Result<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let of = |line: &str| line.strip_prefix(name).map(|rest| rest.trim_start().to_owned());
                    event.lines().find_map(of)
                };
                let found = field("event:").zip(field("data:"));
                self.text = rest.to_owned();
                if let Some((name, data)) = found {
                    return Ok((name, serde_json::from_str(&data)?));
                }
            } else {
                let chunk = self.response.chunk().await?.context("the stream ended")?;
                self.text.push_str(std::str::from_utf8(&chunk)?);
            }
        }
    }

    /// The next snapshot of this service for which this holds.
    async fn until(&mut self, service: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        loop {
            let (name, snapshot) = self.next().await?;
            if name == "snapshot" && snapshot["service"] == service && holds(&snapshot) {
                return Ok(snapshot);
            }
        }
    }
}

fn part<'a>(snapshot: &'a Value, kind: &str) -> Option<&'a Value> {
    snapshot["parts"].as_array()?.iter().find(|part| part["kind"] == kind)
}

#[tokio::test]
async fn the_page_is_whole_and_asks_nobody_else() -> Result<()> {
    let system = Embedded::start().await?;
    for path in ["/dashboard", "/dashboard/orders/0199c0de-0000-7000-8000-000000000000"] {
        let page = system.api.request(Method::GET, Service::Payment, path).send().await?.error_for_status()?;
        ensure!(page.headers()[CONTENT_TYPE] == "text/html; charset=utf-8");
        ensure!(page.headers()["content-security-policy"].to_str()?.starts_with("default-src 'self'"));
        let page = page.text().await?;
        let named = page.split('"').filter(|text| text.starts_with("/dashboard/assets/"));
        let named: BTreeSet<&str> = named.collect();
        ensure!(!named.is_empty(), "a page without files: {page}");
        for file in named {
            let file = system.api.request(Method::GET, Service::Payment, file).send().await?.error_for_status()?;
            ensure!(!file.text().await?.is_empty());
        }
    }
    let missing = system.api.request(Method::GET, Service::Payment, "/dashboard/assets/..%2Fno.js").send().await?;
    ensure!(missing.status() == 404);
    system.finish().await
}

#[tokio::test]
async fn every_service_is_seen_on_every_page() -> Result<()> {
    let system = Embedded::start().await?;
    let mut stream = Stream::open(&system).await?;
    let (name, hello) = stream.next().await?;
    ensure!(name == "hello" && hello["service"] == "order-service" && hello["whole"] == true, "{hello}");
    let replica = hello["replica"].clone();
    let mut seen = BTreeSet::new();
    while seen.len() < 4 {
        let (_, snapshot) = stream.next().await?;
        ensure!(snapshot["status"] == "UP" && snapshot["replica"] == replica, "{snapshot}");
        ensure!(snapshot["checks"]["database"] == "ok", "{snapshot}");
        ensure!(part(&snapshot, "journal").is_some_and(|part| part["state"] == "RUNNING"), "{snapshot}");
        seen.insert(snapshot["service"].as_str().unwrap_or_default().to_owned());
    }
    drop(stream);
    system.finish().await
}

#[tokio::test]
async fn a_part_that_is_ended_is_seen_to_come_back_and_orders_go_on() -> Result<()> {
    let system = Embedded::start().await?;
    let mut stream = Stream::open(&system).await?;
    let snapshot = stream.until("order-service", |_| true).await?;
    let parts = snapshot["parts"].as_array().context("parts")?;
    let kinds: Vec<&str> = parts.iter().filter_map(|part| part["kind"].as_str()).collect();
    ensure!(kinds.len() > 10, "more than may fail within a minute: {kinds:?}");
    for kind in kinds.into_iter().filter(|kind| *kind != "http") {
        let id = system.api.place(&example()).await?;
        let path = format!("/api/parts/{kind}/restart");
        let request = system.api.request(Method::POST, Service::Order, &path).json(&json!({"reason": "a test"}));
        let reply = request.send().await?;
        ensure!(reply.status() == 202, "{kind}: {}", reply.text().await?);
        let is_back = |part: &Value| part["restarts"] == 1 && part["state"] == "RUNNING";
        let snapshot = stream.until("order-service", |now| part(now, kind).is_some_and(is_back)).await?;
        let why = part(&snapshot, kind).context("a part")?["lastError"].as_str().unwrap_or_default().to_owned();
        ensure!(!why.is_empty(), "{kind} ended for no reason");
        ensure!(system.api.until_final(&id).await?["status"] == "CONFIRMED");
    }
    let audit = system.api.get(Service::Order, "/api/audit?subject=part/journal").await?;
    ensure!(audit["entries"][0]["action"] == "part.restart", "{audit}");

    let unknown = system.api.request(Method::POST, Service::Order, "/api/parts/engine/restart");
    ensure!(unknown.json(&json!({"reason": "a test"})).send().await?.status() == 404);
    let silent = system.api.request(Method::POST, Service::Order, "/api/parts/journal/restart");
    ensure!(silent.json(&json!({"reason": " "})).send().await?.status() == 422);

    // The part that answers cannot be asked.
    let http = system.api.request(Method::POST, Service::Order, "/api/parts/http/restart");
    ensure!(http.json(&json!({"reason": "a test"})).send().await?.status() == 409);
    drop(stream);
    system.finish().await
}
