//! The ways to a customer. So far there is one: the service's log.

use crate::saga::{Input, Notice, NotificationSaga, Occasion};
use async_trait::async_trait;
use contracts::{OrderId, event_id};
use runtime::actors::Outside;
use runtime::clock::Clock;
use runtime::saga::{Named, Saga};
use std::sync::Arc;
use uuid::Uuid;

/// The name of the log channel.
pub const LOG: &str = "LOG";

/// The id of an order's message for an occasion: the same, however often it is delivered, so that its receiver can
/// tell a repetition.
pub fn message_id(order: OrderId, occasion: Occasion) -> Uuid {
    event_id(NotificationSaga::SERVICE, order, 0, &format!("{}/{LOG}", occasion.name()))
}

/// The channels as the outside of the notification saga.
pub struct Channels {
    /// For the moment of the next attempt.
    pub clock: Arc<dyn Clock>,
}

#[async_trait]
impl Outside<NotificationSaga> for Channels {
    async fn perform(&self, order: OrderId, notice: Notice) -> Input {
        let Notice { occasion, customer_id, text, .. } = notice;
        let message_id = message_id(order, occasion);
        tracing::info!(order_id = %order, %message_id, customer_id, occasion = occasion.name(), "notice: {text}");
        Input::Delivered(occasion)
    }
}
