//! The HTTP server as an actor, so that it is supervised like everything else.

use async_trait::async_trait;
use poem::endpoint::BoxEndpoint;
use poem::listener::TcpAcceptor;
use poem::{EndpointExt, Server};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long requests that are under way may take when the server is stopped.
const GRACE: Duration = Duration::from_secs(5);

/// The server is being stopped: whoever holds an answer back gives it now.
#[derive(Clone, Debug)]
pub struct Stopping(pub CancellationToken);

/// The server has ended by itself.
#[derive(Debug)]
pub struct Ended(String);

/// The actor.
pub struct HttpServer {
    /// Bound before anything is started, so that a port in use is found at once.
    pub listener: Arc<std::net::TcpListener>,
    /// What is served.
    pub app: Arc<BoxEndpoint<'static>>,
}

/// A running server.
pub struct Serving {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

#[async_trait]
impl Actor for HttpServer {
    type Msg = Ended;
    type State = Serving;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Ended>, (): ()) -> Result<Serving, ActorProcessingErr> {
        let acceptor = TcpAcceptor::from_std(self.listener.try_clone()?)?;
        let app = Arc::clone(&self.app);
        let stop = CancellationToken::new();
        let (stopped, stopping) = (stop.clone().cancelled_owned(), Stopping(stop.clone()));
        let task = tokio::spawn(async move {
            let app = app.data(stopping);
            let served =
                Server::new_with_acceptor(acceptor).run_with_graceful_shutdown(app, stopped, Some(GRACE)).await;
            let _ = myself.cast(Ended(format!("{served:?}")));
        });
        Ok(Serving { stop, task })
    }

    async fn handle(&self, _: ActorRef<Ended>, Ended(how): Ended, _: &mut Serving) -> Result<(), ActorProcessingErr> {
        Err(format!("the HTTP server ended: {how}").into())
    }

    async fn post_stop(&self, _: ActorRef<Ended>, serving: &mut Serving) -> Result<(), ActorProcessingErr> {
        serving.stop.cancel();
        Ok((&mut serving.task).await?)
    }
}
