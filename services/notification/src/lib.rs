//! Notification-service: tells customers how their orders ended.
//!
//! The rules are in [`saga`], pure; [`messages`] is what comes and goes on the log, [`store`] how it is stored, [`api`]
//! what is there over HTTP, and [`tree`] who starts after whom. [`channel`] has the ways to customers, and [`attention`]
//! says what was given up.

pub mod api;
pub mod attention;
pub mod channel;
pub mod config;
pub mod messages;
pub mod saga;
pub mod store;
pub mod tree;

use api::Api;
use attention::Attention;
use channel::{Channels, Ways};
use poem_openapi::OpenApiService;
use runtime::actors::Wiring;
use runtime::dashboard::Reporter;
use runtime::dead_letters::DeadLetters;
use runtime::health::Health;
use runtime::http::{edge, for_operators};
use runtime::program::{Ports, Running, Starting};
use runtime::saga::Saga;
use runtime::store::sql::SqlStore;
use runtime::store::watched::Watched;
use saga::NotificationSaga;
use std::sync::Arc;

/// Starts the service, with these ways to customers.
pub fn start(ports: Ports, ways: Ways) -> Starting<'static> {
    Box::pin(async move {
        let saga = ways.saga.clone();
        let health = Arc::new(Health::starting(NotificationSaga::SERVICE, false));
        let wiring = Wiring::new(
            saga.clone(),
            Arc::new(Watched {
                store: SqlStore::new(saga, ports.database.clone()),
                watcher: Arc::new(Attention(ports.database.clone())),
            }),
            Arc::clone(&ports.log),
            Arc::clone(&ports.clock),
            Arc::new(Channels::new(ways, Arc::clone(&ports.clock))),
            health,
        );
        let dead_letters = DeadLetters::of(&wiring, ports.database.clone());
        let reporter = Reporter::of(&wiring, &ports);
        let routes =
            (Api::new(ports.database.clone(), Arc::clone(&wiring)), for_operators(&wiring, &ports, &dead_letters));
        let api = OpenApiService::new(routes, NotificationSaga::SERVICE, env!("CARGO_PKG_VERSION"))
            .description("Tells customers how their orders ended.");
        let app = edge(NotificationSaga::SERVICE, api, &ports);
        Running::start(ports.database, ports.listener, app, |http| {
            tree::tree(&wiring, &dead_letters, ports.attempts, &reporter, http)
        })
        .await
    })
}
