//! Inventory-service: keeps the stock, and holds what orders need.
//!
//! The rules are in [`saga`], pure; [`messages`] is what comes and goes on the log, [`store`] how it is stored, and [`api`]
//! what is there over HTTP.

pub mod api;
pub mod config;
pub mod messages;
pub mod saga;
pub mod stock;
pub mod store;

use api::Api;
use runtime::actors::Wiring;
use runtime::actors::outside::Nowhere;
use runtime::health::Health;
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
        let routes = Api::new(ports.database.clone(), Arc::clone(&wiring.clock));
        Running::service(ports, wiring, Vec::new(), "Keeps the stock, and holds what orders need.", routes).await
    })
}
