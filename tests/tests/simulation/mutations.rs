//! The mutation gate: our services without one of their safety mechanisms at a time. Each must be noticed by the
//! simulation, or the simulation proves nothing.
//!
//! Mechanisms cover for one another, so each mutation has a configuration in which nothing covers for it.

use crate::mutation::Mutation;
use crate::plan::{Faults, Foreign, Plan};
use crate::point::Point;
use crate::run::run;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use strum::VariantArray;

/// Within so many seeds a mutation has to be noticed.
const SEEDS: u64 = 200;

/// The plan in which nothing covers for what is missing.
fn plan(mutation: Mutation, seed: u64) -> Plan {
    let mut plan = Plan::of(seed);
    plan.foreign = Foreign::default();
    plan.deadline = None;
    plan.mutation = Some(mutation);
    plan.faults = Faults { crashes: 4, ..Faults::default() };
    let Plan { faults, foreign, replicas, deadline, .. } = &mut plan;
    match mutation {
        Mutation::NoDuplicateCheck => (faults.duplicate, faults.stall, faults.longest_stall) = (500, 0, 0),
        Mutation::NoVersionGuard | Mutation::FoundRowsWait => {
            *replicas = [3, 1, 1, 1];
            (faults.lost_answer, faults.broker_outages, faults.churn) = (50, 2, 3);
            plan.cancelled = 60;
        }
        Mutation::DeletedBeforeAcknowledged => (faults.kills, faults.crash) = (4, 5),
        Mutation::OffsetsAtDelivery => (faults.kills, faults.deadlock) = (8, 700),
        Mutation::NewKeyForEveryCall => faults.no_outcome = 300,
        Mutation::NoIntentBeforeCall => faults.focus = Some((Point::Charged, 400)),
        Mutation::PaymentForgetsCloses | Mutation::LateSuccessKept => {
            // An inventory that ignores closes does not ask for the refund either.
            foreign.inventory = true;
            (faults.stall, faults.longest_stall, faults.no_outcome) = (500, 9_000, 500);
            plan.cancelled = 100;
        }
        Mutation::InventoryForgetsCloses | Mutation::NoRelease => {
            (faults.stall, faults.longest_stall) = (500, 9_000);
            plan.cancelled = 100;
        }
        Mutation::InventoryHoldsNothing => (faults.stall, faults.longest_stall) = (500, 9_000),
        Mutation::PaymentHoldsNothing => {
            *foreign = Foreign { order: true, payment: false, inventory: true, repeats: false, hasty: true };
            (faults.stall, faults.longest_stall) = (500, 9_000);
            (plan.stock, plan.orders) = (2, 6);
        }
        Mutation::ManyRefunds => plan.cancelled = 100,
        Mutation::LatePaymentKept => {
            // A foreign payment-service hears of the end in no other way.
            foreign.payment = true;
            (faults.stall, faults.longest_stall) = (500, 9_000);
            plan.cancelled = 100;
        }
        Mutation::ManyEventsAtATime => plan.stock = 2,
        Mutation::DeadlinesDoNotWait => {
            *deadline = Some(1_000);
            (faults.kills, faults.freezes, faults.database_outages) = (3, 2, 3);
            (faults.stall, faults.longest_stall) = (300, 6_000);
        }
        Mutation::NoAdoption => faults.focus = Some((Point::BeforeAppend, 300)),
        Mutation::OffsetBeforeDeadLetter => (faults.bad_messages, faults.focus) = (8, Some((Point::OffsetStored, 300))),
        Mutation::NoStockLock => {
            *replicas = [1, 1, 3, 1];
            (plan.orders, plan.placing, plan.stock, plan.declined) = (12, 30, 20, 0);
        }
        Mutation::NothingIsDue => faults.no_outcome = 300,
        Mutation::OutboxApart => faults.focus = Some((Point::Committed, 300)),
        Mutation::LostAnswersForgotten => faults.lost_answer = 100,
    }
    plan
}

/// The first seed that notices it, and what it notices.
fn noticed(mutation: Mutation) -> Option<(u64, String)> {
    (0..SEEDS).find_map(|seed| {
        let report = run(&plan(mutation, seed));
        let violation = report.violations.first()?;
        Some((seed, format!("{}: {}", violation.rule, violation.what)))
    })
}

#[test]
fn every_missing_safety_mechanism_is_noticed() {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let work = || {
        while let Some(mutation) = Mutation::VARIANTS.get(next.fetch_add(1, Ordering::Relaxed)) {
            let noticed = noticed(*mutation);
            found.lock().expect("no panic").push((*mutation, noticed));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut found = found.into_inner().expect("no panic");
    found.sort();
    println!("| without | noticed by seed | as |\n|---|---|---|");
    for (mutation, noticed) in &found {
        let (seed, what) =
            noticed.clone().map_or(("-".to_owned(), "nothing".to_owned()), |(seed, what)| (seed.to_string(), what));
        println!("| {mutation:?} | {seed} | {what} |");
    }
    let unnoticed: Vec<_> =
        found.iter().filter(|(_, noticed)| noticed.is_none()).map(|(mutation, _)| mutation).collect();
    assert!(unnoticed.is_empty(), "nobody notices the lack of {unnoticed:?}");
}

#[test]
fn what_the_mutations_are_tried_under_is_harmless_without_them() {
    for mutation in Mutation::VARIANTS {
        for seed in 0..3 {
            let whole = Plan { mutation: None, ..plan(*mutation, seed) };
            let report = run(&whole);
            assert!(report.violations.is_empty(), "{whole}\n{:?}\n{}", report.violations, report.story);
        }
    }
}
