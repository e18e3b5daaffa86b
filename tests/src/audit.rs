//! The invariants of the system, checked in the four databases once it is quiet.

use anyhow::{Result, ensure};
use inventory_service::saga::{InventorySaga, Stage as Held};
use notification_service::saga::{NotificationSaga, Status as Sent};
use order_service::saga::{OrderSaga, Stage};
use payment_service::saga::{PaymentSaga, Stage as Paid};
use runtime::database::Database;
use runtime::saga::Instance;
use runtime::store::Store;
use runtime::store::sql::{SqlStore, Table};
use sea_orm::EntityTrait;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The four databases: order, payment, inventory, notification.
pub struct Databases(pub [Database; 4]);

/// How long the system may take to become quiet.
const PATIENCE: Duration = Duration::from_secs(60);

async fn all<S: Table>(database: &Database) -> Result<HashMap<Uuid, Instance<S>>> {
    let rows = S::Entity::find().all(&database.read).await?;
    let read = |row| S::read(row).map(|instance| (instance.order.0, instance)).map_err(anyhow::Error::msg);
    rows.into_iter().map(read).collect()
}

/// Whether nothing is to be sent, and nothing due.
async fn quiet<S: Table + Default>(database: &Database) -> Result<bool> {
    let backlog = SqlStore::new(S::default(), database.clone()).backlog().await?;
    Ok(backlog.waiting + backlog.unsent == 0)
}

impl Databases {
    async fn is_quiet(&self) -> Result<bool> {
        let [order, payment, inventory, notification] = &self.0;
        let is_final = |instance: &Instance<OrderSaga>| {
            !matches!(instance.state.stage, Stage::AwaitingPayment | Stage::AwaitingInventory)
        };
        Ok(quiet::<OrderSaga>(order).await?
            && quiet::<PaymentSaga>(payment).await?
            && quiet::<InventorySaga>(inventory).await?
            && quiet::<NotificationSaga>(notification).await?
            && all::<OrderSaga>(order).await?.values().all(is_final))
    }

    /// Waits until nothing is under way, and then finds every violation of the invariants. `foreign` are orders that
    /// somebody else's order-service placed.
    pub async fn audit(&self, foreign: &[Uuid]) -> Result<Audited> {
        let started = Instant::now();
        let mut violations = Vec::new();
        loop {
            let quiet = self.is_quiet().await?;
            // What is on the log but not yet read is nowhere in the databases: look again until the books agree.
            let (found, audited) = self.look(foreign).await?;
            if quiet && found.is_empty() {
                return Ok(audited);
            }
            violations.clone_from(&found);
            ensure!(started.elapsed() < PATIENCE, "not quiet ({quiet}), or violated:\n{}", violations.join("\n"));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn look(&self, foreign: &[Uuid]) -> Result<(Vec<String>, Audited)> {
        let [order, payment, inventory, notification] = &self.0;
        let orders = all::<OrderSaga>(order).await?;
        let payments = all::<PaymentSaga>(payment).await?;
        let reservations = all::<InventorySaga>(inventory).await?;
        let notices = all::<NotificationSaga>(notification).await?;
        let mut violations = Vec::new();
        let mut violate = |rule: &str, what: String| violations.push(format!("{rule}: {what}"));

        for (id, instance) in &orders {
            let paid = payments.get(id).map(|payment| payment.state.stage);
            let held = reservations.get(id).map(|reservation| reservation.state.stage);
            let told =
                notices.get(id).map_or(0, |notices| notices.state.0.iter().filter(|n| n.status == Sent::Sent).count());
            let stage = instance.state.stage;
            let (paid_well, held_well, told_well) = match stage {
                Stage::Confirmed => (paid == Some(Paid::Confirmed), held == Some(Held::Reserved), told == 1),
                Stage::Failed | Stage::Cancelled => (
                    matches!(paid, Some(Paid::Failed | Paid::Refunded)),
                    !matches!(held, Some(Held::Reserved | Held::Allocating)),
                    told >= 1,
                ),
                Stage::Unknown | Stage::AwaitingPayment | Stage::AwaitingInventory => {
                    violate("I-1", format!("order {id} is {stage:?}"));
                    continue;
                }
            };
            if !paid_well {
                violate("I-3", format!("order {id} is {stage:?}, its payment {paid:?}"));
            }
            if !held_well {
                violate("I-4", format!("order {id} is {stage:?}, its reservation {held:?}"));
            }
            if !told_well {
                violate("I-5", format!("order {id} is {stage:?}, and {told} notices were sent"));
            }
        }
        for id in
            payments.keys().chain(reservations.keys()).filter(|id| !orders.contains_key(id) && !foreign.contains(id))
        {
            violate("I-6", format!("order {id} is known elsewhere and not to order-service"));
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
                violate("I-4", format!("{shelf:?}, and reservations hold {held}"));
            }
        }

        let records = notification_service::store::notifications::Entity::find().all(&notification.read).await?;
        let expected: usize = notices.values().map(|notices| notices.state.0.len()).sum();
        if records.len() != expected {
            violate("I-5", format!("{} notification records for {expected} notices", records.len()));
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
