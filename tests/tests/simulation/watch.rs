//! What is looked at while a run goes on, at every commit.

use super::kept::Kept;
use super::log::Log;
use super::mutation::Mutant;
use contracts::{EventType, OrderId};
use e2e::api::Service;
use inventory_service::stock::Shelves;
use notification_service::saga::Key;
use order_service::saga::{INVENTORY_TIMEOUT, OrderSaga, PAYMENT_TIMEOUT, Stage};
use runtime::event_log::Partition;
use runtime::saga::{Outgoing, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use uuid::Uuid;

/// A step that is being committed.
pub(super) struct Commit<'a, S: Kept> {
    /// The state that is stored before it.
    pub(super) before: Option<&'a S::State>,
    pub(super) step: &'a Step<Mutant<S>>,
    pub(super) outgoing: &'a [Outgoing],
    /// Virtual milliseconds.
    pub(super) now: u64,
    pub(super) log: &'a Log,
    /// Inventory's stock after it.
    pub(super) stock: Shelves,
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which, as `contracts.md` numbers them.
    pub(crate) rule: &'static str,
    /// Of which order, if it is of one.
    pub(crate) order: Option<OrderId>,
    /// What is wrong.
    pub(crate) what: String,
}

/// A message as a group reads it: topic, partition, offset and group.
pub(super) type Read = (String, i32, i64, String);

/// What was seen.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) violations: Vec<Violation>,
    /// The events that were committed, in the order in which they happened, by who sends them.
    pub(super) committed: BTreeMap<(Service, OrderId), Vec<(Uuid, EventType)>>,
    /// Which process committed an order's event on a topic that is not on the log yet.
    pub(super) unsent: BTreeMap<(OrderId, String), String>,
    /// Orders whose callers were told that they are accepted.
    pub(super) accepted: BTreeSet<OrderId>,
    /// Cancels whose callers were told that they are accepted.
    pub(super) cancelled: BTreeSet<OrderId>,
    /// Which notices were delivered, under which message ids.
    pub(super) notices: BTreeMap<(OrderId, Key), BTreeSet<Uuid>>,
    /// Orders of which somebody has told lies.
    pub(super) misled: BTreeSet<OrderId>,
    /// Messages with a dead letter.
    pub(super) buried: BTreeSet<Read>,
    /// Messages that were passed without one.
    pub(super) passed: BTreeSet<Read>,
}

impl Watch {
    pub(super) fn violate(&mut self, rule: &'static str, order: Option<OrderId>, what: String) {
        self.violations.push(Violation { rule, order, what });
    }

    /// A notice was handed to the customer.
    pub(super) fn delivered(&mut self, order: OrderId, key: Key, message: Uuid) {
        self.notices.entry((order, key)).or_default().insert(message);
    }

    /// A group has passed these offsets for good. Whether they are of bad messages is known at the end.
    pub(super) fn passed(&mut self, group: &str, partition: &Partition, offsets: Range<i64>) {
        let read = |offset| (partition.topic.clone(), partition.partition, offset, group.to_owned());
        self.passed.extend(offsets.map(read).filter(|read| !self.buried.contains(read)));
    }

    /// What is looked at in every service.
    pub(super) fn any<S: Kept>(&mut self, commit: &Commit<'_, S>) {
        let order = commit.step.next.order;
        let sent = self.committed.entry((S::PLACE, order)).or_default();
        let ids = commit.outgoing.iter().map(|row| {
            let id = contracts::event_id(S::SERVICE, row.order, row.version, row.event_type.name());
            (id, row.event_type)
        });
        sent.extend(ids);
        for shelf in commit.stock.values().filter(|shelf| shelf.available() < 0 || shelf.reserved < 0) {
            self.violate("I-4", Some(order), format!("the stock is {shelf:?}"));
        }
    }

    /// What is looked at in order-service.
    pub(super) fn order(&mut self, commit: &Commit<'_, OrderSaga>) {
        self.any(commit);
        let Some(before) = commit.before else { return };
        let next = &commit.step.next;
        let (from, to) = (before.stage, next.state.stage);
        let keeps = match from {
            Stage::Confirmed => matches!(to, Stage::Confirmed | Stage::Cancelled),
            Stage::Failed | Stage::Cancelled => from == to,
            Stage::Unknown | Stage::AwaitingPayment | Stage::AwaitingInventory => true,
        };
        if !keeps {
            self.violate("I-2", Some(next.order), format!("it went from {from:?} to {to:?}"));
        }
        let code = next.state.reason.as_ref().map_or("", |reason| reason.code.as_str());
        if to == Stage::Failed && from != to && matches!(code, PAYMENT_TIMEOUT | INVENTORY_TIMEOUT) {
            self.deadline(commit, from, before.deadline.map_or(0, |deadline| deadline.0));
        }
    }

    /// A deadline counts. The answer must not have been on the log when it fell due.
    fn deadline(&mut self, commit: &Commit<'_, OrderSaga>, from: Stage, due: i64) {
        let order = commit.step.next.order;
        // The moment, as the process that decides has it, and the same in the log's time.
        let lead = commit.step.next.updated_at.0 / 1_000 - i64::try_from(commit.now).unwrap_or(0);
        let due = due / 1_000 - lead;
        let stock = [EventType::InventoryReserved, EventType::InventoryFailed];
        let payment = [EventType::PaymentConfirmed, EventType::PaymentFailed];
        let answers = stock.into_iter().chain(payment.into_iter().filter(|_| from == Stage::AwaitingPayment));
        for answer in answers {
            if let Some(at) = commit.log.first(order, answer)
                && i64::try_from(at).unwrap_or(0) < due
            {
                let what = format!("it failed by a deadline at {due} ms, and {answer:?} was on the log at {at} ms");
                self.violate("I-1", Some(order), what);
            }
        }
        if from == Stage::AwaitingPayment && commit.log.first(order, EventType::OrderCreated).is_none() {
            self.violate("I-1", Some(order), "it failed by a deadline before anybody could hear of it".to_owned());
        }
    }
}
