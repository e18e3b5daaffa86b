//! One trace from the request to the notice, over four services, the log and a restart, as an OTLP backend gets it.

use super::running::{PATIENCE, Running, order, program, signal, until_confirmed};
use anyhow::{Context, Result, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: &str = "00f067aa0ba902b7";

/// Every span of the trace that the backend got, with the service that sent it.
async fn spans(backend: &MockServer) -> Result<Vec<(String, Span)>> {
    let mut spans = Vec::new();
    for request in backend.received_requests().await.context("requests are recorded")? {
        if request.url.path() != "/v1/traces" {
            continue;
        }
        for resource in ExportTraceServiceRequest::decode(request.body.as_slice())?.resource_spans {
            let attributes = resource.resource.context("a resource")?.attributes;
            let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
            let service = match name.and_then(|name| name.value).and_then(|value| value.value) {
                Some(Value::StringValue(name)) => name,
                other => anyhow::bail!("no service: {other:?}"),
            };
            let all = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(all.filter(|span| hex(&span.trace_id) == TRACE).map(|span| (service.clone(), span)));
        }
    }
    Ok(spans)
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn until_told_of(backend: &MockServer, service: &str, name: &str) -> Result<()> {
    let started = Instant::now();
    while !spans(backend).await?.iter().any(|(by, span)| by == service && span.name == name) {
        ensure!(started.elapsed() < PATIENCE, "{service} does not tell of {name}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn start(data_dir: &Path, backend: &MockServer, provider: Option<String>) -> Result<Running> {
    let mut command = program(data_dir);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.uri()).env("OTEL_BSP_SCHEDULE_DELAY", "50");
    if let Some(provider) = provider {
        command.env("PAYMENT_PROVIDER_URL", provider);
    }
    command.stderr(std::process::Stdio::inherit());
    Running::of(command)
}

#[tokio::test]
async fn one_trace_leads_from_the_request_to_the_notice_over_a_kill() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let backend = MockServer::start().await;
    Mock::given(method("POST")).and(path("/v1/traces")).respond_with(ResponseTemplate::new(200)).mount(&backend).await;

    // The provider is away, so the payment waits; then everything is killed.
    let mut running = start(directory.path(), &backend, Some(format!("{}/away", backend.uri())))?;
    let request = reqwest::Client::new().post(format!("{}/api/orders", running.url)).json(&order());
    let reply = request.header("traceparent", format!("00-{TRACE}-{CLIENT}-01")).send().await?;
    let traceparent = reply.headers()["traceparent"].to_str()?.to_owned();
    ensure!(traceparent.contains(TRACE) && !traceparent.contains(CLIENT), "{traceparent}");
    let reply: serde_json::Value = reply.json().await?;
    let id = reply["orderId"].as_str().context("an order")?.to_owned();
    until_told_of(&backend, "payment-service", "process order.created").await?;
    until_told_of(&backend, "order-service", "POST /api/orders").await?;
    until_told_of(&backend, "order-service", "send order.created").await?;
    running.kill()?;

    // Started again with a provider that works, it ends well.
    let mut running = start(directory.path(), &backend, None)?;
    until_confirmed(&running, &[id]).await?;
    until_told_of(&backend, "notification-service", "notify by log").await?;
    signal(&running, "-TERM")?;
    ensure!(running.child.wait()?.success());

    let spans = spans(&backend).await?;
    let told: BTreeSet<(&str, &str)> = spans.iter().map(|(by, span)| (by.as_str(), span.name.as_str())).collect();
    for expected in [
        ("order-service", "POST /api/orders"),
        ("order-service", "send order.created"),
        ("payment-service", "process order.created"),
        ("inventory-service", "process order.created"),
        ("payment-service", "charge"),
        ("payment-service", "send payment.confirmed"),
        ("inventory-service", "process payment.confirmed"),
        ("order-service", "process payment.confirmed"),
        ("inventory-service", "send inventory.reserved"),
        ("order-service", "process inventory.reserved"),
        ("order-service", "send order.confirmed"),
        ("notification-service", "process order.confirmed"),
        ("notification-service", "notify by log"),
    ] {
        ensure!(told.contains(&expected), "{expected:?} is not among {told:#?}");
    }
    // Unbroken: every span comes of another one, and the first one of the client's.
    let ids: BTreeSet<String> = spans.iter().map(|(_, span)| hex(&span.span_id)).collect();
    for (by, span) in &spans {
        let parent = hex(&span.parent_span_id);
        ensure!(parent == CLIENT || ids.contains(&parent), "{by} {}: nobody told of its parent {parent}", span.name);
    }
    Ok(())
}
