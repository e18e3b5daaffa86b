//! The invariants of the system, checked in the four databases once it is quiet.

use anyhow::{Result, bail};
use inventory_service::saga::{InventorySaga, Stage as Held};
use notification_service::saga::{Channel, Notice, NotificationSaga, Status as Sent};
use order_service::saga::{OrderSaga, Stage};
use payment_service::saga::{PaymentSaga, Stage as Paid};
use runtime::database::Database;
use runtime::saga::Instance;
use runtime::store::Store;
use runtime::store::sql::{SqlStore, Table};
use sea_orm::EntityTrait;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The four databases: order, payment, inventory, notification.
pub struct Databases(pub [Database; 4]);

/// How long the system may take to become quiet.
const PATIENCE: Duration = Duration::from_secs(60);
/// Violations that an error tells of.
const TOLD: usize = 20;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant, such as `I-3`.
    pub rule: &'static str,
    /// Of which order, if of one.
    pub order: Option<Uuid>,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.order {
            Some(order) => write!(f, "{}: order {order} {}", self.rule, self.what),
            None => write!(f, "{}: {}", self.rule, self.what),
        }
    }
}

/// The system did not become quiet in time, or the books do not agree.
#[derive(Clone, Debug)]
pub struct Violations {
    /// What is still under way.
    pub under_way: Vec<String>,
    /// What must not be.
    pub found: Vec<Violation>,
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "under way: {:?}; {} violations:", self.under_way, self.found.len())?;
        self.found.iter().take(TOLD).try_for_each(|violation| write!(f, "\n{violation}"))
    }
}

impl std::error::Error for Violations {}

async fn all<S: Table>(database: &Database) -> Result<HashMap<Uuid, Instance<S>>> {
    let rows = S::Entity::find().all(&database.read).await?;
    let read = |row| S::read(row).map(|instance| (instance.order.0, instance)).map_err(anyhow::Error::msg);
    rows.into_iter().map(read).collect()
}

/// What is still to be sent or done.
async fn due<S: Table + Default>(database: &Database) -> Result<Option<String>> {
    let backlog = SqlStore::new(S::default(), database.clone()).backlog().await?;
    let (waiting, unsent) = (backlog.waiting, backlog.unsent);
    Ok((waiting + unsent > 0).then(|| format!("{} waits for {waiting} orders and {unsent} events", S::SERVICE)))
}

impl Databases {
    /// What is not quiet.
    async fn under_way(&self) -> Result<Vec<String>> {
        let [order, payment, inventory, notification] = &self.0;
        let is_open =
            |i: &&Instance<OrderSaga>| matches!(i.state.stage, Stage::AwaitingPayment | Stage::AwaitingInventory);
        let open = all::<OrderSaga>(order).await?.values().filter(is_open).count();
        let mut under_way: Vec<String> = (open > 0).then(|| format!("{open} orders not final")).into_iter().collect();
        under_way.extend(due::<OrderSaga>(order).await?);
        under_way.extend(due::<PaymentSaga>(payment).await?);
        under_way.extend(due::<InventorySaga>(inventory).await?);
        under_way.extend(due::<NotificationSaga>(notification).await?);
        Ok(under_way)
    }

    /// Waits until nothing is under way, and then finds every violation of the invariants. `foreign` are orders that
    /// somebody else's order-service placed.
    pub async fn audit(&self, foreign: &[Uuid]) -> Result<Audited> {
        self.audit_within(PATIENCE, foreign).await
    }

    /// The same, with this patience. The error is a [`Violations`] where the books can be read.
    pub async fn audit_within(&self, patience: Duration, foreign: &[Uuid]) -> Result<Audited> {
        let started = Instant::now();
        loop {
            let under_way = self.under_way().await?;
            // What is on the log but not yet read is nowhere in the databases: look again until the books agree.
            let (found, audited) = self.look(foreign).await?;
            if under_way.is_empty() && found.is_empty() {
                return Ok(audited);
            }
            if started.elapsed() > patience {
                bail!(Violations { under_way, found });
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn look(&self, foreign: &[Uuid]) -> Result<(Vec<Violation>, Audited)> {
        let [order, payment, inventory, notification] = &self.0;
        let orders = all::<OrderSaga>(order).await?;
        let payments = all::<PaymentSaga>(payment).await?;
        let reservations = all::<InventorySaga>(inventory).await?;
        let notices = all::<NotificationSaga>(notification).await?;
        let mut violations = Vec::new();
        let mut violate = |rule, order: Option<&Uuid>, what: String| {
            violations.push(Violation { rule, order: order.copied(), what });
        };

        for (id, instance) in &orders {
            let paid = payments.get(id).map(|payment| payment.state.stage);
            let held = reservations.get(id).map(|reservation| reservation.state.stage);
            let in_log = |n: &&Notice| n.channel == Channel::Log && n.status == Sent::Sent;
            let told = notices.get(id).map_or(0, |notices| notices.state.0.iter().filter(in_log).count());
            let stage = instance.state.stage;
            let (paid_well, held_well, told_well) = match stage {
                Stage::Confirmed => (paid == Some(Paid::Confirmed), held == Some(Held::Reserved), told == 1),
                Stage::Failed | Stage::Cancelled => (
                    matches!(paid, Some(Paid::Failed | Paid::Refunded)),
                    !matches!(held, Some(Held::Reserved | Held::Allocating)),
                    told >= 1,
                ),
                Stage::Unknown | Stage::AwaitingPayment | Stage::AwaitingInventory => {
                    violate("I-1", Some(id), format!("is {stage:?}"));
                    continue;
                }
            };
            if !paid_well {
                violate("I-3", Some(id), format!("is {stage:?}, its payment {paid:?}"));
            }
            if !held_well {
                violate("I-4", Some(id), format!("is {stage:?}, its reservation {held:?}"));
            }
            if !told_well {
                violate("I-5", Some(id), format!("is {stage:?}, and {told} notices were sent"));
            }
        }
        for id in
            payments.keys().chain(reservations.keys()).filter(|id| !orders.contains_key(id) && !foreign.contains(id))
        {
            violate("I-6", Some(id), "is known elsewhere and not to order-service".to_owned());
        }

        let captured: i128 = payments
            .values()
            .filter(|payment| !foreign.contains(&payment.order.0) && payment.state.stage == Paid::Confirmed)
            .map(|payment| i128::from(payment.state.amount.ten_thousandths()))
            .sum();
        let confirmed = orders.values().filter(|order| order.state.stage == Stage::Confirmed);
        let owed: i128 = confirmed.map(|order| i128::from(order.state.details.total.ten_thousandths())).sum();
        if captured != owed {
            violate(
                "I-3",
                None,
                format!("{captured} ten-thousandths are kept, and {owed} are the totals of confirmed orders"),
            );
        }

        let mut held: BTreeMap<&str, i64> = BTreeMap::new();
        for reservation in reservations.values().filter(|reservation| reservation.state.stage == Held::Reserved) {
            for line in &reservation.state.lines {
                *held.entry(&line.product_id).or_default() += line.quantity;
            }
        }
        for shelf in inventory_service::stock::Entity::find().all(&inventory.read).await? {
            let held = held.get(shelf.product_id.as_str()).copied().unwrap_or(0);
            if shelf.reserved != held || shelf.available() < 0 {
                violate("I-4", None, format!("{shelf:?}, and reservations hold {held}"));
            }
        }

        let records = notification_service::store::notifications::Entity::find().all(&notification.read).await?;
        let expected: usize = notices.values().map(|notices| notices.state.0.len()).sum();
        if records.len() != expected {
            violate("I-5", None, format!("{} notification records for {expected} notices", records.len()));
        }
        Ok((violations, Audited { orders, payments, reservations }))
    }
}

/// What the databases hold, without violations.
pub struct Audited {
    /// By order.
    pub orders: HashMap<Uuid, Instance<OrderSaga>>,
    /// By order.
    pub payments: HashMap<Uuid, Instance<PaymentSaga>>,
    /// By order.
    pub reservations: HashMap<Uuid, Instance<InventorySaga>>,
}
