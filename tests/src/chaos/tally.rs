//! What was asked of the system, what it said, and what therefore must be true at the end.

use order_service::saga::{OUT_OF_STOCK, Order, PAYMENT_DECLINED, Stage};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// What an order is made to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It can be paid and delivered.
    Good,
    /// It can, and two of its lines are of one product.
    TwoLines,
    /// The provider declines its customer.
    Declined,
    /// There never was so much of its product.
    Short,
    /// There is enough for some orders of its kind.
    Contended,
}

/// What a request to cancel was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Cancel {
    /// There was none.
    #[default]
    None,
    /// 202.
    Accepted,
    /// 409.
    Refused,
    /// Nothing clear.
    Unknown,
}

/// An order that was answered 202.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    /// What it is made to come to.
    pub(super) kind: Kind,
    /// Its total, in ten-thousandths.
    pub(super) total: i64,
    /// Whether it was called off.
    pub(super) cancel: Cancel,
}

/// Everything that the load knows.
#[derive(Debug, Default)]
pub(super) struct Count {
    /// By order.
    pub(super) accepted: HashMap<Uuid, Accepted>,
    /// POSTs without a clear answer, by what was seen instead: each may have placed an order, or not.
    pub(super) unknown: BTreeMap<String, u64>,
    /// Answers that the contract does not have.
    pub(super) wrong: Vec<String>,
}

/// The load's books, shared.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Count>);

impl Tally {
    /// The books.
    pub(super) fn lock(&self) -> MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many orders were accepted, and how many POSTs had no clear answer.
    pub(super) fn sums(&self) -> (usize, u64) {
        let count = self.lock();
        (count.accepted.len(), count.unknown.values().sum())
    }
}

impl Accepted {
    /// What is wrong with this end of the order, if anything is.
    pub(super) fn judge(&self, order: &Order) -> Option<String> {
        let code = order.reason.as_ref().map_or("", |reason| reason.code.as_str());
        let can_be_confirmed = !matches!(self.kind, Kind::Declined | Kind::Short);
        let fine = match order.stage {
            Stage::Confirmed => can_be_confirmed && self.cancel != Cancel::Accepted,
            Stage::Cancelled => matches!(self.cancel, Cancel::Accepted | Cancel::Unknown),
            // Any other reason is a deadline's: an outage can outlast one.
            Stage::Failed => {
                let fits = match code {
                    PAYMENT_DECLINED => self.kind == Kind::Declined,
                    OUT_OF_STOCK => matches!(self.kind, Kind::Short | Kind::Contended),
                    _ => !code.is_empty(),
                };
                fits && self.cancel != Cancel::Accepted
            }
            Stage::Unknown | Stage::AwaitingPayment | Stage::AwaitingInventory => false,
        };
        if order.details.total.ten_thousandths() != self.total {
            return Some(format!("its total is {}, and {} ten-thousandths were sent", order.details.total, self.total));
        }
        (!fine).then(|| format!("it is {:?} {code}, and was {:?}, cancel {:?}", order.stage, self.kind, self.cancel))
    }
}
