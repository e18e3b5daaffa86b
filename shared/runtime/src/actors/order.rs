//! The order actor: one per order in play. It holds what it last committed and takes one input at a time.

use super::group_commit::Request;
use super::journal::{Write, Written};
use super::{Unavailable, Wiring};
use crate::saga::{Caused, Instance, Nothing, Rejection, Saga, Step, Unmoved};
use crate::store::Verdict;
use async_trait::async_trait;
use contracts::{OrderId, event_id};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::sync::Arc;

/// A message to an order.
#[derive(Debug)]
pub enum OrderMessage<S: Saga> {
    /// Something came.
    Input(Caused<S::Input>, RpcReplyPort<Outcome<S>>),
    /// Something may be due outside.
    Wake,
}

/// What became of an input.
#[derive(Clone, Debug)]
pub enum Outcome<S: Saga> {
    /// It is committed; so stands the order now.
    Applied(Box<Instance<S>>),
    /// It changed nothing.
    Nothing(Nothing, Box<Instance<S>>),
    /// It was refused by the rules.
    Rejected(Rejection),
    /// It can never be stored.
    Refused(String),
    /// It could not be dealt with now; the order is as it was.
    Unavailable,
}

/// The actor.
pub struct OrderActor<S: Saga> {
    /// The order.
    pub order: OrderId,
    /// The others.
    pub wiring: Arc<Wiring<S>>,
}

impl<S: Saga> OrderActor<S> {
    async fn handle_input(
        &self,
        known: &mut Option<Instance<S>>,
        cause: &Caused<S::Input>,
    ) -> Result<Outcome<S>, Unavailable> {
        let mut look_up = !S::opens(&cause.input);
        loop {
            let current = match known {
                Some(current) => current,
                None if look_up => known.insert(self.load().await?),
                None => known.insert(Instance::unknown(self.order)),
            };
            let step = match Step::decide(current, cause, self.wiring.clock.now()) {
                Ok(step) => step,
                Err(Unmoved::Nothing(why)) => return Ok(Outcome::Nothing(why, Box::new(current.clone()))),
                Err(Unmoved::Rejected(why)) => return Ok(Outcome::Rejected(why)),
            };
            // Until the answer is here, what is stored is not known.
            *known = None;
            match self.commit(step).await? {
                Verdict::Committed(instance, _) => {
                    *known = Some(instance.clone());
                    return Ok(Outcome::Applied(Box::new(instance)));
                }
                Verdict::Conflict => look_up = true,
                Verdict::Refused(why) => return Ok(Outcome::Refused(why)),
            }
        }
    }

    /// Does what the order wants done outside, if it is due, until it wants nothing more now.
    async fn perform_due(&self, known: &mut Option<Instance<S>>) -> Result<(), Unavailable> {
        loop {
            let current = match known {
                Some(current) => current,
                None => known.insert(self.load().await?),
            };
            let Some((due, effect)) = S::pending(&current.state) else { return Ok(()) };
            if due > self.wiring.clock.now() {
                return Ok(());
            }
            let cause = Caused {
                id: event_id(S::SERVICE, self.order, current.version + 1, "outcome"),
                correlation_id: current.correlation_id.clone(),
                traceparent: current.traceparent.clone(),
                input: self.wiring.outside.perform(self.order, effect).await,
            };
            match self.handle_input(known, &cause).await? {
                Outcome::Applied(_) => {}
                outcome
                @ (Outcome::Nothing(..) | Outcome::Rejected(_) | Outcome::Refused(_) | Outcome::Unavailable) => {
                    // Nothing is lost: the order still wants it done, and the timers will come back to it.
                    tracing::warn!(service = S::SERVICE, order_id = %self.order, ?outcome, "an outcome was not taken");
                    return Ok(());
                }
            }
        }
    }

    async fn load(&self) -> Result<Instance<S>, Unavailable> {
        match self.wiring.loader.call(|reply| Request::Do(self.order, reply)).await? {
            Ok(found) => Ok(found.map_or_else(|| Instance::unknown(self.order), |instance| *instance)),
            Err(error) => {
                tracing::error!(service = S::SERVICE, order_id = %self.order, %error, "an order cannot be loaded");
                Err(Unavailable)
            }
        }
    }

    async fn commit(&self, step: Step<S>) -> Result<Verdict<S>, Unavailable> {
        match self.wiring.journal.call(|reply| Request::Do(Write::Step(Box::new(step)), reply)).await? {
            Written::Step(verdict) => Ok(*verdict),
            Written::Deleted => Err(Unavailable),
        }
    }
}

#[async_trait]
impl<S: Saga> Actor for OrderActor<S> {
    type Msg = OrderMessage<S>;
    type State = Option<Instance<S>>;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<OrderMessage<S>>, (): ()) -> Result<Option<Instance<S>>, ActorProcessingErr> {
        // Loaded with the first message, together with other orders.
        Ok(None)
    }

    async fn handle(
        &self,
        _: ActorRef<OrderMessage<S>>,
        message: OrderMessage<S>,
        known: &mut Option<Instance<S>>,
    ) -> Result<(), ActorProcessingErr> {
        let moved = match message {
            OrderMessage::Wake => true,
            OrderMessage::Input(cause, reply) => {
                let outcome = self.handle_input(known, &cause).await.unwrap_or(Outcome::Unavailable);
                let moved = matches!(outcome, Outcome::Applied(_));
                // Who asked may be gone; what is committed stays.
                let _ = reply.send(outcome);
                moved
            }
        };
        if moved {
            // An interruption leaves it due, and the timers come back to it.
            let _ = self.perform_due(known).await;
        }
        Ok(())
    }
}
