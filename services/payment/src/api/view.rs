//! Payments as they are shown.

use crate::saga::{PaymentSaga, Stage};
use contracts::{PaymentId, RefundId};
use poem_openapi::{Enum, Object};
use runtime::http::JsonAmount;
use runtime::saga::{Instance, Named};
use uuid::Uuid;

/// How a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum PaymentStatus {
    /// The provider has not answered yet.
    Pending,
    /// The customer was charged.
    Confirmed,
    /// The customer was not charged, and will not be.
    Failed,
    /// The customer has the money back.
    Refunded,
}

/// A payment.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "Payment")]
pub(super) struct PaymentView {
    /// The payment.
    payment_id: String,
    /// The order that is paid for.
    order_id: Uuid,
    /// Who pays.
    customer_id: String,
    /// How much.
    amount: JsonAmount,
    /// ISO 4217.
    currency: String,
    /// How it stands.
    status: PaymentStatus,
    /// Why it failed.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<String>,
    /// The refund, if one is due or done.
    #[oai(skip_serializing_if_is_none)]
    refund: Option<RefundView>,
    /// What somebody has to look at, in words.
    #[oai(skip_serializing_if_is_none)]
    attention: Option<String>,
    /// The same as codes: `CHARGE_WITHOUT_OUTCOME`, `REFUND_WITHOUT_OUTCOME`, `REFUND_REFUSED`, `REFUNDED_TWICE`,
    /// `REQUEST_REFUSED`.
    #[oai(skip_serializing_if_is_empty, default)]
    attention_reasons: Vec<String>,
    /// What somebody has looked at and resolved.
    #[oai(skip_serializing_if_is_none)]
    acknowledged: Option<AcknowledgedView>,
    /// The attempts at the provider that gave no outcome, while there is none.
    #[oai(skip_serializing_if_is_none)]
    attempts: Option<AttemptsView>,
    /// Ties together all that came of the order, over all services.
    correlation_id: String,
    /// ISO 8601, UTC.
    created_at: String,
    /// ISO 8601, UTC.
    updated_at: String,
}

/// A refund of all that was charged.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "Refund")]
pub(super) struct RefundView {
    /// The refund.
    refund_id: String,
    /// Why.
    reason: String,
    /// How the money was given back by other means, in the words of who said so.
    #[oai(skip_serializing_if_is_none)]
    note: Option<String>,
}

/// Refund requests that were refused, and that somebody has looked at.
#[derive(Clone, Debug, Object)]
#[oai(rename = "Acknowledged")]
pub(super) struct AcknowledgedView {
    /// What was wrong with them.
    what: String,
    /// What there was to say about it.
    note: String,
}

/// Attempts at the provider that gave no outcome.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "Attempts")]
pub(super) struct AttemptsView {
    /// How many.
    count: u32,
    /// What was seen of the last one.
    last_error: String,
    /// Not before this moment is the next one. ISO 8601, UTC.
    next_at: String,
}

/// A payment as it is shown; none for orders that are known here but were never to be paid.
pub(super) fn view(instance: Instance<PaymentSaga>) -> Option<PaymentView> {
    let Instance { order, state: payment, correlation_id, created_at, updated_at, .. } = instance;
    let status = match payment.stage {
        Stage::Unknown | Stage::RefundHeld | Stage::Closed => return None,
        Stage::Charging | Stage::ChargingToRefund => PaymentStatus::Pending,
        Stage::Confirmed | Stage::Refunding | Stage::RefundRefused => PaymentStatus::Confirmed,
        Stage::Failed => PaymentStatus::Failed,
        Stage::Refunded => PaymentStatus::Refunded,
    };
    let payment_id = PaymentId::of(order);
    let refund = payment.refund.map(|refund| RefundView {
        refund_id: refund.requested_as.unwrap_or_else(|| RefundId::of(&payment_id)).0,
        reason: refund.reason,
        note: refund.note,
    });
    let texts: Vec<&str> = payment.attention.values().map(String::as_str).collect();
    let (count, next_at) = (payment.attempts, payment.retry_at.to_string());
    let attempts = payment.last_error.map(|last_error| AttemptsView { count, last_error, next_at });
    Some(PaymentView {
        payment_id: payment_id.0,
        order_id: order.0,
        customer_id: payment.customer_id,
        amount: payment.amount.into(),
        currency: payment.currency,
        status,
        reason: payment.reason,
        refund,
        attention: (!texts.is_empty()).then(|| texts.join("; ")),
        attention_reasons: payment.attention.keys().map(|concern| concern.name().to_owned()).collect(),
        acknowledged: payment.acknowledged.map(|seen| AcknowledgedView { what: seen.what, note: seen.note }),
        attempts,
        correlation_id,
        created_at: created_at.to_string(),
        updated_at: updated_at.to_string(),
    })
}
