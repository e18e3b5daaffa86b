//! Notification-service: tells customers how their orders ended.
//!
//! The rules are in [`saga`], pure; [`messages`] is what comes and goes on the log, [`store`] how it is stored, and [`api`]
//! what is there over HTTP. [`channel`] has the ways to customers, and [`attention`]
//! says what was given up.

pub mod api;
pub mod attention;
pub mod channel;
pub mod config;
pub mod messages;
pub mod saga;
pub mod store;

use api::Api;
use attention::Attention;
use channel::{Channels, Ways};
use runtime::actors::Wiring;
use runtime::health::Health;
use runtime::program::{Ports, Running, Starting};
use runtime::saga::Saga;
use runtime::store::sql::SqlStore;
use saga::NotificationSaga;
use std::sync::Arc;

/// Starts the service, with these ways to customers.
pub fn start(ports: Ports, ways: Ways) -> Starting<'static> {
    Box::pin(async move {
        let saga = ways.saga.clone();
        let health = Arc::new(Health::starting(NotificationSaga::SERVICE, false));
        let store = SqlStore::new(saga.clone(), ports.database.clone()).watched(Attention(ports.database.clone()));
        let wiring = Wiring::new(
            saga,
            Arc::new(store),
            Arc::clone(&ports.log),
            Arc::clone(&ports.clock),
            Arc::new(Channels::new(ways, Arc::clone(&ports.clock))),
            health,
        );
        let routes = Api::new(ports.database.clone(), Arc::clone(&wiring));
        Running::service(ports, wiring, Vec::new(), "Tells customers how their orders ended.", routes).await
    })
}
