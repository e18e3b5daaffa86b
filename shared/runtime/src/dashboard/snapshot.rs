//! How a service is at one moment.

use super::series::{Metrics, of_service};
use crate::actors::roster::Entry;
use crate::health::{Health, Part};
use contracts::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

/// How a service is at one moment, as it goes over the topic and to the page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot<'a> {
    service: &'a str,
    replica: &'a str,
    version: &'a str,
    url: &'a str,
    at: String,
    up_seconds: u64,
    status: &'static str,
    /// `ok`, or what is wrong.
    checks: BTreeMap<&'static str, String>,
    parts: Vec<PartView>,
    metrics: Metrics<'a>,
}

/// One part of the supervision tree.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PartView {
    kind: &'static str,
    state: &'static str,
    restarts: u64,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

/// What does not change while a service runs.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// The service.
    pub service: &'static str,
    /// Which of its processes.
    pub replica: String,
    /// Where its pages are.
    pub url: String,
}

/// This process, over all computers.
pub fn process() -> String {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let host = hostname::get().map(|name| name.to_string_lossy().into_owned());
        format!("{}-{}", host.unwrap_or_else(|_| "localhost".into()), std::process::id())
    });
    NAME.clone()
}

impl<'a> Snapshot<'a> {
    /// Of a service that has been up for so long. `text` is the process' metrics.
    pub(super) fn of(
        identity: &'a Identity,
        (now, up): (Timestamp, Duration),
        health: &Health,
        parts: Vec<Entry>,
        text: &'a str,
    ) -> Self {
        let condition = |(part, condition): (Part, Result<(), String>)| {
            (part.name(), condition.err().unwrap_or_else(|| "ok".to_owned()))
        };
        Snapshot {
            service: identity.service,
            replica: &identity.replica,
            version: env!("CARGO_PKG_VERSION"),
            url: &identity.url,
            at: now.to_string(),
            up_seconds: up.as_secs(),
            status: health.status().into(),
            checks: health.report().into_iter().map(condition).collect(),
            parts: parts.into_iter().map(|part| view(part, now)).collect(),
            metrics: of_service(text, identity.service),
        }
    }
}

fn view(part: Entry, now: Timestamp) -> PartView {
    let millis = i64::try_from(part.since.elapsed().as_millis()).unwrap_or(0);
    PartView {
        kind: part.kind,
        state: part.state.into(),
        restarts: part.restarts,
        since: now.plus_millis(-millis).to_string(),
        last_error: part.last_error,
    }
}
