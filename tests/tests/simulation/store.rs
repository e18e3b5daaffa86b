//! A service's database, in memory and shared by its replicas, and the store as a process sees it.

use super::kept::Kept;
use super::mutation::{Mutant, Mutation};
use super::point::Point;
use super::process::Process;
use super::watch::Commit;
use super::world::World;
use async_trait::async_trait;
use contracts::{OrderId, Timestamp};
use e2e::api::Service;
use inventory_service::stock::Shelves;
use runtime::saga::{Instance, Outgoing, Saga, Step, outcome_id};
use runtime::store::{Backlog, Loaded, OutboxKey, Overdue, Store, StoreError, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The rows of one service.
pub(super) struct Rows<S: Kept> {
    pub(super) orders: BTreeMap<OrderId, Instance<Mutant<S>>>,
    pub(super) outbox: BTreeMap<OutboxKey, Outgoing>,
}

impl<S: Kept> Default for Rows<S> {
    fn default() -> Self {
        Rows { orders: BTreeMap::new(), outbox: BTreeMap::new() }
    }
}

impl<S: Kept> Rows<S> {
    /// Whether nothing is to be sent and nothing due.
    pub(super) fn are_quiet(&self) -> bool {
        self.outbox.is_empty() && self.orders.values().all(|instance| S::due(&instance.state).is_none())
    }
}

/// What only a process that lacks something has.
struct Own<S: Kept> {
    /// Steps that it takes for durable.
    volatile: BTreeMap<OrderId, Instance<Mutant<S>>>,
    /// Rows that it committed.
    committed: BTreeSet<OutboxKey>,
    /// Rows that it committed and was not told of.
    unseen: BTreeSet<OutboxKey>,
}

/// The store, as a process sees it.
pub(super) struct SimStore<S: Kept> {
    world: Arc<World>,
    process: Arc<Process>,
    saga: Mutant<S>,
    own: Mutex<Own<S>>,
}

fn transient(message: &str) -> StoreError {
    StoreError { message: message.to_owned(), transient: true, damaged: false }
}

fn key(row: &Outgoing) -> OutboxKey {
    (row.order, row.version, row.n)
}

impl<S: Kept> SimStore<S> {
    pub(super) fn new(world: Arc<World>, process: Arc<Process>, saga: Mutant<S>) -> Self {
        let own = Own { volatile: BTreeMap::new(), committed: BTreeSet::new(), unseen: BTreeSet::new() };
        SimStore { world, process, saga, own: Mutex::new(own) }
    }

    fn rows(&self) -> MutexGuard<'_, Rows<S>> {
        S::rows(&self.world.databases).lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own(&self) -> MutexGuard<'_, Own<S>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to the database and into it.
    async fn reach(&self, longest: u64) -> Result<(), StoreError> {
        self.process.gate().await;
        self.world.pause(longest).await;
        self.process.gate().await;
        match self.world.with(|state| state.away.contains(&S::PLACE)) {
            true => Err(transient("the database is away")),
            false => Ok(()),
        }
    }

    fn stands(&self, rows: &Rows<S>, order: OrderId) -> Option<Instance<Mutant<S>>> {
        let volatile = self.own().volatile.get(&order).cloned();
        let mut found = volatile.or_else(|| rows.orders.get(&order).cloned());
        if let Some(instance) = found.as_mut().filter(|_| self.world.lacks(Mutation::NoDuplicateCheck)) {
            instance.applied.clear();
        }
        found
    }

    /// The transaction: all of the steps that win. Returns the rows of the outbox that are left for a second one, too,
    /// where something is lacking.
    fn transact(
        &self,
        steps: Vec<Step<Mutant<S>>>,
        sent: &[OutboxKey],
        seen: Option<Shelves>,
    ) -> (Vec<Verdict<Mutant<S>>>, Vec<Outgoing>) {
        let mut rows = self.rows();
        let guarded = !self.world.lacks(Mutation::NoVersionGuard);
        let orders: Vec<OrderId> = steps.iter().map(|step| step.next.order).collect();
        let wins = |step: &Step<Mutant<S>>| {
            let version = self.stands(&rows, step.next.order).map_or(0, |instance| instance.version);
            !guarded || version == step.expected_version()
        };
        let mut winners: Vec<_> = steps.into_iter().filter(wins).collect();
        winners.sort_by_key(|step| step.next.order);
        S::settle(&self.saga, &self.world.databases, &mut winners, seen);
        let mut apart = Vec::new();
        let mut verdicts = BTreeMap::new();
        for step in winners {
            let outgoing: Vec<Outgoing> = step.outgoing().collect();
            self.note(&rows, &step, &outgoing);
            self.own().committed.extend(outgoing.iter().map(key));
            self.write(&mut rows, &step);
            match self.world.lacks(Mutation::OutboxApart) {
                true => apart.extend(outgoing.iter().cloned()),
                false => rows.outbox.extend(outgoing.iter().map(|row| (key(row), row.clone()))),
            }
            verdicts.insert(step.next.order, Verdict::Committed(step.next, outgoing));
        }
        rows.outbox.retain(|key, _| !sent.contains(key));
        let answers = orders.iter().map(|order| verdicts.remove(order).unwrap_or(Verdict::Conflict)).collect();
        (answers, apart)
    }

    fn write(&self, rows: &mut Rows<S>, step: &Step<Mutant<S>>) {
        let mut next = Instance::clone(&step.next);
        if self.world.lacks(Mutation::NoDuplicateCheck) {
            next.applied.clear();
        }
        // An intent is a version without events for the others, with something due at once.
        let is_intent = S::PLACE == Service::Payment && step.emitted.is_empty() && S::due(&next.state).is_some();
        if is_intent && self.world.lacks(Mutation::NoIntentBeforeCall) {
            self.own().volatile.insert(next.order, next);
        } else {
            self.own().volatile.remove(&next.order);
            rows.orders.insert(next.order, next);
        }
    }

    /// Has what is being committed looked at, and tells of it.
    fn note(&self, rows: &Rows<S>, step: &Step<Mutant<S>>, outgoing: &[Outgoing]) {
        let order = step.next.order;
        let before = rows.orders.get(&order).map(|instance| &instance.state);
        let stood = before.map_or_else(String::new, S::stage);
        let events: Vec<&str> = outgoing.iter().map(|row| row.event_type.name()).collect();
        let what = format!("v{} {stood} → {} {events:?}", step.next.version, S::stage(&step.next.state));
        self.world.tell(&self.process, Some(order), what);
        let now = self.world.millis();
        let stock = self.world.databases.stock();
        self.world.with(|state| {
            let commit = Commit { before, step, outgoing, now, log: &state.log, stock };
            S::look(&mut state.watch, &commit);
            let by = self.process.to_string();
            let of = outgoing.iter().map(|row| ((row.order, row.event_type.topic().to_owned()), by.clone()));
            state.watch.unsent.extend(of);
            state.tally.count("steps committed");
        });
    }
}

#[async_trait]
impl<S: Kept> Store<Mutant<S>> for SimStore<S> {
    async fn load(&self, orders: &[OrderId]) -> Result<Vec<Loaded<Mutant<S>>>, StoreError> {
        self.world.pass(&self.process, Point::BeforeLoad).await;
        self.reach(3).await?;
        self.world.panic(&self.process);
        let rows = self.rows();
        let (found_rows_wait, forgets) =
            (self.world.lacks(Mutation::FoundRowsWait), self.world.lacks(Mutation::LostAnswersForgotten));
        let unseen = self.own().unseen.clone();
        let loaded = |order: &OrderId| {
            let of = rows.outbox.range((*order, 0, 0)..=(*order, i64::MAX, i16::MAX));
            let visible = of.filter(|(key, _)| !(found_rows_wait || forgets && unseen.contains(*key)));
            let unsent = visible.map(|(_, row)| row.clone()).collect();
            self.stands(&rows, *order).map(|instance| Loaded { instance, unsent })
        };
        Ok(orders.iter().filter_map(loaded).collect())
    }

    async fn commit(
        &self,
        steps: &[Step<Mutant<S>>],
        sent: &[OutboxKey],
    ) -> Result<Vec<Verdict<Mutant<S>>>, StoreError> {
        let (world, process) = (&self.world, &self.process);
        let has_outcome = |step: &Step<Mutant<S>>| {
            step.next.applied.last() == Some(&outcome_id::<S>(step.next.order, step.next.version))
        };
        if steps.iter().any(has_outcome) {
            world.pass(process, Point::OutcomeUncommitted).await;
        } else if !steps.is_empty() {
            world.pass(process, Point::BeforeCommit).await;
        }
        if !sent.is_empty() {
            world.pass(process, Point::BeforeDelete).await;
        }
        let seen = world.lacks(Mutation::NoStockLock).then(|| world.databases.stock());
        self.reach(4).await?;
        if world.chance(world.plan.faults.deadlock) {
            world.count("commits in a deadlock");
            return Err(transient("deadlock detected"));
        }
        world.panic(process);
        let (is_step, is_delete) = (!steps.is_empty(), !sent.is_empty());
        let (verdicts, apart) = self.transact(steps.to_vec(), sent, seen);
        let conflicts = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Conflict)).count();
        world.with(|state| state.tally.add("conflicts of versions", conflicts as u64));
        if is_step {
            world.pass(process, Point::Committed).await;
        }
        if is_delete {
            world.pass(process, Point::Deleted).await;
        }
        self.rows().outbox.extend(apart.into_iter().map(|row| (key(&row), row)));
        if world.chance(world.plan.faults.lost_answer) {
            world.count("commits whose answer was lost");
            world.tell(process, None, "the answer of a commit is lost".to_owned());
            self.forget(&verdicts);
            return Err(transient("the connection was lost at COMMIT"));
        }
        world.pause(2).await;
        process.gate().await;
        Ok(verdicts)
    }

    async fn unsent(&self, after: Option<OutboxKey>, limit: u64) -> Result<Vec<Outgoing>, StoreError> {
        let slow = if self.world.with(|state| state.healed) { 0 } else { self.world.plan.faults.slow_read };
        self.reach(2 + slow).await?;
        let (orphaned, forgets) =
            (self.world.lacks(Mutation::NoAdoption), self.world.lacks(Mutation::LostAnswersForgotten));
        let (rows, own) = (self.rows(), self.own());
        let visible =
            |key: &OutboxKey| (!orphaned || own.committed.contains(key)) && !(forgets && own.unseen.contains(key));
        let behind = rows.outbox.iter().filter(|(key, _)| after.is_none_or(|after| **key > after) && visible(key));
        Ok(behind.take(usize::try_from(limit).unwrap_or(usize::MAX)).map(|(_, row)| row.clone()).collect())
    }

    async fn due(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, OrderId)>,
        limit: u64,
    ) -> Result<Vec<Overdue>, StoreError> {
        self.reach(2).await?;
        if self.world.lacks(Mutation::NothingIsDue) {
            return Ok(Vec::new());
        }
        let rows = self.rows();
        let unsent = |order| rows.outbox.range((order, 0, 0)..=(order, i64::MAX, i16::MAX)).next().is_some();
        let overdue = |(order, instance): (&OrderId, &Instance<Mutant<S>>)| {
            let (since, _) = Mutant::<S>::due(&instance.state)?;
            Some(Overdue { order: *order, since, unsent: unsent(*order) })
        };
        let mut due: Vec<Overdue> = rows.orders.iter().filter_map(overdue).filter(|due| due.since <= now).collect();
        due.sort_by_key(|due| (due.since, due.order));
        due.retain(|due| after.is_none_or(|after| (due.since, due.order) > after));
        due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(due)
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.reach(2).await?;
        let rows = self.rows();
        let waiting = rows.orders.values().filter(|instance| S::due(&instance.state).is_some()).count();
        Ok(Backlog {
            waiting: waiting as u64,
            unsent: rows.outbox.len() as u64,
            oldest_unsent: rows.outbox.values().map(|row| row.at).min(),
        })
    }
}

impl<S: Kept> SimStore<S> {
    fn forget(&self, verdicts: &[Verdict<Mutant<S>>]) {
        for verdict in verdicts {
            match verdict {
                Verdict::Committed(_, rows) => self.own().unseen.extend(rows.iter().map(key)),
                Verdict::Conflict | Verdict::Refused(_) => {}
            }
        }
    }
}
