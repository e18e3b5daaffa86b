//! A topic of the embedded log, as its readers see it.

use crate::event_log::Record;
use std::collections::VecDeque;
use std::sync::Arc;

/// What is kept in memory of a topic, for the readers that keep up, in bytes.
const RECENT: usize = 1024 * 1024;

/// What is in a topic, as far as it is committed.
#[derive(Default)]
pub(super) struct Topic {
    /// Where the next record goes.
    pub(super) end: i64,
    /// The last records, without a gap.
    recent: VecDeque<Arc<Record>>,
    bytes: usize,
}

impl Topic {
    /// Up to here, and nothing of it in memory.
    pub(super) fn up_to(end: i64) -> Self {
        Topic { end, ..Topic::default() }
    }

    /// Adds the record that was committed next.
    pub(super) fn push(&mut self, record: Arc<Record>) {
        self.end = record.at.offset + 1;
        self.bytes += size(&record);
        self.recent.push_back(record);
        while self.bytes > RECENT
            && let Some(oldest) = self.recent.pop_front()
        {
            self.bytes -= size(&oldest);
        }
    }

    /// The records from this position on, if they are all here.
    pub(super) fn since(&self, position: i64) -> Option<Vec<Arc<Record>>> {
        let first = self.recent.front()?.at.offset;
        let skipped = usize::try_from(position - first).ok()?;
        Some(self.recent.iter().skip(skipped).cloned().collect())
    }
}

fn size(record: &Record) -> usize {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    size_of::<Record>() + length(&record.key) + length(&record.value) + headers
}
