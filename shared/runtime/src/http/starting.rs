//! What is answered while a service cannot start yet: that the process lives, and what it waits for.

use super::Refusal;
use poem::endpoint::make_sync;
use poem::http::StatusCode;
use poem::listener::TcpAcceptor;
use poem::{IntoResponse, Response, Server};
use serde_json::json;
use std::io;
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long an answer that is being given may still take.
const GRACE: Duration = Duration::from_millis(200);

/// Answers on a listener, until it is dropped.
pub struct Starting(#[expect(dead_code, reason = "its drop ends the answers")] DropGuard);

impl Starting {
    /// Says there that the database is waited for, and why.
    pub fn without_database(listener: &std::net::TcpListener, why: &str) -> io::Result<Self> {
        let acceptor = TcpAcceptor::from_std(listener.try_clone()?)?;
        let report = |status, checks| json!({"status": status, "checks": checks}).to_string();
        let (live, ready) = (report("UP", json!({})), report("DOWN", json!({"database": why})));
        let app = make_sync(move |request| {
            let health = |status, report: &String| {
                Response::builder().status(status).content_type("application/json").body(report.clone())
            };
            match request.uri().path() {
                "/health/live" => health(StatusCode::OK, &live),
                "/health/ready" => health(StatusCode::SERVICE_UNAVAILABLE, &ready),
                _ => Refusal::unavailable("the service waits for its database; try again").into_response(),
            }
        });
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(Server::new_with_acceptor(acceptor).run_with_graceful_shutdown(app, stopped, Some(GRACE)));
        Ok(Starting(stop.drop_guard()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[tokio::test]
    async fn it_says_what_is_waited_for_and_leaves_the_port_to_the_service() -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let starting = Starting::without_database(&listener, "connection refused")?;
        assert_eq!(reqwest::get(format!("{url}/health/live")).await?.status(), 200);
        let ready = reqwest::get(format!("{url}/health/ready")).await?;
        assert_eq!(ready.status(), 503);
        let report: serde_json::Value = ready.json().await?;
        assert_eq!(report, json!({"status": "DOWN", "checks": {"database": "connection refused"}}));
        let order = reqwest::Client::new().post(format!("{url}/api/orders")).body("{}").send().await?;
        assert_eq!((order.status().as_u16(), &order.headers()["retry-after"]), (503, &"1".parse()?));

        drop(starting);
        let (address, listener) = (listener.local_addr()?, tokio::net::TcpListener::from_std(listener)?);
        let accepted = tokio::spawn(async move { listener.accept().await });
        while !accepted.is_finished() {
            // One that it does not take any more is reset.
            drop(tokio::net::TcpStream::connect(address).await);
        }
        Ok(())
    }
}
