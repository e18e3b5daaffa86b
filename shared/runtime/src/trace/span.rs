//! Spans, as values that are recorded when they are over, and their export over OTLP. Names and attributes are those of
//! OpenTelemetry's semantic conventions: <https://opentelemetry.io/docs/specs/semconv/messaging/kafka/>.

use super::Context;
use anyhow::{Context as _, Result};
use contracts::Timestamp;
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use url::Url;

/// How long the last spans may take to be sent when the program ends.
const FLUSH: Duration = Duration::from_secs(2);

/// What a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request is answered.
    Server,
    /// An event is given to the log.
    Producer,
    /// An event is dealt with.
    Consumer,
    /// Something is done outside.
    Client,
}

/// Something that was done, from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Span {
    /// Who did it.
    pub service: &'static str,
    /// What, in few words and without ids.
    pub name: Cow<'static, str>,
    /// What it is about.
    pub kind: Kind,
    /// Its place.
    pub context: Context,
    /// The place that it comes from.
    pub parent: Option<Context>,
    /// When it began.
    pub start: Timestamp,
    /// When it was over.
    pub end: Timestamp,
    /// More of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// What went wrong, if it did.
    pub error: Option<String>,
}

/// Where the spans of this process go: one processor for each of its services.
struct Export {
    endpoint: String,
    /// Traces with a number up to this are sampled.
    bound: u64,
    processors: Mutex<HashMap<&'static str, BatchSpanProcessor>>,
}

static EXPORT: OnceLock<Export> = OnceLock::new();

/// From here on spans are sent to this endpoint, and of the traces that begin here this share is sampled: 1 is all.
#[expect(clippy::float_arithmetic, reason = "a share of a range, once")]
pub fn export_to(endpoint: &Url, share: f64) -> Result<()> {
    let endpoint = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
    // As OpenTelemetry's TraceIdRatioBased: the lower half of the id without its highest bit is below the share.
    let bound = (share.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
    // Made once here, so that what is wrong with it is said at the start.
    exporter(&endpoint)?;
    let _ = EXPORT.set(Export { endpoint, bound, processors: Mutex::default() });
    Ok(())
}

fn exporter(endpoint: &str) -> Result<SpanExporter> {
    let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).with_endpoint(endpoint);
    exporter.build().context("OTEL_EXPORTER_OTLP_ENDPOINT")
}

/// Whether a new trace with this number is to be told of.
pub(super) fn samples(number: u64) -> bool {
    EXPORT.get().is_none_or(|export| number >> 1 < export.bound)
}

/// Whether spans in this place go anywhere.
pub fn is_told(context: &Context) -> bool {
    context.sampled && EXPORT.get().is_some()
}

/// Tells of a span that is over, if it is sampled and anybody is to be told.
pub fn record(span: Span) {
    let Some(export) = EXPORT.get().filter(|_| span.context.sampled) else { return };
    let mut processors = export.processors.lock().unwrap_or_else(PoisonError::into_inner);
    if !processors.contains_key(span.service) {
        // The endpoint was found to be good at the start.
        let Ok(exporter) = exporter(&export.endpoint) else { return };
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(&Resource::builder().with_service_name(span.service).build());
        processors.insert(span.service, processor);
    }
    if let Some(processor) = processors.get(span.service) {
        processor.on_end(data(span));
    }
}

/// Sends what is left.
pub fn flush() {
    let Some(export) = EXPORT.get() else { return };
    let processors = std::mem::take(&mut *export.processors.lock().unwrap_or_else(PoisonError::into_inner));
    for (service, processor) in processors {
        if let Err(error) = processor.shutdown_with_timeout(FLUSH) {
            tracing::warn!(service, %error, "the last spans were not sent");
        }
    }
}

fn data(span: Span) -> SpanData {
    let flags = if span.context.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let place = |context: Context, is_remote| {
        let (trace, id) = (TraceId::from(context.trace), SpanId::from(context.span));
        SpanContext::new(trace, id, flags, is_remote, TraceState::NONE)
    };
    let (span_kind, links) = match span.kind {
        Kind::Server => (SpanKind::Server, None),
        Kind::Producer => (SpanKind::Producer, None),
        // Also a link, as the conventions have it for messages.
        Kind::Consumer => (SpanKind::Consumer, span.parent.map(|parent| Link::new(place(parent, true), vec![], 0))),
        Kind::Client => (SpanKind::Client, None),
    };
    let mut all = SpanLinks::default();
    all.links.extend(links);
    SpanData {
        span_context: place(span.context, false),
        parent_span_id: span.parent.map_or(SpanId::INVALID, |parent| SpanId::from(parent.span)),
        parent_span_is_remote: matches!(span.kind, Kind::Server | Kind::Consumer),
        span_kind,
        name: span.name,
        start_time: moment(span.start),
        end_time: moment(span.end.max(span.start)),
        attributes: span.attributes.into_iter().map(|(name, value)| KeyValue::new(name, value)).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: all,
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("order-system").build(),
    }
}

fn moment(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(at.0).unwrap_or(0))
}
