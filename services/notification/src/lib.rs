//! Notification-service: tells customers how their orders ended.
//!
//! The rules are in [`saga`], pure; [`messages`] is what comes and goes on the log, [`store`] how it is stored, [`api`]
//! what is there over HTTP, and [`tree`] who starts after whom.

pub mod api;
pub mod channel;
pub mod config;
pub mod messages;
pub mod saga;
pub mod store;
pub mod tree;

use api::Api;
use channel::Channels;
use poem_openapi::OpenApiService;
use runtime::actors::Wiring;
use runtime::dead_letters::DeadLetters;
use runtime::health::Health;
use runtime::http::{AuditApi, DeadLetterApi, Operations, edge};
use runtime::program::{Ports, Running, Starting};
use runtime::saga::Saga;
use runtime::store::sql::SqlStore;
use saga::NotificationSaga;
use std::sync::Arc;

/// Starts the service.
pub fn start(ports: Ports) -> Starting<'static> {
    Box::pin(async move {
        let health = Arc::new(Health::starting(false));
        let wiring = Wiring::new(
            NotificationSaga,
            Arc::new(SqlStore::new(NotificationSaga, ports.database.clone())),
            ports.log,
            Arc::clone(&ports.clock),
            Arc::new(Channels { clock: Arc::clone(&ports.clock) }),
            Arc::clone(&health),
        );
        let dead_letters = DeadLetters::of(&wiring, ports.database.clone());
        let routes = (
            Api::new(ports.database.clone()),
            Operations { health, metrics: ports.metrics },
            AuditApi(ports.database.clone()),
            DeadLetterApi(Arc::clone(&dead_letters)),
        );
        let api = OpenApiService::new(routes, NotificationSaga::SERVICE, env!("CARGO_PKG_VERSION"))
            .description("Tells customers how their orders ended.");
        let app = edge(NotificationSaga::SERVICE, api);
        Running::start(ports.database, ports.listener, app, |http| {
            tree::tree(&wiring, &dead_letters, ports.attempts, http)
        })
        .await
    })
}
