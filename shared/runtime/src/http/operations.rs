//! Health and metrics: the routes for those who run a service.

use crate::health::{Health, Status};
use metrics_exporter_prometheus::PrometheusHandle;
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use std::collections::HashMap;
use std::sync::Arc;

/// A service's routes for those who run it.
pub struct Operations {
    /// The service's condition.
    pub health: Arc<Health>,
    /// Where the metrics are, if they are collected.
    pub metrics: Option<PrometheusHandle>,
}

/// Up, or up in part, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Condition {
    /// All is well.
    Up,
    /// It works, but not all of it is well.
    Degraded,
    /// It does not work now.
    Down,
}

/// A service's condition.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub(super) struct HealthReport {
    /// Up, or up in part, or not.
    pub status: Condition,
    /// By part: `ok`, or what is wrong.
    pub checks: HashMap<String, String>,
}

/// The answer to a question for health.
#[derive(ApiResponse)]
pub(super) enum HealthResponse {
    /// It works.
    #[oai(status = 200)]
    Well(Json<HealthReport>),
    /// It does not work now; `checks` says why.
    #[oai(status = 503)]
    Unwell(Json<HealthReport>),
}

impl HealthResponse {
    /// Of a process that runs.
    pub(super) fn alive() -> Self {
        HealthResponse::Well(Json(HealthReport { status: Condition::Up, checks: HashMap::new() }))
    }
}

#[OpenApi]
impl Operations {
    /// Whether the process runs.
    #[oai(path = "/health/live", method = "get", tag = "Tag::Service")]
    async fn live(&self) -> HealthResponse {
        HealthResponse::alive()
    }

    /// Whether the service can do its work, and if not, why.
    #[oai(path = "/health/ready", method = "get", tag = "Tag::Service")]
    async fn ready(&self) -> HealthResponse {
        let status = match self.health.status() {
            Status::Up => Condition::Up,
            Status::Degraded => Condition::Degraded,
            Status::Down => Condition::Down,
        };
        let report = self.health.report();
        let checks = report
            .into_iter()
            .map(|(part, condition)| (part.name().to_owned(), condition.err().unwrap_or_else(|| "ok".into())))
            .collect();
        let report = Json(HealthReport { status, checks });
        match status {
            Condition::Up | Condition::Degraded => HealthResponse::Well(report),
            Condition::Down => HealthResponse::Unwell(report),
        }
    }

    /// Metrics in Prometheus' text format.
    #[oai(path = "/metrics", method = "get", tag = "Tag::Service")]
    async fn metrics(&self) -> PlainText<String> {
        PlainText(self.metrics.as_ref().map(PrometheusHandle::render).unwrap_or_default())
    }
}

/// The sections of the documents that all services share.
#[derive(poem_openapi::Tags)]
pub(super) enum Tag {
    /// For those who run the service.
    Service,
}
