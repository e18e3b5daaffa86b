//! The event log as a process sees it: what it writes. What it reads is in [`super::client`].

use super::client::{Client, Seat, SimMember};
use super::log::order_of;
use super::mutation::Mutation;
use super::point::Point;
use super::process::Process;
use super::watch::Watch;
use super::world::World;
use async_trait::async_trait;
use e2e::api::Service;
use runtime::event_log::{DEAD_LETTER_SUFFIX, Deliveries, EventLog, LogError, NewRecord, Partition, Subscription};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use strum::VariantArray;

/// Records that wait between the client and the consumer.
const WAITING: usize = 8;
/// How often a broker that is away is tried.
const TRY: Duration = Duration::from_millis(50);
/// How late a repeated record comes, at most, in milliseconds.
const LATE: u64 = 3_000;

/// The event log, as a process sees it.
pub(super) struct SimLog {
    pub(super) world: Arc<World>,
    pub(super) process: Arc<Process>,
}

/// Waits while the broker is away.
pub(super) async fn until_back(world: &World) {
    while world.with(|state| state.log.away) {
        tokio::time::sleep(TRY).await;
    }
}

/// Appends a record for good, and lets chance do what chance does to records.
pub(super) fn append(world: &Arc<World>, who: &dyn std::fmt::Display, record: NewRecord) -> (Partition, i64) {
    let record = Arc::new(record);
    let place = put(world, who, &record);
    if !record.topic.ends_with(DEAD_LETTER_SUFFIX) && world.chance(world.plan.faults.duplicate) {
        let (world, late) = (Arc::clone(world), Duration::from_millis(world.draw(LATE)));
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            if !world.with(|state| state.healed) {
                world.count("records appended twice");
                put(&world, &"a producer, again", &record);
            }
        });
    }
    place
}

fn put(world: &World, who: &dyn std::fmt::Display, record: &Arc<NewRecord>) -> (Partition, i64) {
    let now = world.millis();
    let place = world.with(|state| {
        let partition = state.log.append(Arc::clone(record), now);
        let offset = state.log.end(&partition) - 1;
        if state.chance(world.plan.faults.stall) {
            let group = Service::VARIANTS[state.rng.usize(0..4)].name();
            let until = now + state.rng.u64(0..=world.plan.faults.longest_stall);
            if let Some(group) = state.log.groups.get_mut(group) {
                group.stalls.insert(partition.clone(), until);
            }
        }
        state.tally.count("records appended");
        note_burial(&mut state.watch, record);
        let committer = order_of(record).and_then(|order| state.watch.unsent.remove(&(order, record.topic.clone())));
        if committer.is_some_and(|committer| committer != who.to_string()) {
            state.tally.count("events sent by another than committed them");
        }
        (partition, offset)
    });
    world.tell(who, order_of(record), format!("→ {} {}/{}", record.topic, place.0.partition, place.1));
    place
}

/// A dead letter names where it was.
fn note_burial(watch: &mut Watch, letter: &NewRecord) {
    let header = |name: &str| {
        let (_, value) = letter.headers.iter().find(|(key, _)| key == name)?;
        String::from_utf8(value.clone()).ok()
    };
    let original = || {
        let number = header("dlt-original-partition")?.parse().ok()?;
        let offset = header("dlt-original-offset")?.parse().ok()?;
        Some((header("dlt-original-topic")?, number, offset, header("dlt-consumer-group")?))
    };
    if let Some(original) = original() {
        watch.buried.insert(original);
    }
}

impl SimLog {
    async fn send(world: &Arc<World>, process: &Arc<Process>, records: Vec<NewRecord>) {
        for record in records {
            until_back(world).await;
            world.pause(3).await;
            process.gate().await;
            append(world, process, record);
        }
    }

    /// Says that records are on the log before they are.
    fn promise(&self, records: Vec<NewRecord>, survives: bool) {
        let (world, process) = (Arc::clone(&self.world), Arc::clone(&self.process));
        for record in records {
            let (world, process) = (Arc::clone(&world), Arc::clone(&process));
            let late = Duration::from_millis(world.draw(if survives { 300 } else { 2_000 }));
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                if survives {
                    append(&world, &process, record);
                } else {
                    Self::send(&world, &process, vec![record]).await;
                }
            });
        }
    }
}

#[async_trait]
impl EventLog for SimLog {
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<(), LogError>> {
        let (world, process) = (&self.world, &self.process);
        let dead = records.iter().any(|record| record.topic.ends_with(DEAD_LETTER_SUFFIX));
        let (before, after) = match dead {
            true => (Point::BeforeDeadLetter, Point::DeadLettered),
            false => (Point::BeforeAppend, Point::Appended),
        };
        world.pass(process, before).await;
        process.knows_topics.store(true, Ordering::Relaxed);
        let count = records.len();
        let loses =
            world.lacks(if dead { Mutation::OffsetBeforeDeadLetter } else { Mutation::DeletedBeforeAcknowledged });
        let hurries = !dead && world.lacks(Mutation::ManyEventsAtATime);
        if loses || hurries {
            self.promise(records, hurries);
            return vec![Ok(()); count];
        }
        Self::send(world, process, records).await;
        world.pass(process, after).await;
        world.pause(3).await;
        process.gate().await;
        if world.chance(world.plan.faults.log_error) {
            world.tell(process, None, "the log fails".to_owned());
            world.count("errors of the log");
            return vec![Err(LogError("the simulation wants an error".to_owned())); count];
        }
        vec![Ok(()); count]
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Subscription, LogError> {
        let (world, process) = (Arc::clone(&self.world), Arc::clone(&self.process));
        world.pass(&process, Point::Joining).await;
        until_back(&world).await;
        world.pause(100).await;
        process.gate().await;
        process.knows_topics.store(true, Ordering::Relaxed);
        let (deliveries, changes, records) = Deliveries::channel(WAITING);
        let (id, wake) = world.with(|state| {
            let joined = state.log.join(group, topics, Arc::clone(&process));
            state.log.assign(group);
            joined
        });
        let seat = Seat { world, process, group: group.to_owned(), id, committing: AtomicBool::new(false) };
        let seat = Arc::new(seat);
        tokio::spawn(Client { seat: Arc::clone(&seat), deliveries, wake, told: false, told_away: false }.run());
        Ok(Subscription { changes, records, membership: Arc::new(SimMember(seat)) })
    }

    fn partition_of(&self, key: &[u8]) -> Option<i32> {
        let knows = self.process.knows_topics.load(Ordering::Relaxed);
        knows.then(|| self.world.with(|state| state.log.partition_of(key)))
    }
}
