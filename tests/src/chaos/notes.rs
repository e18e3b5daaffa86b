//! What happened in a run, when, and what was wrong.

use super::Run;
use super::fleet::Place;
use crate::programs::SERVICES;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How often progress is shown where there is no terminal.
const PERIOD: Duration = Duration::from_secs(5);

/// Something that must not be.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    /// Whose, if an order's.
    pub(super) order: Option<Uuid>,
    /// What.
    pub(super) what: String,
}

/// All that was noted.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// What happened, and when.
    pub(super) events: Vec<(Duration, String)>,
    /// Faults by kind.
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// How long it took after a start until a new order was confirmed, by service.
    pub(super) progress: BTreeMap<&'static str, Vec<Duration>>,
    /// What was measured besides, in words.
    pub(super) facts: Vec<String>,
    /// What was wrong.
    pub(super) problems: Vec<Problem>,
}

/// A run's notes, shared.
#[derive(Debug)]
pub(super) struct Notes {
    started: Instant,
    noted: Mutex<Noted>,
}

impl Default for Notes {
    fn default() -> Self {
        Notes { started: Instant::now(), noted: Mutex::default() }
    }
}

impl Notes {
    /// All of them.
    pub(super) fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the run has been going.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Something happened.
    pub(super) fn say(&self, what: impl Into<String>) {
        self.lock().events.push((self.elapsed(), what.into()));
    }

    /// A fault was injected.
    pub(super) fn fault(&self, kind: &'static str, whom: &str) {
        *self.lock().faults.entry(kind).or_default() += 1;
        self.say(format!("{kind} {whom}"));
    }

    /// So long it took after the start of a replica until a new order was confirmed.
    pub(super) fn progress(&self, place: Place, took: Duration) {
        self.lock().progress.entry(SERVICES[place.service() as usize].1).or_default().push(took);
    }

    /// Something was measured.
    pub(super) fn fact(&self, what: impl Into<String>) {
        self.lock().facts.push(what.into());
    }

    /// Something is wrong.
    pub(super) fn problem(&self, what: impl Into<String>) {
        self.problems([(None, what.into())]);
    }

    /// Something is wrong with these orders.
    pub(super) fn problems(&self, problems: impl IntoIterator<Item = (Option<Uuid>, String)>) {
        for (order, what) in problems {
            self.say(format!("PROBLEM: {what}"));
            self.lock().problems.push(Problem { order, what });
        }
    }
}

/// Shows how a run comes along, until it is dropped.
pub(super) async fn show(run: Arc<Run>) {
    let is_terminal = std::io::stderr().is_terminal();
    let style =
        ProgressStyle::with_template("{spinner} {elapsed} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = if is_terminal { ProgressBar::new_spinner().with_style(style) } else { ProgressBar::hidden() };
    let mut ticks = tokio::time::interval(if is_terminal { Duration::from_millis(250) } else { PERIOD });
    loop {
        ticks.tick().await;
        let line = line(&run);
        if is_terminal {
            bar.set_message(line);
            bar.tick();
        } else {
            println!("{:>4} s  {line}", run.notes.elapsed().as_secs());
        }
    }
}

fn line(run: &Run) -> String {
    let (accepted, unknown) = run.tally.sums();
    let seen = run.watch.seen();
    let noted = run.notes.lock();
    let faults: Vec<String> = noted.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let left = run.options.seconds().saturating_sub(run.notes.elapsed().as_secs());
    format!(
        "{left} s left; accepted {accepted}, unknown {unknown}, final {}, pending {}; problems {}; faults: {}",
        seen.finals,
        seen.pending,
        noted.problems.len(),
        if faults.is_empty() { "none yet".to_owned() } else { faults.join(", ") }
    )
}
