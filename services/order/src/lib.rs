//! Order-service: takes orders over HTTP and sees them through payment and stock to their end.
//!
//! The rules are in [`saga`], pure; [`messages`] is what comes and goes on the log, [`store`] how it is stored, [`api`]
//! what is there over HTTP, [`waiting`] who is told of an order's end, and [`tree`] who starts after whom.

pub mod api;
pub mod config;
pub mod feed;
pub mod messages;
pub mod observer;
pub mod saga;
pub mod store;
pub mod tree;
pub mod waiting;

use api::{Api, Routes};
use observer::Observer;
use poem_openapi::OpenApiService;
use runtime::actors::{Nowhere, Wiring};
use runtime::dashboard::Reporter;
use runtime::dead_letters::DeadLetters;
use runtime::health::Health;
use runtime::http::{edge, for_operators};
use runtime::program::{Ports, Running, Starting};
use runtime::saga::Saga;
use runtime::store::sql::SqlStore;
use runtime::store::watched::Watched;
use saga::OrderSaga;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tree::Own;
use waiting::Waiting;

/// Starts the service with these rules. Beyond `limit` orders that are under way no more are taken on.
pub fn start(ports: Ports, saga: OrderSaga, limit: u64) -> Starting<'static> {
    Box::pin(async move {
        let health = Arc::new(Health::starting(OrderSaga::SERVICE, true));
        let (store, waiting) = (SqlStore::new(saga, ports.database.clone()), Arc::new(Waiting::default()));
        let observer = Observer {
            waiting: Arc::clone(&waiting),
            database: ports.database.clone(),
            clock: Arc::clone(&ports.clock),
        };
        let wiring = Wiring::new(
            saga,
            Arc::new(Watched { store, watcher: Arc::new(observer) }),
            Arc::clone(&ports.log),
            Arc::clone(&ports.clock),
            Arc::new(Nowhere),
            health,
        );
        let dead_letters = DeadLetters::of(&wiring, ports.database.clone());
        let reporter = Reporter::of(&wiring, &ports);
        let (own, database) = (Own::default(), ports.database.clone());
        let routes = Routes(Arc::new(Api {
            wiring: Arc::clone(&wiring),
            waiting,
            claims: own.claims.clone(),
            feed: own.feed.clone(),
            database: database.clone(),
            limit,
            window: Arc::new(Semaphore::new(api::WINDOW)),
            streams: Arc::new(Semaphore::new(api::STREAMS)),
        }));
        let routes = (routes, for_operators(&wiring, &ports, &dead_letters));
        let api = OpenApiService::new(routes, OrderSaga::SERVICE, env!("CARGO_PKG_VERSION"))
            .description("Takes orders over HTTP and sees them through payment and stock to their end.");
        let app = edge(OrderSaga::SERVICE, api, &ports);
        Running::start(ports.database, ports.listener, app, |http| {
            tree::tree(&wiring, &own, &dead_letters, &database, ports.attempts, &reporter, http)
        })
        .await
    })
}
