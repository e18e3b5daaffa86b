//! What goes wrong from outside, at random moments.

use super::fleet::Fleet;
use super::foreign::{event, payment_id};
use super::process::{Condition, Process};
use super::producer::append;
use super::world::World;
use contracts::{
    Amount, EventType, Money, OrderCancelled, OrderCreated, OrderId, OrderLine, Payload, PaymentConfirmed, PaymentId,
    PaymentRefundRequested, RefundId, Status,
};
use e2e::api::Service;
use runtime::event_log::NewRecord;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use strum::VariantArray;

/// How long things go wrong, in milliseconds.
const WINDOW: u64 = 14_000;

type Harm = fn(&Arc<World>, &Arc<Fleet>);

/// All that goes wrong from outside; ends when nothing more begins.
pub(super) async fn chaos(world: Arc<World>, fleet: Arc<Fleet>) {
    let faults = &world.plan.faults;
    let harms: [(u32, Harm); 8] = [
        (faults.kills, kill),
        (faults.freezes, freeze),
        (faults.stops, stop),
        (faults.churn, churn),
        (faults.database_outages, database_away),
        (faults.broker_outages, broker_away),
        (faults.bad_messages, bad_message),
        (faults.clock_jumps, clock_jumps),
    ];
    let times = harms.into_iter().flat_map(|(times, harm)| (0..times).map(move |_| harm));
    let mut plan: Vec<(u64, usize, Harm)> =
        times.enumerate().map(|(place, harm)| (world.draw(WINDOW), place, harm)).collect();
    plan.sort_by_key(|(at, place, _)| (*at, *place));
    for (at, _, harm) in plan {
        tokio::time::sleep(Duration::from_millis(at.saturating_sub(world.millis()))).await;
        harm(&world, &fleet);
    }
}

/// Ends everything that goes wrong.
pub(super) fn heal(world: &World, fleet: &Fleet) {
    world.with(|state| {
        state.healed = true;
        state.away.clear();
        state.log.away = false;
        state.log.groups.values_mut().for_each(|group| group.stalls.clear());
        state.log.wake_all();
    });
    world.tell(&"the world", None, "heals".to_owned());
    for process in fleet.processes() {
        process.set(Condition::Running);
    }
}

fn any_process(world: &World, fleet: &Fleet) -> Option<Arc<Process>> {
    let running: Vec<_> = fleet.processes().into_iter().filter(|process| process.is_running()).collect();
    world.with(|state| state.rng.choice(&running).cloned())
}

fn any_service(world: &World) -> Service {
    world.with(|state| Service::VARIANTS[state.rng.usize(0..4)])
}

fn kill(world: &Arc<World>, fleet: &Arc<Fleet>) {
    if let Some(process) = any_process(world, fleet) {
        world.kill(&process, "killed");
    }
}

fn freeze(world: &Arc<World>, fleet: &Arc<Fleet>) {
    let Some(process) = any_process(world, fleet) else { return };
    world.freeze(&process);
    let (world, length) = (Arc::clone(world), Duration::from_millis(500 + world.draw(15_000)));
    tokio::spawn(async move {
        tokio::time::sleep(length).await;
        if process.set(Condition::Running) {
            world.tell(&process, None, "thawed".to_owned());
        }
    });
}

fn stop(world: &Arc<World>, fleet: &Arc<Fleet>) {
    let Some(process) = any_process(world, fleet) else { return };
    process.to_end.store(true, Ordering::Relaxed);
    let world = Arc::clone(world);
    tokio::spawn(async move {
        // One that has nothing to do is asked as well.
        tokio::time::sleep(Duration::from_secs(2)).await;
        if process.to_end.swap(false, Ordering::Relaxed) {
            world.stop(&process);
        }
    });
}

fn churn(world: &Arc<World>, _: &Arc<Fleet>) {
    let service = any_service(world);
    world.with(|state| {
        if let Some(group) = state.log.groups.get_mut(service.name()) {
            group.rebalance();
        }
        state.log.assign(service.name());
    });
    world.tell(&service.name(), None, "the group is shared out anew".to_owned());
}

fn database_away(world: &Arc<World>, _: &Arc<Fleet>) {
    let service = any_service(world);
    world.with(|state| state.away.insert(service));
    world.tell(&service.name(), None, "its database is away".to_owned());
    world.count("database outages");
    let (world, length) = (Arc::clone(world), Duration::from_millis(200 + world.draw(6_000)));
    tokio::spawn(async move {
        tokio::time::sleep(length).await;
        world.with(|state| state.away.remove(&service));
        world.tell(&service.name(), None, "its database is back".to_owned());
    });
}

fn broker_away(world: &Arc<World>, _: &Arc<Fleet>) {
    let set = |world: &World, away: bool| {
        world.with(|state| {
            state.log.away = away;
            state.log.wake_all();
        });
        world.tell(&"the broker", None, if away { "is away" } else { "is back" }.to_owned());
    };
    set(world, true);
    world.count("broker outages");
    let (world, length) = (Arc::clone(world), Duration::from_millis(200 + world.draw(6_000)));
    tokio::spawn(async move {
        tokio::time::sleep(length).await;
        set(&world, false);
    });
}

/// The clock of a database jumps, and its replicas learn of it.
fn clock_jumps(world: &Arc<World>, fleet: &Arc<Fleet>) {
    let service = any_service(world);
    let by = world.with(|state| state.rng.i64(-5_000..5_000));
    for process in fleet.processes().iter().filter(|process| process.service == service) {
        process.clock_is_off.fetch_add(by, Ordering::Relaxed);
    }
    world.tell(&service.name(), None, format!("its clock jumps by {by} ms"));
    world.count("clock jumps");
}

fn bad_message(world: &Arc<World>, _: &Arc<Fleet>) {
    world.count("bad messages");
    let who = &"somebody";
    let unknown = OrderId(world.new_id());
    let known = world.with(|state| {
        // Nobody can speak of an order that nobody has heard of.
        let is_heard_of = |order: &&OrderId| state.log.first(**order, EventType::OrderCreated).is_some();
        let known = state.watch.accepted.iter().chain(state.foreign.orders.keys());
        let known: Vec<OrderId> = known.filter(is_heard_of).copied().collect();
        state.rng.choice(&known).copied()
    });
    let order = known.unwrap_or(unknown);
    match world.draw(4) {
        0 | 1 => garbage(world),
        2 => {
            let is_ours = !world.plan.foreign.payment;
            let payment_id = if is_ours { PaymentId::of(order) } else { payment_id(order) };
            let amount = Amount::Exact(Money::from_ten_thousandths(7));
            let (refund_id, reason) = (RefundId("bad".to_owned()), "no reason".to_owned());
            let request = PaymentRefundRequested {
                refund_id,
                payment_id,
                order_id: order,
                amount,
                currency: "EUR".into(),
                reason,
            };
            world.with(|state| state.watch.misled.insert(order));
            append(world, who, event(world, Payload::PaymentRefundRequested(request)));
        }
        3 => {
            let events = [
                Payload::PaymentConfirmed(PaymentConfirmed {
                    payment_id: PaymentId("unheard-of".to_owned()),
                    order_id: unknown,
                    amount: Amount::Exact(Money::from_ten_thousandths(500)),
                    currency: "EUR".to_owned(),
                    status: Status::Confirmed,
                }),
                Payload::OrderCancelled(OrderCancelled {
                    order_id: unknown,
                    customer_id: "nobody".to_owned(),
                    status: Status::Cancelled,
                    reason: "unheard of".to_owned(),
                    cancelled_at: world.timestamp().to_string(),
                    contact: None,
                }),
            ];
            let [confirmed, cancelled] = events;
            let payload = if world.draw(1) == 0 { confirmed } else { cancelled };
            append(world, who, event(world, payload));
        }
        _ => {
            let created = OrderCreated {
                order_id: unknown,
                customer_id: "nobody".to_owned(),
                total_amount: Amount::Exact(Money::from_ten_thousandths(-500)),
                currency: "EUR".to_owned(),
                items: vec![OrderLine {
                    product_id: "P1".into(),
                    quantity: -1,
                    unit_price: Amount::Exact(Money::ZERO),
                }],
                contact: None,
            };
            append(world, who, event(world, Payload::OrderCreated(created)));
        }
    }
}

/// What nobody can read.
fn garbage(world: &Arc<World>) {
    let (topic, value) = world.with(|state| {
        let topic = EventType::ALL[state.rng.usize(0..EventType::ALL.len())].topic();
        let values: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"{\"eventId\":"), Some(b"\xff\xfe")];
        (topic, values[state.rng.usize(0..4)])
    });
    let key = world.new_id().to_string().into_bytes();
    let record =
        NewRecord { topic: topic.into(), key: Some(key), value: value.map(<[u8]>::to_vec), headers: Vec::new() };
    append(world, &"somebody", record);
}
