//! One run, from its seed to its verdict.

use super::audit::audit;
use super::books::{self, Books};
use super::callers::customer;
use super::chaos::{chaos, heal};
use super::fleet::Fleet;
use super::foreign;
use super::plan::Plan;
use super::tally::Tally;
use super::watch::Violation;
use super::world::World;
use e2e::api::Service;
use runtime::event_log::NewRecord;
use std::sync::{Arc, Once};
use std::time::Duration;
use strum::VariantArray;

/// How long it may take until nothing moves any more, in looks.
const PATIENCE: u32 = 800;
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// Looks without any movement, until it is believed.
const STILL: u32 = 6;

/// What came of a run.
pub(crate) struct Report {
    /// What was run.
    pub(crate) plan: Plan,
    /// What was seen.
    pub(crate) tally: Tally,
    /// What must not be.
    pub(crate) violations: Vec<Violation>,
    /// Everything that happened; of the first violation's order only, if there is one.
    pub(crate) story: String,
}

/// Runs a plan in a runtime of its own.
pub(crate) fn run(plan: &Plan) -> Report {
    static QUIET: Once = Once::new();
    QUIET.call_once(silence_meant_panics);
    fastrand::seed(plan.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    runtime.block_on(simulate(plan.clone()))
}

/// A panic that is meant is not worth a line on the terminal.
fn silence_meant_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_meant = panic.payload_as_str().is_some_and(|text| text.contains("the simulation wants a panic"));
        if !is_meant {
            before(panic);
        }
    }));
}

async fn simulate(plan: Plan) -> Report {
    let (world, endings) = World::new(plan);
    foreign::start(&world);
    let fleet = Fleet::start(&world, endings).await;
    let customers = (0..world.plan.orders).map(|_| tokio::spawn(customer(Arc::clone(&world), Arc::clone(&fleet))));
    let customers: Vec<_> = customers.collect();
    let harm = tokio::spawn(chaos(Arc::clone(&world), Arc::clone(&fleet)));
    for customer in customers {
        customer.await.expect("a customer does not panic");
    }
    harm.await.expect("chaos does not panic");
    heal(&world, &fleet);
    settle(&world).await;
    let before = Books::of(&world);
    audit(&world, &before);
    if world.with(|state| state.watch.violations.is_empty()) {
        replay(&world).await;
        settle(&world).await;
        compare(&world, &before);
    }
    world.with(|state| {
        let mut tally = std::mem::take(&mut state.tally);
        tally.count("runs");
        let violations = std::mem::take(&mut state.watch.violations);
        let only = violations.first().and_then(|violation| violation.order);
        Report { plan: world.plan.clone(), tally, violations, story: state.story.text(only) }
    })
}

/// Waits until nothing moves any more.
async fn settle(world: &World) {
    let mut last = None;
    let mut still = 0;
    for _ in 0..PATIENCE {
        tokio::time::sleep(LOOK).await;
        let moved = world.with(|state| (state.log.appended(), state.tally.seen("steps committed")));
        let is_quiet = books::are_quiet(&world.databases) && world.with(|state| state.log.is_read());
        still = if is_quiet && last == Some(moved) { still + 1 } else { 0 };
        last = Some(moved);
        if still >= STILL {
            return;
        }
    }
    let what = format!("it does not come to rest; unread is {}", world.with(|state| state.log.unread()));
    world.with(|state| state.watch.violate("I-1", None, what));
}

/// Everything is read once more: from the beginning, or from records that are appended again.
async fn replay(world: &Arc<World>) {
    let now = world.millis();
    world.tell(&"the world", None, "is replayed".to_owned());
    world.with(|state| {
        if state.rng.bool() {
            for service in Service::VARIANTS.iter().copied() {
                let Some(group) = state.log.groups.get_mut(service.name()) else { continue };
                group.offsets.clear();
                for member in group.members.values_mut() {
                    member.stored.clear();
                    member.positions.values_mut().for_each(|position| *position = 0);
                }
                group.rebalance();
                state.log.assign(service.name());
            }
        } else {
            let records: Vec<Arc<NewRecord>> = state
                .log
                .partitions
                .iter()
                .filter(|(partition, _)| !partition.topic.ends_with(".dlt"))
                .flat_map(|(_, records)| records.iter().map(|stored| Arc::clone(&stored.record)))
                .collect();
            for record in records {
                state.log.append(record, now);
            }
        }
    });
}

/// I-7: nothing is different, and nothing new was said.
fn compare(world: &World, before: &Books) {
    let after = Books::of(world);
    let differ = |order: &contracts::OrderId| {
        before.orders.get(order) != after.orders.get(order)
            || before.payments.get(order) != after.payments.get(order)
            || before.reservations.get(order) != after.reservations.get(order)
            || before.notices.get(order) != after.notices.get(order)
            || before.endings.get(order) != after.endings.get(order)
    };
    let orders = after.orders.keys().chain(after.payments.keys()).chain(after.reservations.keys());
    let orders = orders.chain(after.notices.keys()).chain(after.endings.keys());
    if let Some(order) = orders.copied().find(differ) {
        world.with(|state| state.watch.violate("I-7", Some(order), "a replay changed it".to_owned()));
    }
    if before.stock != after.stock {
        world.with(|state| state.watch.violate("I-7", None, "a replay changed the stock".to_owned()));
    }
}
