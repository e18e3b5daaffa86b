//! What was seen over many runs, so that a green result means something.

use super::point::Point;
use std::collections::BTreeMap;
use std::fmt;
use strum::VariantArray;

/// Counts of what was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    seen: BTreeMap<String, u64>,
    passed: BTreeMap<Point, u64>,
    crashed: BTreeMap<Point, u64>,
}

impl Tally {
    /// Counts something.
    pub(crate) fn count(&mut self, what: &str) {
        self.add(what, 1);
    }

    /// Counts something so many times.
    pub(crate) fn add(&mut self, what: &str, times: u64) {
        match self.seen.get_mut(what) {
            Some(count) => *count += times,
            None => drop(self.seen.insert(what.to_owned(), times)),
        }
    }

    /// A process came to this point.
    pub(crate) fn pass(&mut self, point: Point) {
        *self.passed.entry(point).or_default() += 1;
    }

    /// A process was killed at this point.
    pub(crate) fn crash(&mut self, point: Point) {
        *self.crashed.entry(point).or_default() += 1;
    }

    /// Adds the counts of another run.
    pub(crate) fn merge(&mut self, other: &Tally) {
        let add = |into: &mut BTreeMap<Point, u64>, from: &BTreeMap<Point, u64>| {
            for (point, count) in from {
                *into.entry(*point).or_default() += count;
            }
        };
        add(&mut self.passed, &other.passed);
        add(&mut self.crashed, &other.crashed);
        for (what, count) in &other.seen {
            self.add(what, *count);
        }
    }

    /// How often this was seen.
    pub(crate) fn seen(&self, what: &str) -> u64 {
        self.seen.get(what).copied().unwrap_or(0)
    }

    /// How often a process was killed at this point.
    pub(crate) fn crashes(&self, point: Point) -> u64 {
        self.crashed.get(&point).copied().unwrap_or(0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.seen {
            writeln!(f, "{what:<44} {count:>9}")?;
        }
        writeln!(f, "{:<44} {:>9} {:>9}", "killed at, and passed", "killed", "passed")?;
        for point in Point::VARIANTS {
            let passed = self.passed.get(point).copied().unwrap_or(0);
            writeln!(f, "  {:<42} {:>9} {passed:>9}", format!("{point:?}"), self.crashes(*point))?;
        }
        Ok(())
    }
}
