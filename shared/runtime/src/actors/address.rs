//! How actors find each other.

use super::mailbox::{Mail, Mailbox, Meter};
use super::supervisor::Child;
use ractor::{Actor, ActorRef, Message, RpcReplyPort};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::oneshot;

/// Where an actor can be reached, also after its supervisor has started it again.
pub struct Address<M> {
    meter: Meter,
    actor: Arc<RwLock<Option<Mailbox<M>>>>,
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Address { meter: self.meter.clone(), actor: Arc::clone(&self.actor) }
    }
}

/// The actor is not running just now, or it ended before it answered. Whether it did what it was asked is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of the service is being started again")]
pub struct Unavailable;

impl<M: Message> Address<M> {
    /// The address of an actor that is not there yet.
    pub fn of(service: &'static str, kind: &'static str) -> Self {
        Address { meter: Meter::of(service, kind), actor: Arc::default() }
    }

    /// What is measured of the actor.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The actor's mailbox, as the actor itself uses it.
    pub fn mailbox(&self, actor: ActorRef<Mail<M>>) -> Mailbox<M> {
        self.meter.mailbox(actor)
    }

    /// The actor is here from now on.
    fn set(&self, actor: ActorRef<Mail<M>>) {
        *self.actor.write().unwrap_or_else(PoisonError::into_inner) = Some(self.mailbox(actor));
    }

    /// The actor, supervised.
    pub fn child<A: Actor<Msg = Mail<M>, Arguments = ()>>(
        &self,
        make: impl Fn() -> A + Send + Sync + 'static,
    ) -> Child {
        let address = self.clone();
        Child::new(&self.meter, make, move |actor| address.set(actor))
    }

    /// Sends a message.
    pub fn cast(&self, message: M) -> Result<(), Unavailable> {
        let actor = self.actor.read().unwrap_or_else(PoisonError::into_inner);
        actor.as_ref().ok_or(Unavailable)?.cast(message).map_err(|_| Unavailable)
    }

    /// Sends a message and waits for its answer, for as long as it takes.
    pub async fn call<R: Send + 'static>(
        &self,
        message: impl FnOnce(RpcReplyPort<R>) -> M + Send,
    ) -> Result<R, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.cast(message(reply.into()))?;
        answer.await.map_err(|_| Unavailable)
    }
}
