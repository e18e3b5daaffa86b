//! Payment-service: charges orders, and gives back what was charged for orders that end.
//!
//! The rules are in [`saga`], pure; [`messages`] is what comes and goes on the log, [`store`] how it is stored, and [`api`]
//! what is there over HTTP. [`provider`] is who moves the money, and [`attention`]
//! counts what somebody has to look at.

pub mod api;
pub mod attention;
pub mod config;
pub mod messages;
pub mod provider;
pub mod saga;
pub mod store;

use api::Api;
use attention::Attention;
use provider::{Provided, Provider};
use runtime::actors::Wiring;
use runtime::health::Health;
use runtime::program::{Ports, Running, Starting};
use runtime::saga::Saga;
use runtime::store::sql::SqlStore;
use saga::PaymentSaga;
use std::sync::Arc;

/// Starts the service.
pub fn start(ports: Ports, provider: Provider) -> Starting<'static> {
    Box::pin(async move {
        let health = Arc::new(Health::starting(PaymentSaga::SERVICE, false));
        let store = SqlStore::new(PaymentSaga, ports.database.clone()).watched(Attention(ports.database.clone()));
        let wiring = Wiring::new(
            PaymentSaga,
            Arc::new(store),
            Arc::clone(&ports.log),
            Arc::clone(&ports.clock),
            Arc::new(Provided::new(provider, Arc::clone(&ports.clock), Arc::clone(&health))),
            health,
        );
        let routes = Api::new(ports.database.clone(), Arc::clone(&wiring));
        Running::service(
            ports,
            wiring,
            Vec::new(),
            "Charges orders, and gives back what was charged for orders that end.",
            routes,
        )
        .await
    })
}
