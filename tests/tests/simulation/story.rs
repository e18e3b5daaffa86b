//! The story of a run: what happened, when, to whom.

use contracts::OrderId;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};

struct Line {
    at: u64,
    who: String,
    order: Option<OrderId>,
    what: String,
}

/// The story of a run.
#[derive(Default)]
pub(super) struct Story {
    lines: Vec<Line>,
    names: BTreeMap<OrderId, usize>,
}

impl Story {
    /// Adds a line.
    pub(super) fn add(&mut self, at: u64, who: &dyn Display, order: Option<OrderId>, what: String) {
        self.lines.push(Line { at, who: who.to_string(), order, what });
    }

    /// A short name for an order.
    pub(super) fn name(&mut self, order: OrderId) -> String {
        let next = self.names.len() + 1;
        format!("#{}", self.names.entry(order).or_insert(next))
    }

    /// The whole story, or that of one order with what belongs to none.
    pub(super) fn text(&mut self, only: Option<OrderId>) -> String {
        let mut text = String::new();
        let lines = std::mem::take(&mut self.lines);
        for line in lines.iter().filter(|line| only.is_none() || line.order.is_none() || line.order == only) {
            let order = line.order.map_or(String::new(), |order| self.name(order));
            writeln!(text, "{:>9} ms  {:<16} {order:<4} {}", line.at, line.who, line.what)
                .expect("writing to a string");
        }
        self.lines = lines;
        text
    }
}
