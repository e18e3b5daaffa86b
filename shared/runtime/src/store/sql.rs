//! The store over sea-orm, for PostgreSQL and SQLite alike.

mod json_text;
mod outbox;
mod write;

pub use json_text::JsonText;
use write::Told;
pub use write::{insert, upsert};

use super::watcher::Watcher;
use super::{Backlog, Loaded, OutboxKey, Overdue, Store, StoreError, Verdict};
use crate::database::{Database, Failure, failure};
use crate::saga::{Instance, Outgoing, Saga, Step};
use crate::trace::Context;
use async_trait::async_trait;
use contracts::{EventType, OrderId, Timestamp, event_id};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select, Value,
};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// How a saga's instances are rows.
#[async_trait]
pub trait Table: Saga {
    /// The table: one row per order.
    type Entity: EntityTrait<
            Model: IntoActiveModel<<Self::Entity as EntityTrait>::ActiveModel> + Send + Sync,
            ActiveModel: Send + Sync,
        >;
    /// The order's id, the primary key.
    const ORDER_ID: <Self::Entity as EntityTrait>::Column;
    /// The order's version.
    const VERSION: <Self::Entity as EntityTrait>::Column;
    /// When [`Saga::due`] is, in microseconds since 1970; null if nothing is.
    const DUE_AT: <Self::Entity as EntityTrait>::Column;
    /// Columns of indexes that an order's row has the same in all its versions. They are not set again,
    /// so a change of one would be lost: SQLite writes an index's entry anew for each setting, also of the same value.
    const FIXED: &'static [<Self::Entity as EntityTrait>::Column] = &[];

    /// An instance as a row; `due_at` is the moment of its [`Saga::due`].
    fn write(instance: &Instance<Self>, applied: Vec<u8>, due_at: Option<i64>) -> <Self::Entity as EntityTrait>::Model;

    /// A row as an instance, or what is wrong with the row.
    fn read(row: <Self::Entity as EntityTrait>::Model) -> Result<Instance<Self>, String>;

    /// Whether a step has anything to settle.
    fn settles(_: &Step<Self>) -> bool {
        false
    }

    /// What else a batch changes in the same transaction, before its rows are written. This is where a step learns
    /// what only locks can tell.
    async fn settle(&self, _: &DatabaseTransaction, _: &mut [Step<Self>]) -> Result<(), DbErr> {
        Ok(())
    }
}

/// Rows of one statement, at most: with 25 columns still within the 32,766 binds that SQLite takes.
const PAGE: usize = 512;

/// Batches up to this size go in one statement.
const SMALL: usize = 32;

/// These rows in pages: a small batch is one, a large one is pages whose sizes are powers of two, largest first. So
/// there are few statements to prepare for a table, and not one for every size of a batch.
pub fn pages<T>(mut rows: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    std::iter::from_fn(move || {
        let size = match rows.len() {
            0 => return None,
            small @ 1..=SMALL => small,
            large => usize::min(1 << large.ilog2(), PAGE),
        };
        let rest = rows.split_off(size);
        Some(std::mem::replace(&mut rows, rest))
    })
}

/// These keys, the last one repeated up to the next power of two, for the same reason.
pub fn padded<T: Clone>(mut keys: Vec<T>) -> Vec<T> {
    if let Some(last) = keys.last().cloned() {
        keys.resize(keys.len().next_power_of_two(), last);
    }
    keys
}

/// What comes behind this place in the order of these columns: as one comparison, for which an index is entered there.
/// `a > x OR a = x AND b > y` would read all that is before, too.
pub fn behind<const N: usize>(columns: [impl ColumnTrait; N], place: [Value; N]) -> Expr {
    Expr::tuple(columns.map(Expr::col)).gt(Expr::tuple(place.map(Expr::val)))
}

/// The same, where the order is the other way round.
pub fn before<const N: usize>(columns: [impl ColumnTrait; N], place: [Value; N]) -> Expr {
    Expr::tuple(columns.map(Expr::col)).lt(Expr::tuple(place.map(Expr::val)))
}

/// A service's store.
pub struct SqlStore<S> {
    saga: S,
    database: Database,
    watcher: Option<Arc<dyn Watcher<S>>>,
}

impl<S: Table> SqlStore<S> {
    /// Of a saga with these rules, over a migrated database.
    pub fn new(saga: S, database: Database) -> Self {
        SqlStore { saga, database, watcher: None }
    }

    /// The same, telling somebody what it does.
    pub fn watched(self, watcher: impl Watcher<S>) -> Self {
        SqlStore { watcher: Some(Arc::new(watcher)), ..self }
    }

    /// Commits the winners of these steps, and `sent`: together or, where one is poison, in halves, and where all are too
    /// much at a time, a few at a time.
    async fn commit_sorted(&self, steps: &[&Step<S>], mut sent: &[OutboxKey]) -> Result<Vec<Verdict<S>>, DbErr> {
        match self.attempt(steps, sent).await {
            Err(error) if steps.len() > 1 && failure(&error) == Failure::Refused => {
                let (some, others) = steps.split_at(steps.len() / 2);
                let mut verdicts = Box::pin(self.commit_sorted(some, sent)).await?;
                verdicts.extend(Box::pin(self.commit_sorted(others, &[])).await?);
                Ok(verdicts)
            }
            // If a few take too long as well, it is not their number.
            Err(error) if steps.len() > SMALL && failure(&error) == Failure::TooLong => {
                let mut verdicts = Vec::new();
                for few in steps.chunks(SMALL) {
                    verdicts.extend(Box::pin(self.commit_sorted(few, std::mem::take(&mut sent))).await?);
                }
                Ok(verdicts)
            }
            Err(error) if steps.len() == 1 && failure(&error) == Failure::Refused => {
                self.attempt(&[], sent).await?;
                Ok(vec![Verdict::Refused(error.to_string())])
            }
            attempted => attempted,
        }
    }

    /// Commits the winners of these steps, and `sent`.
    async fn attempt(&self, steps: &[&Step<S>], sent: &[OutboxKey]) -> Result<Vec<Verdict<S>>, DbErr> {
        let settles = steps.iter().any(|step| S::settles(step));
        let as_decided =
            || (outgoing(steps.iter().copied()), steps.iter().map(|step| Arc::clone(&step.next)).collect());
        if !settles && self.database.is_postgres() {
            let (rows, instances) = as_decided();
            // One statement, which needs no transaction around it.
            let written = self.write(self.database.writer(), instances, rows, sent, Told::Who).await?;
            return Ok(written.map(|(verdicts, _)| verdicts).unwrap_or_default());
        }
        let mut lost: HashSet<OrderId> = HashSet::new();
        let mut told = Told::HowMany;
        loop {
            let transaction = self.database.begin().await?;
            let candidates = steps.iter().filter(|step| !lost.contains(&step.next.order));
            let (rows, instances) = if settles {
                let mut settled: Vec<Step<S>> = candidates.clone().copied().cloned().collect();
                self.saga.settle(&transaction, &mut settled).await?;
                (outgoing(settled.iter()), settled.into_iter().map(|step| step.next).collect())
            } else {
                as_decided()
            };
            let Some((verdicts, have_lost)) = self.write(&transaction, instances, rows, sent, told).await? else {
                // Some have lost, which is rare, and now it must be told who.
                transaction.rollback().await?;
                told = Told::Who;
                continue;
            };
            if settles && have_lost {
                // What was settled for the losers must not stay. Who lost is known now, and few do.
                transaction.rollback().await?;
                let losers = candidates.zip(&verdicts).filter(|(_, verdict)| **verdict == Verdict::Conflict);
                let losers: Vec<OrderId> = losers.map(|(step, _)| step.next.order).collect();
                lost.extend(losers);
                continue;
            }
            transaction.commit().await?;
            let mut verdicts = verdicts.into_iter();
            let verdict = |step: &&Step<S>| match lost.contains(&step.next.order) {
                true => Verdict::Conflict,
                false => verdicts.next().unwrap_or(Verdict::Conflict),
            };
            return Ok(steps.iter().map(verdict).collect());
        }
    }

    /// Writes these instances with their rows of the outbox, as far as they win; says whether any lost. None if some
    /// did and it was not to be told who: then the transaction is of no use.
    async fn write(
        &self,
        connection: &impl ConnectionTrait,
        instances: Vec<Arc<Instance<S>>>,
        outgoing: Vec<Vec<Outgoing>>,
        sent: &[OutboxKey],
        told: Told,
    ) -> Result<Option<(Vec<Verdict<S>>, bool)>, DbErr> {
        let states = instances.iter().map(|instance| row_of(instance)).collect();
        let Some(written) = write::write::<S>(connection, states, outgoing.iter().flatten(), sent, told).await? else {
            return Ok(None);
        };
        let have_lost = written.len() < instances.len();
        let verdict = |(instance, rows): (Arc<Instance<S>>, _)| match written.contains(&instance.order.0) {
            true => Verdict::Committed(instance, rows),
            false => Verdict::Conflict,
        };
        Ok(Some((instances.into_iter().zip(outgoing).map(verdict).collect(), have_lost)))
    }
}

fn outgoing<'a, S: Saga>(steps: impl Iterator<Item = &'a Step<S>>) -> Vec<Vec<Outgoing>> {
    steps.map(|step| step.outgoing().collect()).collect()
}

#[async_trait]
impl<S: Table> Store<S> for SqlStore<S> {
    fn is_remote(&self) -> bool {
        self.database.is_postgres()
    }

    async fn load(&self, orders: &[OrderId]) -> Result<Vec<Loaded<S>>, StoreError> {
        let ids: Vec<Uuid> = padded(orders.iter().map(|order| order.0).collect());
        let rows = S::Entity::find().filter(S::ORDER_ID.is_in(ids.clone())).all(&self.database.read).await?;
        let mut loaded: BTreeMap<OrderId, Loaded<S>> = BTreeMap::new();
        for row in rows {
            let instance = S::read(row).map_err(damaged)?;
            loaded.insert(instance.order, Loaded { instance, unsent: Vec::new() });
        }
        if loaded.is_empty() {
            return Ok(Vec::new());
        }
        let unsent = in_order().filter(outbox::Column::OrderId.is_in(ids)).all(&self.database.read).await?;
        for row in unsent {
            if let Some(loaded) = loaded.get_mut(&OrderId(row.order_id)) {
                loaded.unsent.push(read_outgoing::<S>(row)?);
            }
        }
        Ok(loaded.into_values().collect())
    }

    async fn commit(&self, steps: &[Step<S>], sent: &[OutboxKey]) -> Result<Vec<Verdict<S>>, StoreError> {
        // In key order, so that two replicas never wait for each other.
        let mut places: Vec<usize> = (0..steps.len()).collect();
        places.sort_by_key(|place| steps[*place].next.order);
        // Whoever was decided beside another one of its order (whose actor was killed, say) was decided too early.
        places.dedup_by_key(|place| steps[*place].next.order);
        let sorted: Vec<&Step<S>> = places.iter().map(|place| &steps[*place]).collect();
        let verdicts = self.commit_sorted(&sorted, sent).await?;
        let mut answers = vec![Verdict::Conflict; steps.len()];
        for (place, verdict) in places.into_iter().zip(verdicts) {
            answers[place] = verdict;
        }
        if let Some(watcher) = &self.watcher {
            watcher.decided(steps, &answers);
        }
        Ok(answers)
    }

    async fn unsent(&self, after: Option<OutboxKey>, limit: u64) -> Result<Vec<Outgoing>, StoreError> {
        let mut rows = in_order().limit(limit);
        if let Some((order, version, n)) = after {
            let key = [outbox::Column::OrderId, outbox::Column::Version, outbox::Column::N];
            rows = rows.filter(behind(key, [order.0.into(), version.into(), n.into()]));
        }
        rows.all(&self.database.read).await?.into_iter().map(read_outgoing::<S>).collect()
    }

    async fn due(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, OrderId)>,
        limit: u64,
    ) -> Result<Vec<Overdue>, StoreError> {
        let mut rows = S::Entity::find()
            .select_only()
            .column(S::DUE_AT)
            .column(S::ORDER_ID)
            .filter(S::DUE_AT.lte(now.0))
            .order_by_asc(S::DUE_AT)
            .order_by_asc(S::ORDER_ID)
            .limit(limit);
        if let Some((since, order)) = after {
            rows = rows.filter(behind([S::DUE_AT, S::ORDER_ID], [since.0.into(), order.0.into()]));
        }
        let due: Vec<(i64, Uuid)> = rows.into_tuple().all(&self.database.read).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let orders = padded(due.iter().map(|(_, order)| *order).collect());
        let unsent: Vec<Uuid> = outbox::Entity::find()
            .select_only()
            .column(outbox::Column::OrderId)
            .filter(outbox::Column::OrderId.is_in(orders))
            .into_tuple()
            .all(&self.database.read)
            .await?;
        let overdue = |(since, order)| Overdue {
            order: OrderId(order),
            since: Timestamp(since),
            unsent: unsent.contains(&order),
        };
        Ok(due.into_iter().map(overdue).collect())
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        if let Some(watcher) = &self.watcher {
            watcher.counting().await?;
        }
        let waiting = S::Entity::find().filter(S::DUE_AT.is_not_null()).count(&self.database.read).await?;
        // In its order: PostgreSQL takes the index for a whole table only if that saves sorting it (see `PLANS`).
        let rows = in_order().select_only().column(outbox::Column::CreatedAt).into_query();
        let created_at = || Expr::col(outbox::Column::CreatedAt);
        let count =
            Query::select().expr(created_at().count()).expr(created_at().min()).from_subquery(rows, "rows").take();
        let row = self.database.read.query_one(&count).await?;
        let (unsent, oldest): (i64, Option<i64>) = match row {
            Some(row) => (row.try_get_by_index(0)?, row.try_get_by_index(1)?),
            None => (0, None),
        };
        Ok(Backlog { waiting, unsent: u64::try_from(unsent).unwrap_or(0), oldest_unsent: oldest.map(Timestamp) })
    }
}

/// The outbox as it is sent: by order and version.
fn in_order() -> Select<outbox::Entity> {
    outbox::Entity::find()
        .order_by_asc(outbox::Column::OrderId)
        .order_by_asc(outbox::Column::Version)
        .order_by_asc(outbox::Column::N)
}

fn row_of<S: Table>(instance: &Instance<S>) -> <S::Entity as EntityTrait>::Model {
    let applied = instance.applied.iter().flat_map(|id| *id.as_bytes()).collect();
    let due_at = S::due(&instance.state).map(|(due, _)| due.0);
    S::write(instance, applied, due_at)
}

/// The ids in a row's `applied` column: 16 bytes each.
pub fn read_applied(bytes: &[u8]) -> Result<Vec<Uuid>, String> {
    if !bytes.len().is_multiple_of(16) {
        return Err(format!("{} bytes of applied ids, which is no multiple of 16", bytes.len()));
    }
    Ok(bytes.chunks_exact(16).filter_map(|id| Uuid::from_slice(id).ok()).collect())
}

fn read_outgoing<S: Saga>(row: outbox::Model) -> Result<Outgoing, StoreError> {
    let event_type = EventType::find(&row.topic, &row.event_type)
        .ok_or_else(|| damaged(format!("an outbox row of type {} on {}", row.event_type, row.topic)))?;
    Ok(Outgoing {
        order: OrderId(row.order_id),
        version: row.version,
        n: row.n,
        event_type,
        event_id: event_id(S::SERVICE, OrderId(row.order_id), row.version, event_type.name()),
        value: row.value,
        correlation_id: row.correlation_id,
        traceparent: Context::read(&row.traceparent),
        at: Timestamp(row.created_at),
    })
}

/// The error of a row that says what no row of ours can say.
pub fn damaged(what: String) -> StoreError {
    StoreError { message: format!("a stored row cannot be read: {what}"), transient: false, damaged: false }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        let failure = failure(&error);
        let (transient, damaged) =
            (matches!(failure, Failure::Transient | Failure::TooLong), failure == Failure::Damaged);
        StoreError { transient, damaged, message: error.to_string() }
    }
}
