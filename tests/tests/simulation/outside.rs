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
use runtime::actors::outside::Outside;
use runtime::clock::Clock;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The outside of a saga, for its mutant.
pub(super) struct SameOutside<O>(pub(super) O);

#[async_trait]
impl<S: Kept, O: Outside<S>> Outside<Mutant<S>> for SameOutside<O> {
    async fn perform(&self, order: OrderId, effect: S::Effect) -> S::Input {
        self.0.perform(order, effect).await
    }

    fn room(&self, effect: &S::Effect) -> Option<&Semaphore> {
        self.0.room(effect)
    }

    fn name(&self, effect: &S::Effect) -> &'static str {
        self.0.name(effect)
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
        let (world, process, key) = (&self.world, &self.process, notice.key());
        world.pass(process, Point::BeforeNotice).await;
        world.pause(5).await;
        process.gate().await;
        if world.chance(world.plan.faults.undelivered) {
            world.count("notices not delivered");
            let clock = SimClock { world: Arc::clone(world), process: Arc::clone(process) };
            let retry_at = Some(clock.now().plus_millis(200));
            return Input::NotDelivered { key, error: "away".to_owned(), retry_at };
        }
        world.tell(process, Some(order), format!("a notice: {key:?}"));
        let id = message_id(order, key);
        world.with(|state| state.watch.delivered(order, key, id));
        world.pass(process, Point::Noticed).await;
        Input::Delivered(key)
    }

    fn room(&self, _: &Notice) -> Option<&Semaphore> {
        None
    }

    fn name(&self, _: &Notice) -> &'static str {
        "notify"
    }
}
