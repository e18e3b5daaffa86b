//! The notices' channel, and the real outside of a saga as that of its mutant.

use super::kept::Kept;
use super::mutation::Mutant;
use super::point::Point;
use super::process::{Process, SimClock};
use super::world::World;
use async_trait::async_trait;
use contracts::OrderId;
use notification_service::channel::message_id;
use notification_service::saga::{Input, Notice, NotificationSaga};
use runtime::actors::Outside;
use runtime::clock::Clock;
use std::sync::Arc;

/// The outside of a saga, for its mutant.
pub(super) struct SameOutside<O>(pub(super) O);

#[async_trait]
impl<S: Kept, O: Outside<S>> Outside<Mutant<S>> for SameOutside<O> {
    async fn perform(&self, order: OrderId, effect: S::Effect) -> S::Input {
        self.0.perform(order, effect).await
    }
}

/// A channel to customers.
pub(super) struct SimChannel {
    pub(super) world: Arc<World>,
    pub(super) process: Arc<Process>,
}

#[async_trait]
impl Outside<NotificationSaga> for SimChannel {
    async fn perform(&self, order: OrderId, notice: Notice) -> Input {
        let (world, process) = (&self.world, &self.process);
        world.pass(process, Point::BeforeNotice).await;
        world.pause(5).await;
        process.gate().await;
        if world.chance(world.plan.faults.undelivered) {
            world.count("notices not delivered");
            let clock = SimClock { world: Arc::clone(world), process: Arc::clone(process) };
            return Input::NotDelivered { occasion: notice.occasion, retry_at: clock.now().plus_millis(200) };
        }
        world.tell(process, Some(order), format!("a notice: {:?}", notice.occasion));
        let id = message_id(order, notice.occasion);
        world.with(|state| state.watch.delivered(order, notice.occasion, id));
        world.pass(process, Point::Noticed).await;
        Input::Delivered(notice.occasion)
    }
}
