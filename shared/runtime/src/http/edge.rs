//! What stands before every route: a correlation id in and out, every error a problem, every request measured.

use super::Dashboard;
use super::access::{Access, Document};
use super::problem::{FieldFault, Problem, Refusal};
use super::text::{CorrelationForm, Form, is_correlation_id};
use crate::clock::{Clock, SystemClock};
use crate::program::Ports;
use crate::trace::Context;
use crate::trace::span::{self, Kind, Span};
use contracts::Timestamp;
use poem::endpoint::{BoxEndpoint, make_sync};
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode};
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response, Route, get};
use poem_openapi::error::{ParseParamError, ParsePathError};
use poem_openapi::{OpenApi, OpenApiService, Webhook};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use tracing::Instrument;
use uuid::Uuid;

/// Ties together all that comes of one request. The caller's own is kept; without one the request gets one here.
pub const CORRELATION_ID: &str = "x-correlation-id";

/// W3C trace context.
const TRACEPARENT: &str = "traceparent";

/// Requests that are answered at a time; more are told to come back.
const WINDOW: usize = 4_000;

/// A service's routes, documents, Swagger UI and dashboard behind the edge.
pub fn edge<T: OpenApi + 'static, W: Webhook + 'static>(
    service: &'static str,
    api: OpenApiService<T, W>,
    ports: &Ports,
) -> BoxEndpoint<'static> {
    let dashboard = Dashboard { service, whole: ports.whole, board: Arc::clone(&ports.board) };
    let dashboard = Route::new().nest("/dashboard", dashboard.routes());
    bare_edge(service, api, Arc::clone(&ports.access), dashboard)
}

/// Routes, documents and Swagger UI behind the edge, beside other routes.
pub fn bare_edge<T: OpenApi + 'static, W: Webhook + 'static>(
    service: &'static str,
    api: OpenApiService<T, W>,
    access: Arc<Access>,
    beside: Route,
) -> BoxEndpoint<'static> {
    let Document { json, yaml, swagger_ui } = Document::of(&api, &access);
    let gate = Arc::new(Gate { service, routes: Routes::of(&json), window: Semaphore::new(WINDOW), access });
    beside
        .nest("/", api)
        .nest("/docs", Route::new().at("/", get(page("text/html; charset=utf-8", swagger_ui))))
        .at("/openapi.json", get(page("application/json", json)))
        .at("/openapi.yaml", get(page("application/x-yaml", yaml)))
        .around(move |endpoint, request| {
            let gate = Arc::clone(&gate);
            async move { Ok(gate.answer(endpoint, request).await) }
        })
        .boxed()
}

/// What every request passes.
struct Gate {
    service: &'static str,
    routes: Routes,
    window: Semaphore,
    access: Arc<Access>,
}

fn page(content_type: &'static str, text: String) -> impl Endpoint {
    make_sync(move |_| Response::builder().content_type(content_type).body(text.clone()))
}

impl Gate {
    async fn answer(&self, endpoint: impl Endpoint, mut request: Request) -> Response {
        let started = Instant::now();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let mut response = match correlation_id(request.headers()) {
            Err(problem) => respond(&Problem { instance: Some(path.clone()), ..*problem }),
            Ok(correlation_id) => {
                request.headers_mut().insert(CORRELATION_ID, correlation_id.clone());
                let (parent, context) = begin_span(&mut request);
                let start = SystemClock.now();
                let span = tracing::info_span!(
                    "request",
                    service = self.service,
                    correlation_id = correlation_id.to_str().unwrap_or_default(),
                    trace_id = context.trace_id()
                );
                let response = match readable(request.headers()) {
                    Err(problem) => respond(&problem),
                    Ok(()) => self.pass(endpoint, request, &method, &path).instrument(span).await,
                };
                let mut response = placed(response, &path, &context).await;
                self.tell(&method, &path, (parent, context), start, &response);
                response.headers_mut().insert(TRACEPARENT, header(&context));
                // The reply to a repeated request has that of the first one.
                response.headers_mut().entry(CORRELATION_ID).or_insert(correlation_id);
                response
            }
        };
        let template = self.routes.template(&path);
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert("allow", self.routes.allow(&path));
        }
        metrics::histogram!(
            "http_request_duration_seconds",
            "service" => self.service,
            "method" => known_method(&method),
            "route" => template.unwrap_or("other").to_owned(),
            "status" => response.status().as_u16().to_string(),
        )
        .record(started.elapsed().as_secs_f64());
        response
    }

    /// From the request to its reply. Who watches the service is not told of.
    fn tell(&self, method: &Method, path: &str, place: (Option<Context>, Context), start: Timestamp, reply: &Response) {
        let (parent, context) = place;
        if !path.starts_with("/api/") || !span::is_told(&context) {
            return;
        }
        let (method, status) = (known_method(method), reply.status());
        let route = self.routes.template(path).unwrap_or("other").to_owned();
        span::record(Span {
            service: self.service,
            name: format!("{method} {route}").into(),
            kind: Kind::Server,
            context,
            parent,
            start,
            end: SystemClock.now(),
            attributes: vec![
                ("http.request.method", method.into()),
                ("http.route", route.into()),
                ("url.path", path.to_owned().into()),
                ("http.response.status_code", i64::from(status.as_u16()).into()),
            ],
            error: status.is_server_error().then(|| status.to_string()),
        });
    }

    /// To the route, if there is room and the caller may.
    async fn pass(&self, endpoint: impl Endpoint, mut request: Request, method: &Method, path: &str) -> Response {
        let place = self.window.try_acquire();
        // Who runs the service is answered also when nobody else is.
        if place.is_err() && path.starts_with("/api/") {
            return Refusal::unavailable("too many requests are being answered; nothing was done, try again")
                .into_response();
        }
        let sender = self.access.sender(&request);
        match self.access.admit(method, path, sender).await {
            Ok(caller) => request.set_data(caller),
            Err(refusal) => return refusal.into_response(),
        };
        match endpoint.call(request).await {
            Ok(response) => response.into_response(),
            Err(error) => refused(error, self.routes.template(path)),
        }
    }
}

/// The request's place in its trace, which the routes see in place of the caller's, and the caller's if it has one.
fn begin_span(request: &mut Request) -> (Option<Context>, Context) {
    let parent = request.header(TRACEPARENT).and_then(Context::read);
    let context = parent.map_or_else(Context::fresh, |parent| Context::child_of(Some(parent), Uuid::new_v4()));
    request.headers_mut().insert(TRACEPARENT, header(&context));
    (parent, context)
}

fn header(context: &Context) -> HeaderValue {
    HeaderValue::from_str(&context.to_string()).expect("a trace context is ASCII")
}

/// What a caller relies on is refused if it cannot be read: it would count as not sent.
fn readable(headers: &HeaderMap) -> Result<(), Box<Problem>> {
    let unreadable = |name: &str| headers.get_all(name).iter().any(|value| value.to_str().is_err());
    let Some(name) = ["Idempotency-Key", "If-Match"].into_iter().find(|name| unreadable(name)) else {
        return Ok(());
    };
    let detail = "must be visible ASCII characters".to_owned();
    let problem = Problem::new(StatusCode::BAD_REQUEST, format!("the header {name} {detail}"));
    Err(problem.blaming(name, FieldFault::Invalid, detail))
}

fn correlation_id(headers: &HeaderMap) -> Result<HeaderValue, Box<Problem>> {
    let Some(own) = headers.get(CORRELATION_ID).filter(|own| !own.is_empty()) else {
        let fresh = Uuid::new_v4().to_string();
        return Ok(HeaderValue::from_str(&fresh).expect("a UUID is a header value"));
    };
    if own.to_str().is_ok_and(is_correlation_id) {
        return Ok(own.clone());
    }
    let detail = format!("must be 1 to {} visible ASCII characters", CorrelationForm::LONGEST);
    let problem = Problem::new(StatusCode::BAD_REQUEST, format!("the header X-Correlation-Id {detail}"));
    Err(problem.blaming("X-Correlation-Id", FieldFault::Invalid, detail))
}

/// A problem with where it came up, and in which trace.
async fn placed(mut response: Response, path: &str, context: &Context) -> Response {
    if response.content_type() == Some(Problem::CONTENT_TYPE) {
        let body = response.take_body().into_vec().await.unwrap_or_default();
        let body = match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => {
                let (instance, trace_id) = (Some(path.to_owned()), Some(context.trace_id()));
                written(&Problem { instance, trace_id, ..problem })
            }
            Err(_) => body,
        };
        response.set_body(body);
    }
    response
}

/// An error as a problem. What a handler refused is one already.
fn refused(error: poem::Error, template: Option<&str>) -> Response {
    if error.is_from_response() {
        return error.into_response();
    }
    let status = error.status();
    let named = error
        .downcast_ref::<ParseParamError>()
        .map(|error| (error.name, &error.reason))
        .or_else(|| error.downcast_ref::<ParsePathError>().map(|error| (error.name, &error.reason)));
    let problem = match (status, named) {
        (_, Some((name, reason))) => {
            // poem-openapi numbers the parameters of a path.
            let number = name.strip_prefix("param").and_then(|number| number.parse::<usize>().ok());
            let in_path = template.into_iter().flat_map(|path| path.split(['{', '}']).skip(1).step_by(2));
            let name = number.and_then(|number| in_path.into_iter().nth(number)).unwrap_or(name);
            let detail = reason.replace("failed to parse \"string_uuid\"", "not a UUID");
            // It could be read, and is beyond what the document allows.
            let (status, fault) = match detail.contains("verification failed") {
                true => (StatusCode::UNPROCESSABLE_ENTITY, FieldFault::OutOfRange),
                false => (status, FieldFault::Invalid),
            };
            Problem::new(status, format!("the parameter {name} cannot be read: {detail}")).blaming(name, fault, detail)
        }
        (StatusCode::NOT_FOUND, None) => {
            Problem::new(status, "there is nothing at this path; /docs shows what there is")
        }
        (StatusCode::METHOD_NOT_ALLOWED, None) => {
            Problem::new(status, "this path does not take this method; the Allow header lists those that it takes")
        }
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, None) => {
            Problem::new(status, "the body must be declared as Content-Type: application/json")
        }
        (status, None) if status.is_server_error() => {
            // What went wrong inside is for the log, not for the caller.
            tracing::error!(%error, "a request failed");
            Problem::new(status, "the service could not answer this request")
        }
        (_, None) => Problem::new(status, error.to_string()),
    };
    respond(&problem)
}

fn respond(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Response::builder().status(status).content_type(Problem::CONTENT_TYPE).body(written(problem))
}

fn written(problem: &Problem) -> Vec<u8> {
    serde_json::to_vec(problem).expect("a problem is JSON")
}

fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// The paths of an OpenAPI document, with their methods.
struct Routes(Vec<(String, BTreeSet<String>)>);

impl Routes {
    fn of(spec: &str) -> Self {
        let spec: serde_json::Value = serde_json::from_str(spec).expect("poem-openapi writes JSON");
        let paths = spec["paths"].as_object().into_iter().flatten();
        let methods = |item: &serde_json::Value| {
            item.as_object().into_iter().flatten().map(|(method, _)| method.to_ascii_uppercase()).collect()
        };
        Routes(paths.map(|(path, item)| (path.clone(), methods(item))).collect())
    }

    fn find(&self, path: &str) -> Option<&(String, BTreeSet<String>)> {
        let matches = |template: &str| {
            template.split('/').count() == path.split('/').count()
                && template.split('/').zip(path.split('/')).all(|(t, p)| t == p || t.starts_with('{'))
        };
        self.0.iter().find(|(template, _)| template == path).or_else(|| self.0.iter().find(|(t, _)| matches(t)))
    }

    fn template(&self, path: &str) -> Option<&str> {
        // The page's routes are in no document.
        let page = path.starts_with("/dashboard").then_some("/dashboard");
        self.find(path).map(|(template, _)| template.as_str()).or(page)
    }

    /// What a path takes. What is in no document is a page.
    fn allow(&self, path: &str) -> HeaderValue {
        let mut methods: BTreeSet<&str> =
            self.find(path).map_or(["GET"].into(), |(_, methods)| methods.iter().map(String::as_str).collect());
        if methods.contains("GET") {
            methods.insert("HEAD");
        }
        let methods: Vec<&str> = methods.into_iter().collect();
        HeaderValue::from_str(&methods.join(", ")).expect("names of methods are ASCII")
    }
}
