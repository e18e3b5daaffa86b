//! The whole system in virtual time: many seeds, each a run with faults of its own, each checked against every
//! invariant. `SEEDS=n` runs so many, `SEED=x` runs one and tells its story.

use crate::plan::Plan;
use crate::point::Point;
use crate::run::{Report, run};
use crate::tally::Tally;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use strum::VariantArray;

/// Runs without `SEEDS` in the environment.
const SEEDS: u64 = 1_000;

/// What must have been seen in so many runs, and how often at least: a green run is to mean something.
const SEEN: &[(&str, u64)] = &[
    ("assignments", 5_000),
    ("bad messages", 500),
    ("broker outages", 100),
    ("cancels accepted", 300),
    ("clients broken", 20),
    ("clock jumps", 50),
    ("commits in a deadlock", 200),
    ("commits whose answer was lost", 300),
    ("conflicts of versions", 2_000),
    ("database outages", 150),
    ("dead letters", 500),
    ("errors of the log", 20),
    ("events sent by another than committed them", 50),
    ("foreign events repeated under new ids", 300),
    ("notices not delivered", 50),
    ("notices superseded", 5),
    ("orders accepted", 2_000),
    ("orders placed at a foreign order-service", 200),
    ("orders that ended CANCELLED CANCELLED", 300),
    ("orders that ended CONFIRMED ", 1_000),
    ("orders that ended FAILED INVENTORY_TIMEOUT", 15),
    ("orders that ended FAILED OUT_OF_STOCK", 300),
    ("orders that ended FAILED PAYMENT_DECLINED", 200),
    ("orders that ended FAILED PAYMENT_TIMEOUT", 50),
    ("partitions revoked", 3_000),
    ("parts panicked", 10),
    ("processes frozen", 150),
    ("processes killed", 1_000),
    ("processes stopped", 150),
    ("provider: no outcome", 500),
    ("provider: refund failed", 300),
    ("records appended twice", 200),
    ("refunds", 800),
    ("reservations released", 150),
];

/// How often a process must have been killed at each point.
const KILLED: u64 = 10;

fn check_not_vacuous(tally: &Tally) {
    for (what, least) in SEEN {
        assert!(tally.seen(what) >= *least, "{what} was seen {} times, and is to be seen {least}", tally.seen(what));
    }
    for point in Point::VARIANTS {
        assert!(tally.crashes(*point) >= KILLED, "only {} processes were killed at {point:?}", tally.crashes(*point));
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What somebody needs who looks for the cause.
fn tell(report: &Report) -> String {
    let violations: Vec<String> = report.violations.iter().map(|violation| format!("{violation:?}")).collect();
    format!("{}\n{}\n\n{}", report.plan, violations.join("\n"), report.story)
}

#[test]
fn every_invariant_holds_in_every_run() {
    if let Some(seed) = number("SEED") {
        let report = run(&Plan::of(seed));
        println!("{}\n{}", tell(&report), report.tally);
        assert!(report.violations.is_empty(), "seed {seed} violates {:?}", report.violations);
        return;
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let (next, tally, failed) = (AtomicU64::new(0), Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    let started = Instant::now();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            let report = run(&Plan::of(seed));
            tally.lock().expect("no panic").merge(&report.tally);
            if !report.violations.is_empty() {
                println!("seed {seed}: {:?}", report.violations[0]);
                failed.lock().expect("no panic").push((seed, tell(&report)));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let tally = tally.into_inner().expect("no panic");
    println!("{tally}{seeds} seeds in {} ms", started.elapsed().as_millis());
    let mut failed = failed.into_inner().expect("no panic");
    failed.sort();
    if seeds >= SEEDS {
        check_not_vacuous(&tally);
    }
    let seeds: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "{} seeds failed: {seeds:?}\n{}", seeds.len(), failed[0].1);
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in [3, 7, 1_234_567] {
        let stories = [0, 1].map(|_| run(&Plan::of(seed)).story);
        assert!(stories[0].lines().count() > 20, "seed {seed} tells nothing");
        let differ = stories[0].lines().zip(stories[1].lines()).find(|(one, other)| one != other);
        assert!(stories[0] == stories[1], "seed {seed} is two stories, from here on: {differ:?}");
    }
}
