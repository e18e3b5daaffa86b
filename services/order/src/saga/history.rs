//! What an order has been through, step by step: its timeline.

use super::{Input, Money, Stage};
use contracts::{EventType, Timestamp};
use strum::{EnumString, IntoStaticStr, VariantArray};

/// What brought an order a step further, or was heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr, EnumString)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
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
    #[strum(serialize = "PAYMENT_REFUND_REQUESTED")]
    RefundRequested,
    /// `payment.refunded`
    PaymentRefunded,
    /// `inventory.released`
    InventoryReleased,
    /// The payment's answer did not come in time.
    #[strum(serialize = "PAYMENT_DEADLINE_PASSED")]
    PaymentOverdue,
    /// The stock's answer did not come in time.
    #[strum(serialize = "INVENTORY_DEADLINE_PASSED")]
    InventoryOverdue,
    /// The log was away, so the order waits longer.
    #[strum(serialize = "DEADLINE_MOVED")]
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
