//! What an order has been through, step by step: its timeline.

use super::{Input, Money, Stage};
use contracts::{EventType, Timestamp};
use runtime::saga::Named;

/// What brought an order a step further, or was heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A customer ordered.
    Placed,
    /// A caller called the order off.
    CancelRequested,
    /// `payment.confirmed`
    PaymentConfirmed,
    /// `payment.failed`
    PaymentFailed,
    /// `inventory.reserved`
    InventoryReserved,
    /// `inventory.failed`
    InventoryFailed,
    /// `payment.refund.requested`
    RefundRequested,
    /// `payment.refunded`
    PaymentRefunded,
    /// `inventory.released`
    InventoryReleased,
    /// The payment's answer did not come in time.
    PaymentOverdue,
    /// The stock's answer did not come in time.
    InventoryOverdue,
    /// The log was away, so the order waits longer.
    LogWasAway,
}

impl Cause {
    /// What this input is.
    pub fn of(input: &Input) -> Self {
        match input {
            Input::Place(_) => Cause::Placed,
            Input::Cancel(_) => Cause::CancelRequested,
            Input::PaymentConfirmed => Cause::PaymentConfirmed,
            Input::PaymentFailed(_) => Cause::PaymentFailed,
            Input::InventoryReserved => Cause::InventoryReserved,
            Input::InventoryFailed(_) => Cause::InventoryFailed,
            Input::RefundRequested => Cause::RefundRequested,
            Input::PaymentRefunded => Cause::PaymentRefunded,
            Input::InventoryReleased => Cause::InventoryReleased,
            Input::PaymentOverdue => Cause::PaymentOverdue,
            Input::InventoryOverdue => Cause::InventoryOverdue,
            Input::LogWasAway => Cause::LogWasAway,
        }
    }

    /// The event that it was, if it came over the log.
    pub fn event_type(self) -> Option<EventType> {
        match self {
            Cause::PaymentConfirmed => Some(EventType::PaymentConfirmed),
            Cause::PaymentFailed => Some(EventType::PaymentFailed),
            Cause::InventoryReserved => Some(EventType::InventoryReserved),
            Cause::InventoryFailed => Some(EventType::InventoryFailed),
            Cause::RefundRequested => Some(EventType::PaymentRefundRequested),
            Cause::PaymentRefunded => Some(EventType::PaymentRefunded),
            Cause::InventoryReleased => Some(EventType::InventoryReleased),
            Cause::Placed
            | Cause::CancelRequested
            | Cause::PaymentOverdue
            | Cause::InventoryOverdue
            | Cause::LogWasAway => None,
        }
    }
}

impl Named for Cause {
    const ALL: &'static [Self] = &[
        Cause::Placed,
        Cause::CancelRequested,
        Cause::PaymentConfirmed,
        Cause::PaymentFailed,
        Cause::InventoryReserved,
        Cause::InventoryFailed,
        Cause::RefundRequested,
        Cause::PaymentRefunded,
        Cause::InventoryReleased,
        Cause::PaymentOverdue,
        Cause::InventoryOverdue,
        Cause::LogWasAway,
    ];

    fn name(self) -> &'static str {
        match self {
            Cause::Placed => "PLACED",
            Cause::CancelRequested => "CANCEL_REQUESTED",
            Cause::PaymentConfirmed => "PAYMENT_CONFIRMED",
            Cause::PaymentFailed => "PAYMENT_FAILED",
            Cause::InventoryReserved => "INVENTORY_RESERVED",
            Cause::InventoryFailed => "INVENTORY_FAILED",
            Cause::RefundRequested => "PAYMENT_REFUND_REQUESTED",
            Cause::PaymentRefunded => "PAYMENT_REFUNDED",
            Cause::InventoryReleased => "INVENTORY_RELEASED",
            Cause::PaymentOverdue => "PAYMENT_DEADLINE_PASSED",
            Cause::InventoryOverdue => "INVENTORY_DEADLINE_PASSED",
            Cause::LogWasAway => "DEADLINE_MOVED",
        }
    }
}

/// One step of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// When.
    pub at: Timestamp,
    /// By what.
    pub cause: Cause,
    /// How far the order was then.
    pub stage: Stage,
    /// What was known of the money then.
    pub money: Money,
}
