//! Order-service: takes orders over HTTP and sees them through payment and stock to their end.
//!
//! The rules are in [`saga`], pure; [`messages`] is what comes and goes on the log, [`store`] how it is stored, [`api`]
//! what is there over HTTP, and [`waiting`] who is told of an order's end.

pub mod api;
pub mod config;
pub mod feed;
pub mod messages;
pub mod observer;
pub mod saga;
pub mod store;
pub mod waiting;

use api::{Api, Routes};
use feed::Feed;
use observer::Observer;
use runtime::actors::Wiring;
use runtime::actors::address::Address;
use runtime::actors::group_commit::GroupCommit;
use runtime::actors::outside::Nowhere;
use runtime::health::Health;
use runtime::program::{Ports, Running, Starting};
use runtime::saga::Saga;
use runtime::store::sql::SqlStore;
use saga::OrderSaga;
use std::sync::Arc;
use store::claims::Claims;
use tokio::sync::Semaphore;
use waiting::Waiting;

/// Starts the service with these rules. Beyond `limit` orders that are under way no more are taken on.
pub fn start(ports: Ports, saga: OrderSaga, limit: u64) -> Starting<'static> {
    Box::pin(async move {
        let health = Arc::new(Health::starting(OrderSaga::SERVICE, true));
        let waiting = Arc::new(Waiting::default());
        let observer = Observer {
            waiting: Arc::clone(&waiting),
            database: ports.database.clone(),
            clock: Arc::clone(&ports.clock),
        };
        let wiring = Wiring::new(
            saga,
            Arc::new(SqlStore::new(saga, ports.database.clone()).watched(observer)),
            Arc::clone(&ports.log),
            Arc::clone(&ports.clock),
            Arc::new(Nowhere),
            health,
        );
        let (database, clock) = (ports.database.clone(), Arc::clone(&ports.clock));
        let claims = Address::of(OrderSaga::SERVICE, "claims");
        let made = Arc::new(Claims::new(database.clone(), Arc::clone(&clock)));
        let feed = Address::of(OrderSaga::SERVICE, "feed");
        let told =
            Feed { database: database.clone(), clock, health: Arc::clone(&wiring.health), address: feed.clone() };
        let own = vec![
            claims.child({
                let address = claims.clone();
                move || GroupCommit::at(&address, Arc::clone(&made))
            }),
            feed.child(move || told.clone()),
        ];
        let routes = Routes(Arc::new(Api {
            wiring: Arc::clone(&wiring),
            waiting,
            claims,
            feed,
            database,
            limit,
            window: Arc::new(Semaphore::new(api::WINDOW)),
            streams: Arc::new(Semaphore::new(api::STREAMS)),
            catching_up: Arc::new(Semaphore::new(1)),
        }));
        let about = "Takes orders over HTTP and sees them through payment and stock to their end.";
        Running::service(ports, wiring, own, about, routes).await
    })
}
