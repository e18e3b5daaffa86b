//! How the orders come along, seen in order-service's database while everything runs.

use crate::audit::Databases;
use crate::programs::Stack;
use anyhow::{Context, Result};
use contracts::Timestamp;
use runtime::clock::{Clock, SystemClock};
use runtime::database::Database;
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often is looked.
const PERIOD: Duration = Duration::from_millis(100);
/// How long the database may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was seen last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// When the looking began.
    pub(super) at: Timestamp,
    /// Orders that are CONFIRMED, FAILED or CANCELLED.
    pub(super) finals: i64,
    /// The others.
    pub(super) pending: i64,
    /// When the youngest CONFIRMED order was placed. One that is called off at once is final without anybody but
    /// order-service; one that is confirmed needs payment and inventory as well.
    pub(super) youngest_confirmed: Timestamp,
    /// When the youngest notice of a confirmation that was sent was recorded.
    pub(super) youngest_notice: Timestamp,
    /// When the oldest order that is not final was placed.
    pub(super) oldest_pending: Option<Timestamp>,
}

/// The looking, as long as it is held.
pub(super) struct Watch {
    seen: watch::Receiver<Seen>,
    looking: JoinHandle<()>,
}

const LOOK: &str = "SELECT count(*) FILTER (WHERE final), count(*) FILTER (WHERE NOT final),
    coalesce(max(created_at) FILTER (WHERE stage = 'CONFIRMED'), 0), min(created_at) FILTER (WHERE NOT final)
    FROM (SELECT stage, stage IN ('CONFIRMED', 'FAILED', 'CANCELLED') AS final, created_at FROM orders) AS orders";
const LOOK_AT_NOTICES: &str = "SELECT coalesce(max(created_at), 0) FROM notifications
    WHERE status = 'SENT' AND occasion = 'ORDER_CONFIRMED'";

async fn one_row(database: &Database, query: &str) -> Result<QueryResult> {
    let statement = Statement::from_string(DbBackend::Postgres, query);
    tokio::time::timeout(PATIENCE, database.read.query_one_raw(statement)).await??.context("no row")
}

async fn look(databases: &Databases) -> Result<Seen> {
    let at = SystemClock.now();
    let [order, _, _, notification] = &databases.0;
    let row = one_row(order, LOOK).await?;
    let notice = one_row(notification, LOOK_AT_NOTICES).await?;
    Ok(Seen {
        at,
        finals: row.try_get_by_index(0)?,
        pending: row.try_get_by_index(1)?,
        youngest_confirmed: Timestamp(row.try_get_by_index(2)?),
        youngest_notice: Timestamp(notice.try_get_by_index(0)?),
        oldest_pending: row.try_get_by_index::<Option<i64>>(3)?.map(Timestamp),
    })
}

impl Watch {
    /// Begins.
    pub(super) async fn start(stack: &Stack) -> Result<Self> {
        let databases = stack.databases().await?;
        let (sender, seen) = watch::channel(Seen::default());
        let looking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(PERIOD).await;
                // While the database is away, what was seen last stands.
                if let Ok(now) = look(&databases).await {
                    sender.send_replace(now);
                }
            }
        });
        Ok(Watch { seen, looking })
    }

    /// What was seen last.
    pub(super) fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    /// Waits until this is seen, and says how long it took.
    pub(super) async fn until(&self, patience: Duration, holds: impl Fn(&Seen) -> bool) -> Option<Duration> {
        let started = Instant::now();
        let mut seen = self.seen.clone();
        let waited = tokio::time::timeout(patience, seen.wait_for(|seen| holds(seen))).await;
        matches!(waited, Ok(Ok(_))).then(|| started.elapsed())
    }

    /// Waits until an order that is placed from now on is confirmed and a customer is told of a confirmation, which
    /// takes all four services.
    pub(super) async fn until_progress(&self, patience: Duration) -> Option<Duration> {
        let now = SystemClock.now();
        self.until(patience, |seen| seen.youngest_confirmed.min(seen.youngest_notice) >= now).await
    }

    /// Waits until every order that was placed before now is final.
    pub(super) async fn until_caught_up(&self, patience: Duration) -> Option<Duration> {
        let now = SystemClock.now();
        self.until(patience, |seen| seen.at >= now && seen.oldest_pending.is_none_or(|oldest| oldest > now)).await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.looking.abort();
    }
}
