//! What a group member knows of its partitions, as a value.

use crate::acknowledgements::Acknowledgements;
use crate::event_log::{Extent, Membership, Partition, Position};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// What a group member knows.
pub struct Reading {
    /// Also ends with this value.
    pub(super) _feed: AbortOnDropHandle<()>,
    /// Tells the feed to read no more.
    pub(super) quiet: CancellationToken,
    pub(super) member: Option<Arc<dyn Membership>>,
    pub(super) partitions: HashMap<Partition, Progress>,
    pub(super) revoking: Vec<(Vec<Partition>, oneshot::Sender<()>)>,
    /// Who is told what is read, and what is not yet.
    pub(super) catching_up: Vec<(Vec<Extent>, UnboundedSender<i32>)>,
    pub(super) leaving: bool,
    pub(super) lag_asked_at: Option<Instant>,
    /// Held by who asks.
    pub(super) asking_lag: Arc<()>,
    /// The partitions whose lag was last measured.
    pub(super) measured: HashSet<Partition>,
}

/// A partition's records in flight, and everything before them.
#[derive(Default)]
pub(super) struct Progress {
    in_flight: Acknowledgements,
    /// Everything before it is dealt with.
    done: i64,
    /// Since when nothing moved while something was in flight.
    still_since: Option<Instant>,
}

impl Reading {
    fn progress(&mut self, partition: &Partition) -> &mut Progress {
        // Copied only when it is new.
        if !self.partitions.contains_key(partition) {
            self.partitions.insert(partition.clone(), Progress::default());
        }
        self.partitions.get_mut(partition).expect("it is there")
    }

    pub(super) fn begin(&mut self, at: &Position) {
        let progress = self.progress(&at.partition);
        progress.in_flight.begin(at.offset);
        progress.still_since.get_or_insert_with(Instant::now);
    }

    pub(super) fn finish(&mut self, at: &Position) {
        let Some(progress) = self.partitions.get_mut(&at.partition) else { return };
        if let Some(next) = progress.in_flight.finish(at.offset) {
            progress.done = next;
            progress.still_since = (!progress.in_flight.is_idle()).then(Instant::now);
            if let Some(member) = &self.member {
                member.store(&at.partition, next);
            }
        }
        self.let_go();
        self.tell_who_catches_up();
    }

    /// Passes a position at which there is nothing, unless it is passed already.
    pub(super) fn pass(&mut self, at: &Position) {
        let progress = self.progress(&at.partition);
        if progress.in_flight.last().unwrap_or(progress.done - 1) < at.offset {
            self.begin(at);
            self.finish(at);
        }
    }

    /// Gives back the partitions that are to be revoked and have nothing in flight.
    pub(super) fn let_go(&mut self) {
        let partitions = &self.partitions;
        let idle = |revoked: &Partition| partitions.get(revoked).is_none_or(|progress| progress.in_flight.is_idle());
        let ready: Vec<_> = self.revoking.extract_if(.., |(revoked, _)| revoked.iter().all(idle)).collect();
        for (revoked, done) in ready {
            self.partitions.retain(|partition, _| !revoked.contains(partition));
            // A log that waited too long has gone on.
            let _ = done.send(());
        }
    }

    /// Tells those who catch up of the partition numbers in which everything up to some extent is dealt with, on all topics.
    pub(super) fn tell_who_catches_up(&mut self) {
        let partitions = &self.partitions;
        let reached = |extent: &Extent| {
            extent.stored >= extent.end
                || partitions.get(&extent.partition).is_some_and(|progress| progress.done >= extent.end)
        };
        self.catching_up.retain_mut(|(left, read)| {
            let new: BTreeSet<i32> =
                left.extract_if(.., |extent| reached(extent)).map(|extent| extent.partition.partition).collect();
            for number in new {
                if left.iter().all(|extent| extent.partition.partition != number) {
                    let _ = read.send(number);
                }
            }
            // Who asked may have given up.
            !left.is_empty() && !read.is_closed()
        });
    }

    /// How many records of each partition are not dealt with. Partitions that have gone to others are none of ours.
    pub(super) fn measure_lag(&mut self, service: &'static str, extents: &[Extent]) {
        let gauge = |at: &Partition| {
            let labels =
                [("service", service.to_owned()), ("topic", at.topic.clone()), ("partition", at.partition.to_string())];
            metrics::gauge!("kafka_consumer_lag", &labels)
        };
        for extent in extents {
            let done = self.partitions.get(&extent.partition).map_or(0, |progress| progress.done);
            gauge(&extent.partition).set((extent.end - extent.stored.max(done)).max(0) as f64);
        }
        let now: HashSet<Partition> = extents.iter().map(|extent| extent.partition.clone()).collect();
        self.measured.difference(&now).for_each(|gone| gauge(gone).set(0.0));
        self.measured = now;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.partitions.values().all(|progress| progress.in_flight.is_idle())
    }

    /// What stands still has a reason.
    pub(super) fn excuse(&mut self) {
        for progress in self.partitions.values_mut().filter(|progress| progress.still_since.is_some()) {
            progress.still_since = Some(Instant::now());
        }
    }

    /// The partition that has stood still for longest, and for how long.
    pub(super) fn stillest(&self) -> Option<(&Partition, Duration)> {
        let still = |(partition, progress): (_, &Progress)| Some((partition, progress.still_since?.elapsed()));
        self.partitions.iter().filter_map(still).max_by_key(|(_, still)| *still)
    }
}
