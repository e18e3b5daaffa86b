//! Those who order and call off, at random moments and through any replica.

use super::fleet::{Fleet, OrderWiring};
use super::foreign::{ForeignOrder, event};
use super::kept::PRODUCTS;
use super::process::Process;
use super::producer::append;
use super::world::World;
use contracts::{Amount, Contact, Money, OrderCreated, OrderId, OrderLine, Payload, event_id};
use order_service::saga::{Details, Input, OrderSaga};
use runtime::actors::order::Outcome;
use runtime::health::Part;
use runtime::saga::{Caused, Origin, Saga};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How long it takes until an order is settled when all is well, in milliseconds.
const SETTLING: u64 = 150;
/// The time after it in which an order may be called off, in milliseconds.
const CANCELLING: u64 = 9_000;
/// How long a caller waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// One customer: places one order, and perhaps calls it off.
pub(super) async fn customer(world: Arc<World>, fleet: Arc<Fleet>) {
    tokio::time::sleep(Duration::from_millis(world.draw(world.plan.placing))).await;
    let order = OrderId(world.new_id());
    let name = world.with(|state| state.story.name(order));
    let details = details(&world, &name);
    if world.plan.foreign.order {
        return place_elsewhere(&world, order, details);
    }
    let id = event_id(OrderSaga::SERVICE, order, 1, "place");
    let asked = ask(&world, &fleet, order, id, Input::Place(Arc::new(details))).await;
    if asked {
        world.with(|state| state.watch.accepted.insert(order));
        world.count("orders accepted");
    }
    let cancels = world.with(|state| state.rng.u32(0..100)) < world.plan.cancelled;
    if asked && cancels {
        // Half of them while the order is being settled.
        let longest = if world.draw(1) == 0 { SETTLING } else { CANCELLING };
        tokio::time::sleep(Duration::from_millis(world.draw(longest))).await;
        let id = world.new_id();
        if ask(&world, &fleet, order, id, Input::Cancel("changed my mind".to_owned())).await {
            world.with(|state| state.watch.cancelled.insert(order));
            world.count("cancels accepted");
        }
    }
}

fn details(world: &World, name: &str) -> Details {
    world.with(|state| {
        let is_poor = state.rng.u32(0..100) < world.plan.declined;
        let count = state.rng.usize(1..=3);
        let mut line = |_| OrderLine {
            product_id: PRODUCTS[state.rng.usize(0..PRODUCTS.len())].to_owned(),
            quantity: state.rng.i64(1..=3),
            unit_price: Amount::Exact(Money::from_ten_thousandths(state.rng.i64(0..100_000))),
        };
        let lines = (0..count).map(&mut line).collect();
        Details {
            customer_id: format!("{} customer of {name}", if is_poor { "poor" } else { "rich" }),
            total: Money::from_ten_thousandths(state.rng.i64(100..1_000_000)),
            currency: "EUR".to_owned(),
            lines,
            contact: None,
        }
    })
}

/// Asks any replica, and another one where it is not ready. Returns whether the answer is yes.
async fn ask(world: &Arc<World>, fleet: &Fleet, order: OrderId, id: Uuid, input: Input) -> bool {
    for _ in 0..6 {
        let replicas = fleet.order_wirings();
        let found = world.with(|state| state.rng.choice(&replicas).cloned());
        let Some((process, wiring)) = found else { return false };
        match try_one(world, &process, &wiring, order, id, input.clone()).await {
            Some(answer) => return answer,
            None => tokio::time::sleep(Duration::from_millis(100 + world.draw(800))).await,
        }
    }
    false
}

/// None if the replica did not take the request.
async fn try_one(
    world: &World,
    process: &Arc<Process>,
    wiring: &OrderWiring,
    order: OrderId,
    id: Uuid,
    input: Input,
) -> Option<bool> {
    if !process.is_running() || !wiring.health.is_well(Part::Actors) || !wiring.health.is_ready() {
        return None;
    }
    let is_place = matches!(input, Input::Place(_));
    let what = if is_place { "POST" } else { "cancel" };
    world.tell(&"a caller", Some(order), format!("{what} at {process}"));
    let cause =
        Caused { origin: Origin::Here, id, correlation_id: String::new(), traceparent: None, input, expected: None };
    let answer = tokio::time::timeout(PATIENCE, wiring.order(order, cause)).await;
    let is_taken = matches!(answer, Ok(Ok(Outcome::Applied(_) | Outcome::Nothing(..))));
    world.tell(&"a caller", Some(order), format!("{what} is {}", if is_taken { "accepted" } else { "not accepted" }));
    Some(is_taken)
}

/// Places an order at somebody else's order-service.
fn place_elsewhere(world: &Arc<World>, order: OrderId, details: Details) {
    let created = OrderCreated {
        order_id: order,
        customer_id: details.customer_id,
        total_amount: Amount::Exact(details.total),
        currency: details.currency,
        items: details.lines,
        contact: Some(Contact {
            email: Some("customer@example.org".to_owned()),
            webhook_url: Some("https://example.org/hook".to_owned()),
        }),
    };
    let known = ForeignOrder { created: created.clone(), confirmed: None };
    world.with(|state| state.foreign.orders.insert(order, known));
    world.count("orders placed at a foreign order-service");
    for _ in 0..=u32::from(world.plan.foreign.repeats) {
        append(world, &"foreign order", event(world, Payload::OrderCreated(created.clone())));
    }
}
