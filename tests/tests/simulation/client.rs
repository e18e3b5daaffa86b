//! A member of a group: the client that reads the log for a process.

use super::log::{Log, Member, Standing};
use super::mutation::Mutation;
use super::point::Point;
use super::process::Process;
use super::producer::until_back;
use super::world::World;
use async_trait::async_trait;
use runtime::event_log::{Change, Deliveries, Extent, LogError, Membership, Partition, Record};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// How long a revoke waits for what is in flight.
const REVOKE_WAIT: Duration = Duration::from_secs(5);
/// The longest pause before stored offsets are committed, in milliseconds.
const AUTO_COMMIT: u64 = 500;

/// A member's place in its group.
pub(super) struct Seat {
    pub(super) world: Arc<World>,
    pub(super) process: Arc<Process>,
    pub(super) group: String,
    pub(super) id: u64,
    /// Stored offsets are going to be committed.
    pub(super) committing: AtomicBool,
}

impl Seat {
    /// Does something with the member, if it is still in the group.
    fn with<T>(&self, f: impl FnOnce(&mut Member) -> T) -> Option<T> {
        self.world.with(|state| state.log.groups.get_mut(&self.group)?.members.get_mut(&self.id).map(f))
    }

    /// Commits what is stored, unless the group has gone on without this member.
    fn commit(&self) {
        self.world.with(|state| {
            let Some(group) = state.log.groups.get_mut(&self.group) else { return };
            let Some(member) = group.members.get_mut(&self.id) else { return };
            let stored = std::mem::take(&mut member.stored);
            if member.standing == Standing::Expelled {
                return;
            }
            for (partition, next) in stored {
                let from = group.offsets.insert(partition.clone(), next).unwrap_or(0);
                state.watch.passed(&self.group, &partition, from..next);
            }
        });
    }

    async fn commit_soon(self: Arc<Self>) {
        tokio::time::sleep(Duration::from_millis(self.world.draw(AUTO_COMMIT))).await;
        until_back(&self.world).await;
        self.world.pass(&self.process, Point::BeforeOffset).await;
        self.committing.store(false, Ordering::Relaxed);
        self.commit();
        self.world.pass(&self.process, Point::OffsetStored).await;
    }

    /// Notes that everything before `next` is dealt with.
    fn store(self: &Arc<Self>, partition: &Partition, next: i64) {
        let is_noted = self.with(|member| {
            let is_mine = member.positions.contains_key(partition);
            if is_mine {
                member.stored.insert(partition.clone(), next);
            }
            is_mine
        });
        if is_noted == Some(true) && !self.committing.swap(true, Ordering::Relaxed) {
            tokio::spawn(Arc::clone(self).commit_soon());
        }
    }

    fn leave(&self) {
        self.commit();
        self.world.with(|state| remove(&mut state.log, &self.group, self.id));
    }
}

fn remove(log: &mut Log, name: &str, id: u64) {
    if let Some(group) = log.groups.get_mut(name)
        && let Some(member) = group.members.remove(&id)
    {
        member.wake.notify_one();
        group.rebalance();
    }
    log.assign(name);
}

/// The session of a process has ended: its group goes on without it.
pub(super) fn evict(world: &World, process: &Arc<Process>) {
    world.with(|state| {
        let name = process.service.name();
        let Some(group) = state.log.groups.get_mut(name) else { return };
        for member in group.members.values_mut().filter(|member| Arc::ptr_eq(&member.process, process)) {
            // It learns of that, and of what it has lost, when it is back.
            member.standing = Standing::Expelled;
            member.wake.notify_one();
        }
        group.rebalance();
        state.log.assign(name);
    });
}

/// A group's member, as its process sees it.
pub(super) struct SimMember(pub(super) Arc<Seat>);

#[async_trait]
impl Membership for SimMember {
    fn store(&self, partition: &Partition, next: i64) {
        self.0.store(partition, next);
    }

    async fn extents(&self) -> Result<Vec<Extent>, LogError> {
        let Seat { world, process, group, id, .. } = self.0.as_ref();
        process.gate().await;
        world.pause(20).await;
        process.gate().await;
        if world.lacks(Mutation::DeadlinesDoNotWait) {
            let all = Extent { partition: Partition { topic: String::new(), partition: 0 }, stored: 0, end: 0 };
            return Ok(vec![all]);
        }
        world.with(|state| {
            if state.log.away {
                return Err(LogError("the broker does not answer".to_owned()));
            }
            let known = state.log.groups.get(group).and_then(|group| Some((group, group.members.get(id)?)));
            let Some((group, member)) = known.filter(|(_, member)| member.standing != Standing::Expelled) else {
                return Err(LogError("the group was left".to_owned()));
            };
            let extent = |partition: &Partition| Extent {
                partition: partition.clone(),
                stored: group.offsets.get(partition).copied().unwrap_or(0),
                end: state.log.end(partition),
            };
            Ok(member.positions.keys().map(extent).collect())
        })
    }

    async fn leave(&self) {
        until_back(&self.0.world).await;
        self.0.process.gate().await;
        self.0.leave();
    }
}

/// What a client has to do next.
enum Next {
    /// The group was left.
    End,
    /// Its partitions are taken away.
    Revoke(Vec<Partition>),
    /// It has partitions.
    Assign(Vec<Partition>),
    /// The broker is away (true), or back.
    Say(bool),
    /// There is a record.
    Deliver(Record),
    /// Nothing, for so many milliseconds or until it is woken.
    Wait(u64),
}

/// The client of a group's member.
pub(super) struct Client {
    pub(super) seat: Arc<Seat>,
    pub(super) deliveries: Deliveries,
    pub(super) wake: Arc<Notify>,
    /// The process was told of partitions.
    pub(super) told: bool,
    /// The process was told that the broker is away.
    pub(super) told_away: bool,
}

impl Client {
    pub(super) async fn run(mut self) {
        let seat = Arc::clone(&self.seat);
        loop {
            seat.process.gate().await;
            let generation = self.deliveries.generation();
            match self.next() {
                Next::End => return,
                Next::Revoke(partitions) => self.revoke(partitions).await,
                Next::Assign(partitions) => {
                    self.told = true;
                    let what = format!("has {} partitions", partitions.len());
                    seat.world.tell(&seat.process, None, what);
                    seat.world.count("assignments");
                    self.deliveries.change(Change::Assigned(partitions));
                }
                Next::Say(away) => {
                    self.told_away = away;
                    let change = if away { Change::Away("the broker is away".to_owned()) } else { Change::Back };
                    self.deliveries.change(change);
                }
                Next::Deliver(record) => {
                    if !self.deliver(generation, record).await {
                        return seat.leave();
                    }
                }
                Next::Wait(millis) => {
                    tokio::select! {
                        biased;
                        () = self.wake.notified() => {}
                        () = self.deliveries.closed() => return seat.leave(),
                        () = tokio::time::sleep(Duration::from_millis(millis)) => {}
                    }
                }
            }
        }
    }

    fn next(&self) -> Next {
        let (seat, now) = (&self.seat, self.seat.world.millis());
        seat.world.with(|state| {
            let log = &mut state.log;
            let away = log.away;
            let Some(group) = log.groups.get_mut(&seat.group) else { return Next::End };
            let Some(member) = group.members.get_mut(&seat.id) else { return Next::End };
            let partitions = || member.positions.keys().cloned().collect();
            match member.standing {
                Standing::Revoking | Standing::Expelled => return Next::Revoke(partitions()),
                Standing::Ready => return Next::Wait(10_000),
                Standing::Assigning => {
                    let partitions = partitions();
                    member.standing = Standing::Reading;
                    return Next::Assign(partitions);
                }
                Standing::Reading if away != self.told_away => return Next::Say(away),
                Standing::Reading if away => return Next::Wait(10_000),
                Standing::Reading => {}
            }
            let positions: Vec<(Partition, i64)> =
                member.positions.iter().map(|(p, next)| (p.clone(), *next)).collect();
            group.stalls.retain(|_, until| *until > now);
            let stalls = group.stalls.clone();
            let mut wait = 10_000;
            // Another partition first from time to time, since there is no order between them.
            let first = state.rng.usize(0..positions.len().max(1));
            for place in 0..positions.len() {
                let (partition, next) = &positions[(first + place) % positions.len()];
                match (stalls.get(partition), log.read(partition, *next)) {
                    (None, Some(record)) => return Next::Deliver(record),
                    (Some(until), Some(_)) => wait = wait.min(until - now),
                    (_, None) => {}
                }
            }
            Next::Wait(wait)
        })
    }

    /// Returns whether anybody listens.
    async fn deliver(&mut self, generation: u64, record: Record) -> bool {
        let seat = Arc::clone(&self.seat);
        let room = tokio::select! {
            biased;
            () = self.wake.notified() => return true,
            room = self.deliveries.room() => room,
        };
        let Some(room) = room else { return false };
        seat.world.pass(&seat.process, Point::Read).await;
        if seat.world.chance(seat.world.plan.faults.broken) {
            drop(room);
            seat.world.tell(&seat.process, None, "the group's client breaks".to_owned());
            seat.world.count("clients broken");
            self.deliveries.change(Change::Broken("the simulation wants it".to_owned()));
            return false;
        }
        let partition = record.at.partition.clone();
        let next = record.at.offset + 1;
        let is_mine = seat.with(|member| {
            let is_mine = member.standing == Standing::Reading && member.positions.contains_key(&partition);
            if is_mine {
                member.positions.insert(partition.clone(), next);
            }
            is_mine
        });
        if is_mine == Some(true) {
            room.put(generation, record);
            if seat.world.lacks(Mutation::OffsetsAtDelivery) {
                seat.store(&partition, next);
            }
        }
        true
    }

    async fn revoke(&mut self, partitions: Vec<Partition>) {
        let seat = Arc::clone(&self.seat);
        if self.told {
            let (done, finished) = oneshot::channel();
            self.deliveries.change(Change::Revoked(partitions, done));
            // A log that has waited too long goes on.
            let _ = tokio::time::timeout(REVOKE_WAIT, finished).await;
            self.told = false;
            seat.world.count("partitions revoked");
            seat.world.pass(&seat.process, Point::Revoking).await;
        }
        until_back(&seat.world).await;
        seat.process.gate().await;
        seat.commit();
        seat.world.with(|state| {
            let Some(group) = state.log.groups.get_mut(&seat.group) else { return };
            let Some(member) = group.members.get_mut(&seat.id) else { return };
            let was_expelled = member.standing == Standing::Expelled;
            member.standing = Standing::Ready;
            member.positions.clear();
            member.stored.clear();
            if was_expelled {
                group.rebalance();
            }
            state.log.assign(&seat.group);
        });
    }
}
