//! The supervision tree: who starts after whom. A part that ends is started again with a growing pause; more than
//! ten failures within a minute end the service.

use crate::feed::{Feed, FeedMessage};
use crate::saga::OrderSaga;
use crate::store::claims::Claims;
use runtime::actors::consumer::Attempts;
use runtime::actors::group_commit::{GroupCommit, Request};
use runtime::actors::supervisor::{Child, Tree};
use runtime::actors::{Address, Wiring};
use runtime::clock::Clock;
use runtime::database::Database;
use runtime::dead_letters::DeadLetters;
use runtime::http::HttpServer;
use runtime::saga::Saga;
use std::sync::Arc;

/// Where the parts are that other services do not have.
#[derive(Clone, Default)]
pub struct Own {
    /// Makes claims of idempotency keys.
    pub claims: Address<Request<Claims>>,
    /// Tells of changes.
    pub feed: Address<FeedMessage>,
}

impl Own {
    fn claims_child(&self, database: Database, clock: Arc<dyn Clock>) -> Child {
        let address = self.claims.clone();
        let make = move || GroupCommit(Arc::new(Claims::new(database.clone(), Arc::clone(&clock))));
        Child::new("claims", make, move |actor| address.set(actor))
    }

    fn feed_child(&self, database: Database, clock: Arc<dyn Clock>) -> Child {
        let address = self.feed.clone();
        let make = move || Feed { database: database.clone(), clock: Arc::clone(&clock) };
        Child::new("feed", make, move |actor| address.set(actor))
    }
}

/// The parts in the order of their start. They are stopped in the reverse order: first nothing new is taken on, then
/// what was read is finished and its events are sent, then the group is left, and at last every part ends.
pub fn tree(
    wiring: &Arc<Wiring<OrderSaga>>,
    own: &Own,
    dead_letters: &Arc<DeadLetters>,
    database: &Database,
    attempts: Attempts,
    http: impl Fn() -> HttpServer + Send + Sync + 'static,
) -> Tree {
    Tree {
        service: OrderSaga::SERVICE,
        children: vec![
            wiring.journal_child(),
            wiring.publisher_child(),
            wiring.loader_child(),
            wiring.router_child(),
            wiring.timers_child(),
            wiring.consumer_child(attempts),
            own.claims_child(database.clone(), Arc::clone(&wiring.clock)),
            own.feed_child(database.clone(), Arc::clone(&wiring.clock)),
            dead_letters.child(),
            Child::new("http", http, |_| {}),
        ],
        health: Arc::clone(&wiring.health),
    }
}
