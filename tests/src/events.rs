//! A live stream of order-service, read event by event.

use anyhow::{Context, Result, ensure};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use std::time::Duration;

/// A stream of events, as it is read.
pub struct Events(Response, String);

impl Events {
    /// The answer to this request.
    pub async fn of(request: RequestBuilder) -> Result<Self> {
        let reply = request.send().await?;
        ensure!(reply.headers()["content-type"] == "text/event-stream", "{reply:?}");
        Ok(Events(reply, String::new()))
    }

    /// The next event: its id and data. Comments, which keep the connection alive, are left out.
    pub async fn next(&mut self) -> Result<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.1.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.1 = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if let (Some(id), Some(data)) = (field("id:"), field("data:")) {
                    ensure!(field("event:") == Some("order"), "{event}");
                    return Ok((id.to_owned(), serde_json::from_str(data)?));
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.0.chunk()).await??;
            self.1.push_str(std::str::from_utf8(&chunk.context("the stream has ended")?)?);
        }
    }
}
