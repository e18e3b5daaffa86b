//! The supervision tree: who starts after whom. A part that ends is started again with a growing pause; more than
//! ten failures within a minute end the service.

use crate::saga::InventorySaga;
use runtime::actors::Wiring;
use runtime::actors::consumer::Attempts;
use runtime::actors::supervisor::{Child, Tree};
use runtime::dashboard::Reporter;
use runtime::dead_letters::DeadLetters;
use runtime::saga::Saga;
use std::sync::Arc;

/// The parts in the order of their start. They are stopped in the reverse order: first nothing new is taken on, then
/// what was read is finished and its events are sent, then the group is left, and at last every part ends.
pub fn tree(
    wiring: &Arc<Wiring<InventorySaga>>,
    dead_letters: &Arc<DeadLetters>,
    attempts: Attempts,
    reporter: &Reporter,
    http: impl FnOnce(&'static str) -> Child,
) -> Tree {
    Tree {
        service: InventorySaga::SERVICE,
        children: vec![
            wiring.journal_child(),
            wiring.publisher_child(),
            wiring.loader_child(),
            wiring.router_child(),
            wiring.timers_child(),
            wiring.consumer_child(attempts),
            dead_letters.child(),
            reporter.child(),
            http(InventorySaga::SERVICE),
        ],
        health: Arc::clone(&wiring.health),
        roster: Arc::clone(&wiring.roster),
    }
}
