//! The HTTP server as an actor, so that it is supervised like everything else.

use crate::actors::mailbox::{Mail, Meter};
use async_trait::async_trait;
use poem::endpoint::BoxEndpoint;
use poem::listener::TcpAcceptor;
use poem::{EndpointExt, Server};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long requests that are under way may take when the server is stopped.
const GRACE: Duration = Duration::from_secs(5);

/// How long a connection may say nothing and be told nothing. Longer than any answer is held back, and than clients and
/// proxies usually keep connections that they may use again.
const IDLE: Duration = Duration::from_secs(120);

/// The server is being stopped: whoever holds an answer back gives it now.
#[derive(Clone, Debug)]
pub struct Stopping(pub CancellationToken);

/// The server has ended by itself.
#[derive(Debug)]
pub struct Ended(String);

/// The actor.
#[derive(Clone)]
pub struct HttpServer {
    /// Bound before anything is started, so that a port in use is found at once.
    pub listener: Arc<std::net::TcpListener>,
    /// What is served.
    pub app: Arc<BoxEndpoint<'static>>,
    /// What is measured of it.
    pub meter: Meter,
}

/// A running server.
pub struct Serving {
    /// Also when the actor is killed: nobody is to answer beside the next one.
    stop: Option<DropGuard>,
    task: JoinHandle<()>,
}

#[async_trait]
impl Actor for HttpServer {
    type Msg = Mail<Ended>;
    type State = Serving;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Mail<Ended>>, (): ()) -> Result<Serving, ActorProcessingErr> {
        let myself = self.meter.mailbox(myself);
        let acceptor = TcpAcceptor::from_std(self.listener.try_clone()?)?;
        let app = Arc::clone(&self.app);
        let stop = CancellationToken::new();
        let (stopped, stopping) = (stop.clone().cancelled_owned(), Stopping(stop.clone()));
        let task = tokio::spawn(async move {
            let app = app.data(stopping);
            let server = Server::new_with_acceptor(acceptor).idle_timeout(IDLE);
            let served = server.run_with_graceful_shutdown(app, stopped, Some(GRACE)).await;
            let _ = myself.cast(Ended(format!("{served:?}")));
        });
        Ok(Serving { stop: Some(stop.drop_guard()), task })
    }

    async fn handle(
        &self,
        _: ActorRef<Mail<Ended>>,
        mail: Mail<Ended>,
        _: &mut Serving,
    ) -> Result<(), ActorProcessingErr> {
        let (Ended(how), _handling) = mail.open();
        Err(format!("the HTTP server ended: {how}").into())
    }

    async fn post_stop(&self, _: ActorRef<Mail<Ended>>, serving: &mut Serving) -> Result<(), ActorProcessingErr> {
        drop(serving.stop.take());
        Ok((&mut serving.task).await?)
    }
}
