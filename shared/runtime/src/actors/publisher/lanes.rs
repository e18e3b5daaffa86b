//! What the publisher holds, as a value: per order the events that wait behind the one that is on its way.

use crate::backoff::Backoff;
use crate::saga::Outgoing;
use crate::store::OutboxKey;
use contracts::OrderId;
use ractor::RpcReplyPort;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use tokio::time::Instant;

/// What is on its way.
#[derive(Debug)]
pub struct Lanes {
    /// Per order of which an event is on its way, those that wait behind it.
    lanes: HashMap<OrderId, VecDeque<Outgoing>>,
    /// The events that the log is given next.
    pub(super) waiting: Vec<Outgoing>,
    /// They wait for [`PublisherMessage::Append`](super::PublisherMessage::Append).
    pub(super) paused: bool,
    /// What is held, or was sent and may still be in the table, or in a page that is being read.
    pub(super) known: HashSet<OutboxKey>,
    /// Of the values that are held.
    pub(super) bytes: usize,
    /// Sent, and still in the table.
    pub(super) sent: Vec<OutboxKey>,
    /// Deleted since the last read began, which may have seen them.
    pub(super) gone: Vec<OutboxKey>,
    /// Rows were left in the table that are before others: none are taken but from there, until all are held.
    pub(super) behind: bool,
    /// Rows were left in the table since the running lap through it began.
    pub(super) missed: bool,
    /// The last row of the last page, if there are more.
    pub(super) cursor: Option<OutboxKey>,
    /// Rows of the running lap were taken on, or may have to be soon.
    pub(super) found: bool,
    /// When the log last took something.
    pub(super) appended_at: Option<Instant>,
    pub(super) counted_at: Option<Instant>,
    /// Nothing waited when it was last counted.
    pub(super) idle: bool,
    pub(super) backoff: Backoff,
    pub(super) flushes: Vec<RpcReplyPort<()>>,
}

/// The place of a row.
pub(super) fn key(row: &Outgoing) -> OutboxKey {
    (row.order, row.version, row.n)
}

impl Lanes {
    pub(super) fn new() -> Self {
        Lanes {
            lanes: HashMap::new(),
            waiting: Vec::new(),
            paused: false,
            known: HashSet::new(),
            bytes: 0,
            sent: Vec::new(),
            gone: Vec::new(),
            // What another incarnation held is somewhere in the table.
            behind: true,
            missed: false,
            cursor: None,
            found: false,
            appended_at: None,
            counted_at: None,
            idle: false,
            backoff: Backoff::default(),
            flushes: Vec::new(),
        }
    }

    /// Takes rows on that are next in their orders. Returns those that nothing is before.
    pub(super) fn take(&mut self, rows: Vec<Outgoing>) -> Vec<Outgoing> {
        let mut first = Vec::new();
        for row in rows.into_iter() {
            if !self.known.insert(key(&row)) {
                continue;
            }
            self.bytes += row.value.len();
            match self.lanes.entry(row.order) {
                Entry::Occupied(lane) => lane.into_mut().push_back(row),
                Entry::Vacant(lane) => {
                    lane.insert(VecDeque::new());
                    first.push(row);
                }
            }
        }
        first
    }

    /// The log has these. Returns those that are next in their orders.
    pub(super) fn appended(&mut self, rows: &[Outgoing]) -> Vec<Outgoing> {
        self.sent.extend(rows.iter().map(key));
        let mut next = Vec::new();
        for row in rows {
            match self.lanes.get_mut(&row.order).and_then(VecDeque::pop_front) {
                Some(row) => next.push(row),
                None => drop(self.lanes.remove(&row.order)),
            }
        }
        next
    }

    /// What is gone from the table is not held any more.
    pub(super) fn forget_gone(&mut self) {
        for key in std::mem::take(&mut self.gone) {
            self.known.remove(&key);
        }
    }

    pub(super) fn answer_flushes(&mut self) {
        if self.known.len() == self.gone.len() {
            for flush in self.flushes.drain(..) {
                // Who asked may have given up.
                let _ = flush.send(());
            }
        }
    }
}
