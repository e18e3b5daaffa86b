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
use runtime::dashboard::Reporter;
use runtime::database::Database;
use runtime::dead_letters::DeadLetters;
use runtime::health::Health;
use runtime::saga::Saga;
use std::sync::Arc;

/// Where the parts are that other services do not have.
#[derive(Clone)]
pub struct Own {
    /// Makes claims of idempotency keys.
    pub claims: Address<Request<Claims>>,
    /// Tells of changes.
    pub feed: Address<FeedMessage>,
}

impl Default for Own {
    fn default() -> Self {
        Own { claims: Address::of(OrderSaga::SERVICE, "claims"), feed: Address::of(OrderSaga::SERVICE, "feed") }
    }
}

impl Own {
    fn claims_child(&self, database: Database, clock: Arc<dyn Clock>) -> Child {
        let address = self.claims.clone();
        let make = move || GroupCommit::at(&address, Arc::new(Claims::new(database.clone(), Arc::clone(&clock))));
        self.claims.child(make)
    }

    fn feed_child(&self, database: Database, clock: Arc<dyn Clock>, health: Arc<Health>) -> Child {
        let address = self.feed.clone();
        let make = move || Feed {
            database: database.clone(),
            clock: Arc::clone(&clock),
            health: Arc::clone(&health),
            address: address.clone(),
        };
        self.feed.child(make)
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
    reporter: &Reporter,
    http: impl FnOnce(&'static str) -> Child,
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
            own.feed_child(database.clone(), Arc::clone(&wiring.clock), Arc::clone(&wiring.health)),
            dead_letters.child(),
            reporter.child(),
            http(OrderSaga::SERVICE),
        ],
        health: Arc::clone(&wiring.health),
        roster: Arc::clone(&wiring.roster),
    }
}
