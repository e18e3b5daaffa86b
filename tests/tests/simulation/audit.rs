//! The invariants, checked when nothing moves any more. `contracts.md` numbers them.

use super::books::{Books, Ending};
use super::foreign::payment_id;
use super::log::Stored;
use super::plan::Plan;
use super::watch::Watch;
use super::world::{State, World};
use contracts::{Decoded, EventType, OrderId, PaymentId, decode};
use e2e::api::Service;
use inventory_service::saga::Stage as Held;
use notification_service::saga::{Channel, Key, Notice, Occasion, Status};
use order_service::saga::{Money, Stage};
use runtime::saga::Named;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Checks everything.
pub(super) fn audit(world: &World, books: &Books) {
    world.with(|state| {
        ends(state, books);
        money(state, books, &world.plan);
        if !world.plan.foreign.inventory {
            stock(state, books, &world.plan);
        }
        notices(state, books, &world.plan);
        let events = events(state);
        sent(state, &events);
        dead_letters(state, books, &world.plan);
        count(state, books);
    });
}

/// I-1, and that an accepted cancel is one.
fn ends(state: &mut State, books: &Books) {
    for order in state.watch.accepted.clone() {
        if !books.endings.contains_key(&order) {
            state.watch.violate("I-1", Some(order), "it was accepted and is not there".to_owned());
        }
    }
    for (order, ending) in &books.endings {
        if !matches!(ending.stage, Stage::Confirmed | Stage::Failed | Stage::Cancelled) {
            state.watch.violate("I-1", Some(*order), format!("it is {:?}", ending.stage));
        }
        if state.watch.cancelled.contains(order) && ending.stage != Stage::Cancelled {
            let what = format!("its cancel was accepted, and it is {:?}", ending.stage);
            state.watch.violate("I-2", Some(*order), what);
        }
    }
}

/// I-3, at the provider and in what order-service says.
fn money(state: &mut State, books: &Books, plan: &Plan) {
    let mut known = 0;
    for (order, ending) in &books.endings {
        let payment = if plan.foreign.payment { payment_id(*order) } else { PaymentId::of(*order) };
        let is_of = |key: &str, what: &str| key.split('#').next() == Some(&format!("{what}-{payment}"));
        let taken: Vec<i64> = state
            .ledger
            .charges
            .iter()
            .filter(|(key, _)| is_of(key, "charge"))
            .filter_map(|(_, amount)| amount.map(|amount| amount.ten_thousandths()))
            .collect();
        let given: Vec<i64> = state
            .ledger
            .refunds
            .iter()
            .filter(|(key, _)| is_of(key, "refund"))
            .map(|(_, amount)| amount.ten_thousandths())
            .collect();
        known += taken.len();
        if taken.len() > 1 || given.len() > taken.len() {
            let what = format!("{} charges and {} refunds", taken.len(), given.len());
            state.watch.violate("I-3", Some(*order), what);
        }
        let kept = taken.iter().sum::<i64>() - given.iter().sum::<i64>();
        let owed = if ending.stage == Stage::Confirmed { ending.total.ten_thousandths() } else { 0 };
        if kept != owed {
            let what = format!("it is {:?}, and {kept} ten-thousandths are kept for {owed}", ending.stage);
            state.watch.violate("I-3", Some(*order), what);
        }
        let says = match (taken.is_empty(), ending.stage) {
            (true, _) => Money::None,
            (false, Stage::Confirmed) => Money::Charged,
            (false, _) if plan.foreign.payment => Money::RefundDue,
            (false, _) => Money::Refunded,
        };
        let is_misled = state.watch.misled.contains(order);
        if let Some(money) = ending.money.filter(|money| *money != says && !is_misled) {
            let what = format!("it is {:?} and says {money:?} of the money, which is {says:?}", ending.stage);
            state.watch.violate("I-3", Some(*order), what);
        }
    }
    let all = state.ledger.charges.values().flatten().count();
    if all != known {
        state.watch.violate("I-3", None, format!("{all} charges, and {known} of them of orders"));
    }
}

/// I-4, of our own inventory.
fn stock(state: &mut State, books: &Books, plan: &Plan) {
    let mut held: BTreeMap<&str, i64> = BTreeMap::new();
    for (order, ending) in &books.endings {
        let stage = books.reservations.get(order).map(|reservation| reservation.state.stage);
        let holds = stage == Some(Held::Reserved);
        if holds != (ending.stage == Stage::Confirmed) {
            let what = format!("it is {:?}, and its reservation {stage:?}", ending.stage);
            state.watch.violate("I-4", Some(*order), what);
        }
        for line in ending.lines.iter().filter(|_| ending.stage == Stage::Confirmed) {
            *held.entry(&line.product_id).or_default() += line.quantity;
        }
    }
    for (product, shelf) in &books.stock {
        let held = held.get(product.as_str()).copied().unwrap_or(0);
        if shelf.reserved != held || shelf.on_hand != plan.stock {
            state.watch.violate("I-4", None, format!("{shelf:?}, and confirmed orders hold {held}"));
        }
    }
}

/// I-5: what the customer was to hear, and heard.
fn notices(state: &mut State, books: &Books, plan: &Plan) {
    for (order, ending) in &books.endings {
        let status = |key| books.notices.get(order).and_then(|notices| notices.state.status(key));
        let refunded = ending.money == Some(Money::Refunded) || !plan.foreign.payment && is_refunded(state, *order);
        let was_confirmed = state
            .watch
            .committed
            .get(&(Service::Order, *order))
            .is_some_and(|events| events.iter().any(|(_, event_type)| *event_type == EventType::OrderConfirmed))
            || plan.foreign.order && ending.stage == Stage::Confirmed;
        let expected = [
            (Occasion::OrderConfirmed, was_confirmed),
            (Occasion::OrderFailed, ending.stage == Stage::Failed && !plan.foreign.order),
            (Occasion::OrderCancelled, ending.stage == Stage::Cancelled),
            (Occasion::PaymentRefunded, refunded),
        ];
        // Only the foreign order-service's orders come with a contact, which leads everywhere.
        let channels: &[Channel] = if plan.foreign.order { Channel::ALL } else { &[Channel::Log] };
        let keys = Channel::ALL.iter().flat_map(|channel| {
            let is_open = channels.contains(channel);
            expected.map(|(occasion, is_due)| (Key { occasion, channel: *channel }, is_due && is_open))
        });
        for (key, is_due) in keys {
            let heard = state.watch.notices.get(&(*order, key)).map_or(0, BTreeSet::len);
            let is_well = match status(key) {
                None => !is_due && heard == 0,
                Some(Status::Sent) => is_due && heard == 1,
                Some(Status::Superseded) => is_due && heard == 0 && key.occasion == Occasion::OrderConfirmed,
                Some(Status::Pending | Status::Failed) => false,
            };
            if !is_well {
                let what = format!("{key:?} is {:?}, due {is_due}, heard under {heard} ids", status(key));
                state.watch.violate("I-5", Some(*order), what);
            }
        }
    }
    for (order, notices) in &books.notices {
        let mut keys: Vec<Key> = notices.state.0.iter().map(Notice::key).collect();
        keys.sort();
        keys.dedup();
        if keys.len() != notices.state.0.len() {
            state.watch.violate("I-5", Some(*order), "two records of one occasion and channel".to_owned());
        }
    }
}

fn is_refunded(state: &State, order: OrderId) -> bool {
    state.ledger.refunds.contains_key(&format!("refund-{}", PaymentId::of(order)))
}

/// Where each event first was on the log.
type First = BTreeMap<Uuid, u64>;

fn events(state: &State) -> First {
    let mut first = First::new();
    for (partition, records) in &state.log.partitions {
        for Stored { record, sequence, .. } in records {
            let decoded = decode(&partition.topic, record.key.as_deref(), record.value.as_deref());
            if let Ok(Decoded::Event(envelope)) = decoded {
                let place = first.entry(envelope.event_id).or_insert(*sequence);
                *place = (*place).min(*sequence);
            }
        }
    }
    first
}

/// I-6: every committed event is on the log, in the order in which it happened, and once under each type.
fn sent(state: &mut State, first: &First) {
    let committed = state.watch.committed.clone();
    for ((service, order), events) in committed {
        let mut last = 0;
        let mut types = Vec::new();
        for (id, event_type) in events {
            match first.get(&id) {
                None => {
                    let what = format!("{event_type:?} of {} never came to the log", service.name());
                    state.watch.violate("I-6", Some(order), what);
                }
                Some(place) if *place < last => {
                    let what = format!("{event_type:?} of {} overtook what happened before", service.name());
                    state.watch.violate("I-6", Some(order), what);
                }
                Some(place) => last = *place,
            }
            if types.contains(&event_type) {
                let what = format!("{event_type:?} of {} happened twice", service.name());
                state.watch.violate("I-6", Some(order), what);
            }
            types.push(event_type);
        }
    }
}

/// I-8: each bad message has its dead letter in each group of ours that reads it, and no other message has one.
fn dead_letters(state: &mut State, books: &Books, plan: &Plan) {
    let mut bad = BTreeSet::new();
    for (partition, records) in &state.log.partitions {
        for (offset, stored) in (0_i64..).zip(records) {
            let record = &stored.record;
            let decoded = decode(&partition.topic, record.key.as_deref(), record.value.as_deref());
            for (service, reads) in readers(plan) {
                let reads = reads.iter().any(|event_type| event_type.topic() == partition.topic);
                let is_bad = match &decoded {
                    Ok(Decoded::Event(envelope)) => {
                        service == Service::Order && !books.orders.contains_key(&envelope.payload.order_id())
                    }
                    Ok(Decoded::UnknownType(_)) => false,
                    Err(_) => true,
                };
                if reads && is_bad {
                    bad.insert((partition.topic.clone(), partition.partition, offset, service.name().to_owned()));
                }
            }
        }
    }
    state.tally.add("dead letters", state.watch.buried.len() as u64);
    let Watch { buried, passed, .. } = &state.watch;
    let wrong = [
        (&bad - buried, "has no dead letter"),
        (&bad & passed, "was passed before it had a dead letter"),
        (buried - &bad, "is a dead letter, and nothing is wrong with it"),
    ];
    for (reads, what) in wrong {
        for read in reads {
            state.watch.violate("I-8", None, format!("{read:?} {what}"));
        }
    }
}

/// Our services, and what they read.
fn readers(plan: &Plan) -> Vec<(Service, &'static [EventType])> {
    let all = [
        (plan.foreign.order, Service::Order, order_service::messages::READS),
        (plan.foreign.payment, Service::Payment, payment_service::messages::READS),
        (plan.foreign.inventory, Service::Inventory, inventory_service::messages::READS),
        (false, Service::Notification, notification_service::messages::READS),
    ];
    all.into_iter().filter(|(is_foreign, ..)| !is_foreign).map(|(_, service, reads)| (service, reads)).collect()
}

/// What the run has shown.
fn count(state: &mut State, books: &Books) {
    for Ending { stage, code, .. } in books.endings.values() {
        state.tally.count(&format!("orders that ended {} {code}", stage.name()));
    }
    let refunds = state.ledger.refunds.len() as u64;
    state.tally.add("refunds", refunds);
    let released = books.reservations.values().filter(|reservation| reservation.state.stage == Held::Released).count();
    state.tally.add("reservations released", released as u64);
    let superseded = books.notices.values().flat_map(|notices| &notices.state.0);
    let superseded = superseded.filter(|notice| notice.status == Status::Superseded).count();
    state.tally.add("notices superseded", superseded as u64);
}
