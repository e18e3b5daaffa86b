//! The dashboard: its page and files, which are part of the program, and the stream that moves it.

use super::{Refusal, Stopping};
use crate::dashboard::{Board, process};
use futures::stream::{self, Stream, StreamExt};
use poem::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use poem::web::sse::{Event, SSE};
use poem::web::{Data, Path};
use poem::{EndpointExt, IntoResponse, Response, Route, get, handler};
use rust_embed::Embed;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

/// Pages that are open at a time; more are told to come back.
const PAGES: usize = 250;
/// Something is sent this often, so that nobody on the way takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Everything is from here.
const POLICY: &str = "default-src 'self'; frame-ancestors 'none'";

#[derive(Embed)]
#[folder = "assets/dashboard"]
struct Files;

/// What the dashboard of one service shows.
#[derive(Clone)]
pub struct Dashboard {
    /// Whose it is.
    pub service: &'static str,
    /// Whether it begins with the whole system.
    pub whole: bool,
    /// What is heard of all services.
    pub board: Arc<Board>,
}

#[derive(Clone)]
struct Pages(Arc<Semaphore>);

impl Dashboard {
    /// The routes below `/dashboard`.
    pub(super) fn routes(self) -> impl poem::Endpoint {
        Route::new()
            .at("/", get(page))
            .at("/orders/:id", get(page))
            .at("/assets/:file", get(file))
            .at("/events", get(events))
            .data(self)
            .data(Pages(Arc::new(Semaphore::new(PAGES))))
    }
}

#[handler]
fn page() -> Result<Response, Refusal> {
    served("index.html")
}

#[handler]
fn file(Path(name): Path<String>) -> Result<Response, Refusal> {
    served(&name)
}

fn served(name: &str) -> Result<Response, Refusal> {
    let found = Files::get(name).ok_or_else(|| Refusal::not_found(format!("the dashboard has no file {name}")))?;
    let content_type = match name.rsplit_once('.').map(|(_, kind)| kind) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some(_) | None => "text/plain; charset=utf-8",
    };
    let response = Response::builder().content_type(content_type).header(CONTENT_SECURITY_POLICY, POLICY);
    Ok(response.header(CACHE_CONTROL, "no-cache").body(found.data.into_owned()))
}

#[handler]
fn events(
    Data(dashboard): Data<&Dashboard>,
    Data(pages): Data<&Pages>,
    Data(Stopping(stopping)): Data<&Stopping>,
) -> Result<Response, Refusal> {
    let place = Arc::clone(&pages.0).try_acquire_owned();
    let place = place.map_err(|_| Refusal::unavailable("too many dashboards are open; try again"))?;
    let (heard, live) = dashboard.board.listen();
    let hello =
        serde_json::json!({"service": dashboard.service, "replica": process(), "whole": dashboard.whole}).to_string();
    let hello = stream::once(async move { Event::message(hello).event_type("hello") });
    let snapshot = |text: Arc<str>| Event::message(text.to_string()).event_type("snapshot");
    let events = hello.chain(stream::iter(heard).map(snapshot)).chain(coming(live, place).map(snapshot));
    let events = events.take_until(stopping.clone().cancelled_owned());
    Ok(SSE::new(events).keep_alive(KEEP_ALIVE).into_response())
}

/// What comes. Who is behind misses some, and is shown the next.
fn coming(
    live: broadcast::Receiver<Arc<str>>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Arc<str>> + Send + 'static {
    stream::unfold((live, place), |(mut live, place)| async move {
        loop {
            match live.recv().await {
                Ok(text) => return Some((text, (live, place))),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    })
}
