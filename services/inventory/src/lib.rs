//! Inventory-service: keeps the stock, and holds what orders need.
//!
//! The rules are in [`saga`], pure; [`messages`] is what comes and goes on the log, [`store`] how it is stored, [`api`]
//! what is there over HTTP, and [`tree`] who starts after whom.

pub mod api;
pub mod config;
pub mod messages;
pub mod saga;
pub mod stock;
pub mod store;
pub mod tree;

use api::Api;
use poem_openapi::OpenApiService;
use runtime::actors::{Nowhere, Wiring};
use runtime::dashboard::Reporter;
use runtime::dead_letters::DeadLetters;
use runtime::health::Health;
use runtime::http::{edge, for_operators};
use runtime::program::{Ports, Running, Starting};
use runtime::saga::Saga;
use runtime::store::sql::SqlStore;
use saga::InventorySaga;
use std::sync::Arc;

/// Starts the service with these rules.
pub fn start(ports: Ports, saga: InventorySaga, initial_stock: &[(String, i64)]) -> Starting<'_> {
    Box::pin(async move {
        stock::write_initial(&ports.database, initial_stock).await?;
        let health = Arc::new(Health::starting(InventorySaga::SERVICE, false));
        let wiring = Wiring::new(
            saga,
            Arc::new(SqlStore::new(saga, ports.database.clone())),
            Arc::clone(&ports.log),
            Arc::clone(&ports.clock),
            Arc::new(Nowhere),
            health,
        );
        let dead_letters = DeadLetters::of(&wiring, ports.database.clone());
        let reporter = Reporter::of(&wiring, &ports);
        let routes = (
            Api::new(ports.database.clone(), Arc::clone(&wiring.clock)),
            for_operators(&wiring, &ports, &dead_letters),
        );
        let api = OpenApiService::new(routes, InventorySaga::SERVICE, env!("CARGO_PKG_VERSION"))
            .description("Keeps the stock, and holds what orders need.");
        let app = edge(InventorySaga::SERVICE, api, &ports);
        Running::start(ports.database, ports.listener, app, |http| {
            tree::tree(&wiring, &dead_letters, ports.attempts, &reporter, http)
        })
        .await
    })
}
