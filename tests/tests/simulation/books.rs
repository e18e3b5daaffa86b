//! What the databases, and somebody else's services, say in the end.

use super::kept::{Databases, Kept};
use super::mutation::Mutant;
use super::world::World;
use contracts::{Money as Amount, OrderId, OrderLine};
use inventory_service::saga::InventorySaga;
use inventory_service::stock::Shelves;
use notification_service::saga::NotificationSaga;
use order_service::saga::{Money, OrderSaga, Stage};
use payment_service::saga::PaymentSaga;
use runtime::saga::Instance;
use std::collections::BTreeMap;
use std::sync::PoisonError;

/// An order as its order-service has it in the end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ending {
    pub(super) stage: Stage,
    /// What ours says of the money.
    pub(super) money: Option<Money>,
    pub(super) code: String,
    pub(super) total: Amount,
    pub(super) lines: Vec<OrderLine>,
}

type Table<S> = BTreeMap<OrderId, Instance<Mutant<S>>>;

/// Everything that is stored.
#[derive(Clone, PartialEq)]
pub(super) struct Books {
    pub(super) endings: BTreeMap<OrderId, Ending>,
    pub(super) orders: Table<OrderSaga>,
    pub(super) payments: Table<PaymentSaga>,
    pub(super) reservations: Table<InventorySaga>,
    pub(super) notices: Table<NotificationSaga>,
    pub(super) stock: Shelves,
}

fn table<S: Kept>(databases: &Databases) -> Table<S> {
    S::rows(databases).lock().unwrap_or_else(PoisonError::into_inner).orders.clone()
}

impl Books {
    /// The books as they are now.
    pub(super) fn of(world: &World) -> Self {
        let databases = &world.databases;
        let orders = table::<OrderSaga>(databases);
        let ours = orders.iter().map(|(id, instance)| {
            let order = &instance.state;
            let ending = Ending {
                stage: order.stage,
                money: Some(order.money),
                code: order.reason.as_ref().map_or(String::new(), |reason| reason.code.clone()),
                total: order.details.total,
                lines: order.details.lines.clone(),
            };
            (*id, ending)
        });
        let theirs: Vec<(OrderId, Ending)> = world.with(|state| {
            let of = state.foreign.orders.iter().map(|(id, order)| {
                let stage = match order.confirmed {
                    None => Stage::AwaitingPayment,
                    Some(true) => Stage::Confirmed,
                    Some(false) => Stage::Failed,
                };
                let total = order.created.total_amount.positive().unwrap_or(Amount::ZERO);
                let lines = order.created.items.clone();
                (*id, Ending { stage, money: None, code: String::new(), total, lines })
            });
            of.collect()
        });
        Books {
            endings: ours.chain(theirs).collect(),
            payments: table::<PaymentSaga>(databases),
            reservations: table::<InventorySaga>(databases),
            notices: table::<NotificationSaga>(databases),
            stock: databases.stock(),
            orders,
        }
    }
}

/// Whether nothing is to be sent, and nothing due, in any of the four databases.
pub(super) fn are_quiet(databases: &Databases) -> bool {
    fn quiet<S: Kept>(databases: &Databases) -> bool {
        S::rows(databases).lock().unwrap_or_else(PoisonError::into_inner).are_quiet()
    }
    quiet::<OrderSaga>(databases)
        && quiet::<PaymentSaga>(databases)
        && quiet::<InventorySaga>(databases)
        && quiet::<NotificationSaga>(databases)
}
