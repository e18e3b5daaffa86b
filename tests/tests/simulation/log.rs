//! The event log: topics in partitions, and groups that read them, as a broker keeps them.

use super::process::Process;
use contracts::{EventType, OrderId};
use runtime::event_log::{DEAD_LETTER_SUFFIX, NewRecord, Partition, Position, Record};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;
use uuid::Uuid;

/// A record as it is stored.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) record: Arc<NewRecord>,
    /// Its place among all records of the log.
    pub(super) sequence: u64,
}

/// How far a member is with the group's present assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is to give up what it has.
    Revoking,
    /// It has, and waits for the others.
    Ready,
    /// It is to be told what it has.
    Assigning,
    /// It reads.
    Reading,
    /// The group has gone on without it.
    Expelled,
}

/// A member of a group.
pub(super) struct Member {
    pub(super) process: Arc<Process>,
    /// Something is to be looked at.
    pub(super) wake: Arc<Notify>,
    pub(super) standing: Standing,
    /// Its partitions, and what it reads next in each.
    pub(super) positions: BTreeMap<Partition, i64>,
    /// Offsets that it has stored and not yet committed.
    pub(super) stored: BTreeMap<Partition, i64>,
}

/// A consumer group.
#[derive(Default)]
pub(super) struct Group {
    pub(super) topics: Vec<String>,
    pub(super) members: BTreeMap<u64, Member>,
    /// The next record for the group in each partition.
    pub(super) offsets: BTreeMap<Partition, i64>,
    /// Partitions that stand still for this group until then.
    pub(super) stalls: BTreeMap<Partition, u64>,
}

/// The log.
pub(super) struct Log {
    count: i32,
    pub(super) partitions: BTreeMap<Partition, Vec<Stored>>,
    pub(super) groups: BTreeMap<String, Group>,
    /// The broker does not answer.
    pub(super) away: bool,
    /// When an order first was on a topic.
    first: BTreeMap<(OrderId, String), u64>,
    appended: u64,
    next_member: u64,
}

impl Log {
    pub(super) fn new(count: i32) -> Self {
        let names = EventType::ALL.iter().map(|event_type| event_type.topic().to_owned());
        let topics = names.flat_map(|topic| {
            let dead = (format!("{topic}{DEAD_LETTER_SUFFIX}"), 1);
            [(topic, count), dead]
        });
        let partitions = topics.flat_map(|(topic, count)| {
            (0..count).map(move |partition| (Partition { topic: topic.clone(), partition }, Vec::new()))
        });
        Log {
            count,
            partitions: partitions.collect(),
            groups: BTreeMap::new(),
            away: false,
            first: BTreeMap::new(),
            appended: 0,
            next_member: 0,
        }
    }

    /// The number of a key's partition: a function of the key.
    pub(super) fn partition_of(&self, key: &[u8]) -> i32 {
        let hash = key.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        i32::try_from(hash >> 8).unwrap_or(0) % self.count
    }

    /// Appends a record, and wakes those who read its partition.
    pub(super) fn append(&mut self, record: Arc<NewRecord>, at: u64) -> Partition {
        let partition = match record.topic.ends_with(DEAD_LETTER_SUFFIX) {
            true => 0,
            false => self.partition_of(record.key.as_deref().unwrap_or_default()),
        };
        if let Some(order) = order_of(&record) {
            self.first.entry((order, record.topic.clone())).or_insert(at);
        }
        let place = Partition { topic: record.topic.clone(), partition };
        self.appended += 1;
        let stored = Stored { record, sequence: self.appended };
        self.partitions.entry(place.clone()).or_default().push(stored);
        for group in self.groups.values() {
            let readers = group.members.values().filter(|member| member.positions.contains_key(&place));
            readers.for_each(|member| member.wake.notify_one());
        }
        place
    }

    /// How many records were ever appended.
    pub(super) fn appended(&self) -> u64 {
        self.appended
    }

    /// When this order first was on this topic.
    pub(super) fn first(&self, order: OrderId, event_type: EventType) -> Option<u64> {
        self.first.get(&(order, event_type.topic().to_owned())).copied()
    }

    /// The offset behind the last record of a partition.
    pub(super) fn end(&self, partition: &Partition) -> i64 {
        self.partitions.get(partition).map_or(0, |records| i64::try_from(records.len()).unwrap_or(i64::MAX))
    }

    /// A record as it is read.
    pub(super) fn read(&self, partition: &Partition, offset: i64) -> Option<Record> {
        let stored = self.partitions.get(partition)?.get(usize::try_from(offset).ok()?)?;
        let NewRecord { key, value, headers, .. } = stored.record.as_ref();
        let at = Position { partition: partition.clone(), offset };
        Some(Record { at, key: key.clone(), value: value.clone(), headers: headers.clone() })
    }

    /// Wakes every member of every group.
    pub(super) fn wake_all(&self) {
        self.groups.values().flat_map(|group| group.members.values()).for_each(|member| member.wake.notify_one());
    }

    /// A new member of a group. The others give back what they have.
    pub(super) fn join(&mut self, group: &str, topics: &[String], process: Arc<Process>) -> (u64, Arc<Notify>) {
        self.next_member += 1;
        let wake = Arc::new(Notify::new());
        let member = Member {
            process,
            wake: Arc::clone(&wake),
            standing: Standing::Ready,
            positions: BTreeMap::new(),
            stored: BTreeMap::new(),
        };
        let group = self.groups.entry(group.to_owned()).or_default();
        group.topics = topics.to_vec();
        group.members.insert(self.next_member, member);
        group.rebalance();
        (self.next_member, wake)
    }

    /// Whether each group has read everything.
    pub(super) fn is_read(&self) -> bool {
        self.groups.values().all(|group| {
            let read =
                |partition: &Partition| group.offsets.get(partition).copied().unwrap_or(0) >= self.end(partition);
            let of = self.partitions.keys().filter(|partition| group.topics.contains(&partition.topic));
            of.into_iter().all(read)
        })
    }

    /// What the groups have not read, and who was to read it, in words.
    pub(super) fn unread(&self) -> String {
        let mut text = String::new();
        for (name, group) in &self.groups {
            for partition in self.partitions.keys().filter(|partition| group.topics.contains(&partition.topic)) {
                let stored = group.offsets.get(partition).copied().unwrap_or(0);
                let end = self.end(partition);
                if stored >= end {
                    continue;
                }
                text += &format!("{name} {}/{} {stored} of {end}", partition.topic, partition.partition);
                for member in group.members.values() {
                    if let Some(next) = member.positions.get(partition) {
                        text += &format!(" ({} at {next}, {:?})", member.process, member.standing);
                    }
                }
                text += "; ";
            }
        }
        text
    }

    /// Gives the members of a group that are all ready their partitions, as `range` does: partition k of every topic
    /// to the same member.
    pub(super) fn assign(&mut self, name: &str) {
        let count = self.count;
        let Some(group) = self.groups.get_mut(name) else { return };
        let members: Vec<u64> = group
            .members
            .iter()
            .filter(|(_, member)| member.standing != Standing::Expelled)
            .map(|(id, _)| *id)
            .collect();
        let all_ready = members.iter().all(|id| group.members[id].standing == Standing::Ready);
        if members.is_empty() || !all_ready {
            return;
        }
        let among = i32::try_from(members.len()).unwrap_or(1);
        for (place, id) in (0..).zip(&members) {
            let (each, more) = (count / among, count % among);
            let first = place * each + place.min(more);
            let mine = first..first + each + i32::from(place < more);
            let partitions = group.topics.iter().flat_map(|topic| {
                mine.clone().map(|partition| Partition { topic: topic.clone(), partition }).collect::<Vec<_>>()
            });
            let offsets = &group.offsets;
            let positions = partitions.map(|p| (p.clone(), offsets.get(&p).copied().unwrap_or(0))).collect();
            if let Some(member) = group.members.get_mut(id) {
                member.positions = positions;
                member.standing = Standing::Assigning;
                member.wake.notify_one();
            }
        }
    }
}

impl Group {
    /// Everybody gives back what they have, and then it is shared out anew.
    pub(super) fn rebalance(&mut self) {
        for member in self.members.values_mut() {
            match member.standing {
                Standing::Assigning | Standing::Reading => {
                    member.standing = Standing::Revoking;
                    member.wake.notify_one();
                }
                Standing::Revoking | Standing::Ready | Standing::Expelled => {}
            }
        }
    }
}

/// The order that a record's key names.
pub(super) fn order_of(record: &NewRecord) -> Option<OrderId> {
    let key = std::str::from_utf8(record.key.as_deref()?).ok()?;
    Uuid::try_parse(key).ok().map(OrderId)
}
