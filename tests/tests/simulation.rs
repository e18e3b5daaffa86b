//! The whole system in virtual time: many seeds, each a run with faults of its own, each checked against every
//! invariant. `SEEDS=n` runs so many, `SEED=x` runs one and tells its story.

use e2e::simulation::plan::Plan;
use e2e::simulation::tally::Tally;
use e2e::simulation::{Report, run};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Runs without `SEEDS` in the environment.
const SEEDS: u64 = 1_000;

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
