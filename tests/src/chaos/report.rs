//! What a run has to say.

use super::Run;
use super::notes::{Noted, Problem};
use crate::appended::{Appended, Event};
use crate::audit::Audited;
use anyhow::Result;
use order_service::saga::Stage;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::time::Duration;
use uuid::Uuid;

/// Problems that are told one by one.
const TOLD: usize = 30;

/// The result of a run.
#[derive(Debug)]
pub(super) struct Report {
    heading: String,
    settings: Vec<(&'static str, String)>,
    accepted: usize,
    unknown: BTreeMap<String, u64>,
    ends: BTreeMap<String, usize>,
    /// Records on the topics.
    pub(super) records: usize,
    /// Records that say what another one had said.
    pub(super) duplicates: usize,
    backlog: Duration,
    faults: BTreeMap<&'static str, u64>,
    progress: BTreeMap<&'static str, Vec<Duration>>,
    facts: Vec<String>,
    happened: Vec<(Duration, String)>,
    /// What was wrong.
    pub(super) problems: Vec<Problem>,
    /// What is known of that.
    pub(super) stories: Vec<String>,
}

impl Report {
    /// Without what was noted: see [`Report::take`].
    pub(super) fn new(
        run: &Run,
        audited: Option<&Audited>,
        records: &[Appended],
        events: &HashMap<Uuid, Event>,
        backlog: Duration,
    ) -> Self {
        let mut ends = BTreeMap::new();
        for order in audited.iter().flat_map(|audited| audited.orders.values()) {
            let code = order.state.reason.as_ref().map_or("", |reason| reason.code.as_str());
            let end = format!("{:?} {code}", order.state.stage);
            *ends.entry(end.trim_end().to_owned()).or_default() += 1;
        }
        let options = &run.options;
        let count = run.tally.lock();
        Report {
            heading: format!("Chaos: {}", options.scenario),
            settings: vec![
                ("seed", options.seed.to_string()),
                ("replicas", options.replicas().to_string()),
                ("seconds", options.seconds().to_string()),
                ("orders per second", options.rate().to_string()),
                ("KAFKA_INSTANCE_ID", (if options.dynamic { "unset" } else { "set" }).to_owned()),
                ("payment provider", (if run.sandbox.is_some() { "payment-sandbox" } else { "stub" }).to_owned()),
            ],
            accepted: count.accepted.len(),
            unknown: count.unknown.clone(),
            ends,
            records: records.len(),
            duplicates: records.len().saturating_sub(events.len()),
            backlog,
            faults: BTreeMap::new(),
            progress: BTreeMap::new(),
            facts: Vec::new(),
            happened: Vec::new(),
            problems: Vec::new(),
            stories: Vec::new(),
        }
    }

    /// Takes what was noted.
    pub(super) fn take(&mut self, mut noted: impl std::ops::DerefMut<Target = Noted>) {
        let noted = std::mem::take(&mut *noted);
        (self.faults, self.facts, self.happened) = (noted.faults, noted.facts, noted.events);
        (self.progress, self.problems) = (noted.progress, noted.problems);
        self.progress.values_mut().for_each(|times| times.sort());
    }

    /// Whether nothing was wrong.
    pub(super) fn is_well(&self) -> bool {
        self.problems.is_empty()
    }

    /// How many orders ended so.
    pub(super) fn ended(&self, stage: Stage) -> usize {
        let name = format!("{stage:?}");
        let of = self.ends.iter().filter(|(end, _)| end.split(' ').next() == Some(&name));
        of.map(|(_, count)| count).sum()
    }

    /// As Markdown that reads well as it is.
    pub(super) fn text(&self) -> String {
        let mut text = format!("\n# {}: {}\n\n", self.heading, if self.is_well() { "all is well" } else { "PROBLEMS" });
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "- {name}: {value}");
        };
        for (name, value) in &self.settings {
            row(name, value.clone());
        }
        row("faults", listed(&self.faults));
        row("orders accepted (202)", self.accepted.to_string());
        row("POSTs without a clear answer", listed(&self.unknown));
        row("ends", listed(&self.ends));
        row("records on the topics", format!("{}, of which {} are duplicates", self.records, self.duplicates));
        for (service, times) in &self.progress {
            let [median, high, max] = [50, 95, 100].map(|percent| times[(times.len() - 1) * percent / 100]);
            let count = times.len();
            let times = format!("median {median:.1?}, 95 % {high:.1?}, longest {max:.1?} ({count} starts)");
            row(&format!("from a start of {service}-service until a new order was confirmed"), times);
        }
        row("from the healing until all was read and final", format!("{:.1?}", self.backlog));
        for fact in &self.facts {
            row("measured", fact.clone());
        }
        if !self.is_well() {
            let _ = writeln!(text, "\n## What happened\n");
            for (at, what) in self.happened.iter().filter(|(_, what)| !what.starts_with("PROBLEM")) {
                let _ = writeln!(text, "- {:>6.1} s {what}", at.as_secs_f32());
            }
            let _ = writeln!(text, "\n## What is known of the problems\n\n```text\n{}\n```", self.stories.join("\n"));
            // Last, since the end of a long output is what one sees.
            let _ = writeln!(text, "\n## {} problems\n", self.problems.len());
            for problem in self.problems.iter().take(TOLD) {
                let _ = writeln!(text, "- {}", problem.what);
            }
        }
        text
    }

    /// As JSON.
    pub(super) fn json(&self) -> Result<String> {
        let millis = |duration: &Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let progress: BTreeMap<_, Vec<_>> =
            self.progress.iter().map(|(service, times)| (service, times.iter().map(millis).collect())).collect();
        Ok(serde_json::to_string_pretty(&json!({
            "title": self.heading,
            "well": self.is_well(),
            "settings": self.settings.iter().cloned().collect::<BTreeMap<_, _>>(),
            "faults": self.faults,
            "accepted": self.accepted,
            "unknown": self.unknown,
            "ends": self.ends,
            "records": self.records,
            "duplicates": self.duplicates,
            "progressMillis": progress,
            "backlogMillis": millis(&self.backlog),
            "facts": self.facts,
            "problems": self.problems.iter().map(|problem| problem.what.clone()).collect::<Vec<_>>(),
            "stories": self.stories,
        }))?)
    }
}

fn listed<K: std::fmt::Display, V: std::fmt::Display>(counts: &BTreeMap<K, V>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}
