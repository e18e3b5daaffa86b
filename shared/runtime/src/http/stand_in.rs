//! What is answered while a service cannot start yet: that the process lives, and what it waits for.

use super::Refusal;
use super::operations::{Condition, HealthReport, HealthResponse};
use crate::health::Part;
use poem::endpoint::make_sync;
use poem::listener::TcpAcceptor;
use poem::{IntoResponse, Server};
use poem_openapi::payload::Json;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a start may take before anything is answered. Whoever comes meanwhile finds the service.
const SHORT: Duration = Duration::from_secs(1);
/// How long an answer that is being given may still take.
const GRACE: Duration = Duration::from_millis(200);

/// Answers on a service's listener in its stead, while its start takes long and until this is dropped.
pub struct StandIn {
    database: Arc<Mutex<String>>,
    _stop: DropGuard,
}

impl StandIn {
    /// Says there that the database is waited for.
    pub fn on(listener: &std::net::TcpListener) -> io::Result<Self> {
        let acceptor = TcpAcceptor::from_std(listener.try_clone()?)?;
        let database = Arc::new(Mutex::new("it is being opened".to_owned()));
        let why = Arc::clone(&database);
        let app = make_sync(move |request| match request.uri().path() {
            "/health/live" => HealthResponse::alive().into_response(),
            "/health/ready" => {
                let why = why.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let checks = HashMap::from([(Part::Database.name().to_owned(), why)]);
                HealthResponse::Unwell(Json(HealthReport { status: Condition::Down, checks })).into_response()
            }
            _ => Refusal::unavailable("the service waits for its database; try again").into_response(),
        });
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            if stopped.run_until_cancelled(sleep(SHORT)).await.is_some() {
                let (server, stopped) = (Server::new_with_acceptor(acceptor), stopped.cancelled_owned());
                // One that cannot answer leaves its callers where they were.
                let _ = server.run_with_graceful_shutdown(app, stopped, Some(GRACE)).await;
            }
        });
        Ok(StandIn { database, _stop: stop.drop_guard() })
    }

    /// What is wrong with the database, from here on.
    pub fn waits_because(&self, why: String) {
        *self.database.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    async fn answer(address: SocketAddr, request: &str) -> io::Result<String> {
        let mut connection = TcpStream::connect(address).await?;
        let head = format!("{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        connection.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test(start_paused = true)]
    async fn it_says_what_is_waited_for_and_leaves_the_port_to_the_service() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?.into_std()?;
        let address = listener.local_addr()?;
        let stand_in = StandIn::on(&listener)?;
        stand_in.waits_because("connection refused".to_owned());
        let unavailable = "HTTP/1.1 503 Service Unavailable";
        for (request, status, says) in [
            ("GET /health/live", "HTTP/1.1 200 OK", r#""status":"UP""#),
            ("GET /health/ready", unavailable, r#"{"checks":{"database":"connection refused"},"status":"DOWN"}"#),
            ("POST /api/orders", unavailable, "retry-after: 1"),
        ] {
            let answer = answer(address, request).await?;
            assert!(answer.starts_with(status) && answer.contains(says), "{request}: {answer}");
        }

        drop(stand_in);
        let listener = TcpListener::from_std(listener)?;
        let accepted = tokio::spawn(async move { listener.accept().await });
        while !accepted.is_finished() {
            // One that it does not take any more is reset.
            drop(TcpStream::connect(address).await);
        }
        Ok(())
    }
}
