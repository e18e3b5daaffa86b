//! The timers: they find orders with something due and wake them, through the same door as everything else. What a
//! crash interrupted is found here, too.

use super::Wiring;
use super::router::RouterMessage;
use crate::saga::Saga;
use async_trait::async_trait;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::Duration;

/// How often the database is asked.
const PERIOD: Duration = Duration::from_millis(500);
/// Orders that are woken at a time; the rest are still due the next time.
const AT_A_TIME: u64 = 500;

/// Time to look.
#[derive(Clone, Copy, Debug)]
pub struct Tick;

/// The actor.
pub struct Timers<S: Saga>(pub Arc<Wiring<S>>);

#[async_trait]
impl<S: Saga> Actor for Timers<S> {
    type Msg = Tick;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Tick>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(myself.cast(Tick)?)
    }

    async fn handle(&self, myself: ActorRef<Tick>, _: Tick, (): &mut ()) -> Result<(), ActorProcessingErr> {
        match self.0.store.due(self.0.clock.now(), AT_A_TIME).await {
            Ok(due) => {
                for order in due {
                    // A router that is being started again is found the next time.
                    let _ = self.0.router.cast(RouterMessage::Wake(order));
                }
            }
            Err(error) => tracing::warn!(service = S::SERVICE, %error, "what is due cannot be read; trying again"),
        }
        // One after the other, so that a slow database is not asked faster than it answers.
        myself.send_after(PERIOD, || Tick);
        Ok(())
    }
}
