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

/// After how long without a movement a partition is taken to stand still, and others need not wait for it.
const STILL: Duration = Duration::from_secs(5);

/// What a group member knows.
pub struct Reading {
    /// Also ends with this value.
    pub(super) _feed: AbortOnDropHandle<()>,
    /// Tells the feed to read no more.
    pub(super) quiet: CancellationToken,
    pub(super) member: Option<Arc<dyn Membership>>,
    pub(super) partitions: HashMap<Partition, Progress>,
    pub(super) revoking: Vec<(Vec<Partition>, oneshot::Sender<()>)>,
    pub(super) catching_up: Vec<CatchingUp>,
    pub(super) leaving: bool,
    pub(super) lag_asked_at: Option<Instant>,
    /// Held by who asks.
    pub(super) asking_lag: Arc<()>,
    /// The partitions whose lag was last measured.
    pub(super) measured: HashSet<Partition>,
}

/// Somebody who waits until what was on the log is dealt with.
pub(super) struct CatchingUp {
    /// Where it is not.
    left: Vec<Extent>,
    /// The partition numbers in which some is, and that were not told.
    read: BTreeSet<i32>,
    tell: UnboundedSender<i32>,
}

/// A partition's records in flight, and everything before them.
pub(super) struct Progress {
    in_flight: Acknowledgements,
    /// Everything before it is dealt with.
    done: i64,
    /// Somebody has waited for everything before it.
    wanted: i64,
    /// When it last moved, or had a reason not to.
    moved_at: Instant,
}

impl Progress {
    fn new() -> Self {
        Progress { in_flight: Acknowledgements::default(), done: 0, wanted: 0, moved_at: Instant::now() }
    }
}

impl Reading {
    pub(super) fn new(feed: AbortOnDropHandle<()>, quiet: CancellationToken) -> Self {
        Reading {
            _feed: feed,
            quiet,
            member: None,
            partitions: HashMap::new(),
            revoking: Vec::new(),
            catching_up: Vec::new(),
            leaving: false,
            lag_asked_at: None,
            asking_lag: Arc::default(),
            measured: HashSet::new(),
        }
    }

    fn progress(&mut self, partition: &Partition) -> &mut Progress {
        // Copied only when it is new.
        if !self.partitions.contains_key(partition) {
            self.partitions.insert(partition.clone(), Progress::new());
        }
        self.partitions.get_mut(partition).expect("it is there")
    }

    pub(super) fn begin(&mut self, at: &Position) {
        let progress = self.progress(&at.partition);
        if progress.in_flight.is_idle() {
            progress.moved_at = Instant::now();
        }
        progress.in_flight.begin(at.offset);
    }

    pub(super) fn finish(&mut self, at: &Position) {
        let Some(progress) = self.partitions.get_mut(&at.partition) else { return };
        if let Some(next) = progress.in_flight.finish(at.offset) {
            progress.done = next;
            progress.moved_at = Instant::now();
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

    /// Somebody waits until everything up to these extents is dealt with.
    pub(super) fn catch_up(&mut self, extents: Vec<Extent>, tell: UnboundedSender<i32>) {
        for extent in &extents {
            let progress = self.progress(&extent.partition);
            if progress.wanted <= extent.stored.max(progress.done) {
                // Until now there was nothing to move for.
                progress.moved_at = Instant::now();
            }
            progress.wanted = progress.wanted.max(extent.end);
        }
        self.catching_up.push(CatchingUp { left: extents, read: BTreeSet::new(), tell });
        self.tell_who_catches_up();
    }

    /// Tells those who catch up of the partition numbers in which everything is dealt with, on all topics, once no other is
    /// still on the way to its extent: the event that an order waits for may be in a partition of another number, where a foreign
    /// producer has put it. One that stands still holds nobody up but its own.
    pub(super) fn tell_who_catches_up(&mut self) {
        let partitions = &self.partitions;
        let progress = |extent: &Extent| partitions.get(&extent.partition);
        let reached = |extent: &Extent| {
            extent.stored >= extent.end || progress(extent).is_some_and(|progress| progress.done >= extent.end)
        };
        let moves = |extent: &Extent| progress(extent).is_some_and(|progress| progress.moved_at.elapsed() < STILL);
        self.catching_up.retain_mut(|CatchingUp { left, read, tell }| {
            read.extend(left.extract_if(.., |extent| reached(extent)).map(|extent| extent.partition.partition));
            if !left.iter().any(moves) {
                let is_whole = |number: &i32| left.iter().all(|extent| extent.partition.partition != *number);
                for number in read.extract_if(.., is_whole) {
                    // Who asked may have given up.
                    let _ = tell.send(number);
                }
            }
            !left.is_empty() && !tell.is_closed()
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
        self.partitions.values_mut().for_each(|progress| progress.moved_at = Instant::now());
    }

    /// The partition that has stood still for longest with something in flight, and for how long.
    pub(super) fn stillest(&self) -> Option<(&Partition, Duration)> {
        let busy = self.partitions.iter().filter(|(_, progress)| !progress.in_flight.is_idle());
        busy.map(|(partition, progress)| (partition, progress.moved_at.elapsed())).max_by_key(|(_, still)| *still)
    }
}
