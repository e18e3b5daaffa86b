//! Orders as they are shown.

use super::request::ContactView;
use crate::saga::{Order, OrderSaga, Stage};
use contracts::OrderLine;
use poem_openapi::{Enum, Object};
use runtime::http::JsonAmount;
use runtime::saga::{Instance, Named};
use std::sync::Arc;
use uuid::Uuid;

/// How an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum OrderStatus {
    /// Payment and stock are being settled.
    Pending,
    /// Paid for and held.
    Confirmed,
    /// It will not be delivered; `reason` says why.
    Failed,
    /// It was called off.
    Cancelled,
}

impl From<Stage> for OrderStatus {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Unknown | Stage::AwaitingPayment | Stage::AwaitingInventory => OrderStatus::Pending,
            Stage::Confirmed => OrderStatus::Confirmed,
            Stage::Failed => OrderStatus::Failed,
            Stage::Cancelled => OrderStatus::Cancelled,
        }
    }
}

/// What became of a request.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct Acknowledgement {
    /// The order.
    pub(super) order_id: Uuid,
    /// How it stands.
    pub(super) status: OrderStatus,
    /// The request's correlation id.
    pub(super) correlation_id: String,
}

/// Why an order ended without delivery.
#[derive(Clone, Debug, Object)]
pub(super) struct OrderReason {
    /// `PAYMENT_DECLINED`, `OUT_OF_STOCK`, `PAYMENT_TIMEOUT`, `INVENTORY_TIMEOUT` or `CANCELLED`.
    code: String,
    /// In words.
    message: String,
}

/// One line of an order.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct LineView {
    /// The product.
    product_id: String,
    /// How many.
    quantity: i64,
    /// The price of one.
    unit_price: JsonAmount,
}

/// An order.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "Order")]
pub(super) struct OrderView {
    /// The order.
    pub(super) order_id: Uuid,
    /// How it stands.
    pub(super) status: OrderStatus,
    /// What it waits for, while it is pending: `AWAITING_PAYMENT` or `AWAITING_INVENTORY`.
    #[oai(skip_serializing_if_is_none)]
    pub(super) stage: Option<String>,
    /// Until when it waits for that, ISO 8601, UTC.
    #[oai(skip_serializing_if_is_none)]
    pub(super) deadline: Option<String>,
    /// What is known of the money: `UNKNOWN`, `NONE`, `CHARGED`, `REFUND_DUE` or `REFUNDED`.
    pub(super) money: String,
    /// Why it ended without delivery, if it did.
    #[oai(skip_serializing_if_is_none)]
    pub(super) reason: Option<OrderReason>,
    /// Who ordered.
    pub(super) customer_id: String,
    /// What is charged.
    pub(super) total_amount: JsonAmount,
    /// ISO 4217.
    pub(super) currency: String,
    /// What was ordered.
    pub(super) items: Vec<LineView>,
    /// How to reach the customer, if the order came with it.
    #[oai(skip_serializing_if_is_none)]
    pub(super) contact: Option<ContactView>,
    /// Ties together all that came of the order, over all services.
    pub(super) correlation_id: String,
    /// When it was accepted, ISO 8601, UTC.
    pub(super) created_at: String,
    /// When it last changed, ISO 8601, UTC.
    pub(super) updated_at: String,
    /// Counts its changes.
    pub(super) version: i64,
}

impl From<Instance<OrderSaga>> for OrderView {
    fn from(instance: Instance<OrderSaga>) -> Self {
        let Order { stage, money, details, reason, deadline, history: _ } = instance.state;
        let line = |line: OrderLine| LineView {
            product_id: line.product_id,
            quantity: line.quantity,
            unit_price: JsonAmount(line.unit_price),
        };
        let (status, details) = (OrderStatus::from(stage), Arc::unwrap_or_clone(details));
        OrderView {
            order_id: instance.order.0,
            status,
            stage: (status == OrderStatus::Pending).then(|| stage.name().to_owned()),
            deadline: deadline.map(|deadline| deadline.to_string()),
            money: money.name().to_owned(),
            reason: reason.map(|reason| OrderReason { code: reason.code, message: reason.message }),
            customer_id: details.customer_id,
            total_amount: details.total.into(),
            currency: details.currency,
            items: details.lines.into_iter().map(line).collect(),
            contact: details.contact.map(ContactView::from),
            correlation_id: instance.correlation_id,
            created_at: instance.created_at.to_string(),
            updated_at: instance.updated_at.to_string(),
            version: instance.version,
        }
    }
}

impl OrderStatus {
    /// The stages in which an order stands so.
    pub(super) fn stages(self) -> impl Iterator<Item = Stage> {
        Stage::ALL.iter().copied().filter(move |stage| *stage != Stage::Unknown && OrderStatus::from(*stage) == self)
    }
}

/// The strong validator of an order at this version.
pub(super) fn etag(version: i64) -> String {
    format!("\"v{version}\"")
}

/// Orders, newest first.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "OrderList")]
pub(super) struct OrderList {
    /// The orders that match, newest first.
    pub(super) orders: Vec<OrderView>,
    /// Where the list goes on, if it does: give it as `cursor`, with the same filters.
    #[oai(nullable)]
    pub(super) next_cursor: Option<String>,
}

/// A change of an order.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct OrderChange {
    /// The order.
    pub(super) order_id: Uuid,
    /// Counts its changes.
    pub(super) version: i64,
    /// How it stands.
    pub(super) status: OrderStatus,
    /// What it waits for, while it is pending.
    #[oai(skip_serializing_if_is_none)]
    pub(super) stage: Option<String>,
    /// What is known of the money.
    pub(super) money: String,
    /// Who ordered.
    pub(super) customer_id: String,
    /// When it changed, ISO 8601, UTC.
    pub(super) updated_at: String,
}
