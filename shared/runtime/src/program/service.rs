//! How a service starts: its supervision tree, and its HTTP API on top.

use super::{Ports, Running};
use crate::actors::Wiring;
use crate::actors::supervisor::{Child, Tree};
use crate::dashboard::Reporter;
use crate::dead_letters::DeadLetters;
use crate::http::{edge, for_operators};
use crate::saga::Saga;
use anyhow::Result;
use poem_openapi::{OpenApi, OpenApiService};
use std::sync::Arc;

impl Running {
    /// Starts a service, with what it has of its own: these parts, and these routes. `about` it is the first line of its
    /// documents.
    ///
    /// A part that ends is started again with a growing pause; more than ten failures within a minute end the service. A
    /// part may use those before it. They are stopped in the reverse order: first nothing new is taken on, then what was
    /// read is finished and its events are sent, then the group is left, and at last every part ends.
    pub async fn service<S: Saga>(
        ports: Ports,
        wiring: Arc<Wiring<S>>,
        own: Vec<Child>,
        about: &str,
        routes: impl OpenApi + 'static,
    ) -> Result<Self> {
        let dead_letters = DeadLetters::of(&wiring, ports.database.clone());
        let reporter = Reporter::of(&wiring, &ports);
        let routes = (routes, for_operators(&wiring, &ports, &dead_letters));
        let api = OpenApiService::new(routes, S::SERVICE, env!("CARGO_PKG_VERSION")).description(about);
        let app = edge(S::SERVICE, api, &ports);
        let mut children = wiring.children(ports.attempts);
        children.extend(own);
        children.extend([dead_letters.child(), reporter.child()]);
        let (health, roster) = (Arc::clone(&wiring.health), Arc::clone(&wiring.roster));
        let tree = Tree { service: S::SERVICE, children, health, roster };
        Self::start(ports.database, ports.listener, app, tree).await
    }
}
