//! The router: the one door to the orders. It starts an order's actor with the order's first message, and lets it go
//! when nothing has come for a while. An order that is done goes by itself.

use super::Wiring;
use super::mailbox::{Mail, Mailbox};
use super::order::{OrderActor, OrderMessage, Outcome, Wake, Woken};
use crate::saga::{Caused, Saga};
use async_trait::async_trait;
use contracts::OrderId;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, MessagingErr, RpcReplyPort, SupervisionEvent};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// An order without messages for this long leaves memory.
const IDLE: Duration = Duration::from_secs(5);
/// Beyond so many orders in memory, they leave as soon as they have nothing to do.
const CROWDED: usize = 1_000;
/// How often is looked for idle orders.
const SWEEP: Duration = Duration::from_secs(1);

/// A message to the router.
#[derive(Debug)]
pub enum RouterMessage<S: Saga> {
    /// Something came for an order.
    Input(OrderId, Arc<Caused<S::Input>>, RpcReplyPort<Outcome<S>>),
    /// Something may be due for an order.
    Wake(OrderId, Wake, RpcReplyPort<Woken>),
    /// Let idle orders go.
    Sweep,
}

/// The actor.
pub struct Router<S: Saga>(pub Arc<Wiring<S>>);

/// The orders in memory.
pub struct Orders<S: Saga> {
    /// In an order of its own, so that a simulated run can be repeated.
    live: BTreeMap<OrderId, Live<S>>,
    by_actor: HashMap<ActorId, OrderId>,
}

struct Live<S: Saga> {
    actor: Mailbox<OrderMessage<S>>,
    used: Instant,
    /// It was told to leave.
    leaving: bool,
    /// What came after the actor was told to leave: for the next one.
    held: Vec<OrderMessage<S>>,
}

impl<S: Saga> Router<S> {
    async fn route(
        &self,
        myself: &Mailbox<RouterMessage<S>>,
        orders: &mut Orders<S>,
        order: OrderId,
        message: OrderMessage<S>,
    ) -> Result<(), ActorProcessingErr> {
        if !orders.live.contains_key(&order) {
            // In a box of its own, since most messages come for an order that is there.
            Box::pin(self.start(myself, orders, order)).await?;
        }
        let Some(live) = orders.live.get_mut(&order) else { return Ok(()) };
        live.used = Instant::now();
        if live.held.is_empty() {
            match live.actor.cast(message) {
                Ok(()) => {}
                // It is leaving; its end is reported here.
                Err(MessagingErr::SendErr(message)) => live.held.push(message),
                Err(error @ (MessagingErr::ChannelClosed | MessagingErr::InvalidActorType)) => {
                    return Err(error.to_string().into());
                }
            }
        } else {
            live.held.push(message);
        }
        Ok(())
    }

    async fn start(
        &self,
        myself: &Mailbox<RouterMessage<S>>,
        orders: &mut Orders<S>,
        order: OrderId,
    ) -> Result<(), ActorProcessingErr> {
        let actor = OrderActor { order, wiring: Arc::clone(&self.0) };
        let (actor, _) = Actor::spawn_linked(None, actor, (), myself.cell()).await?;
        let actor = self.0.orders.mailbox(actor);
        orders.by_actor.insert(actor.id(), order);
        orders.live.insert(order, Live { actor, used: Instant::now(), leaving: false, held: Vec::new() });
        self.0.orders.live(orders.live.len());
        Ok(())
    }

    /// An order's actor has ended. What came for it since goes to a new one.
    async fn ended(
        &self,
        myself: &Mailbox<RouterMessage<S>>,
        orders: &mut Orders<S>,
        actor: ActorId,
    ) -> Result<(), ActorProcessingErr> {
        let Some(order) = orders.by_actor.remove(&actor) else { return Ok(()) };
        let held = orders.live.remove(&order).map_or_else(Vec::new, |live| live.held);
        self.0.orders.live(orders.live.len());
        for message in held {
            self.route(myself, orders, order, message).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl<S: Saga> Actor for Router<S> {
    type Msg = Mail<RouterMessage<S>>;
    type State = Orders<S>;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<RouterMessage<S>>>,
        (): (),
    ) -> Result<Orders<S>, ActorProcessingErr> {
        self.0.router.mailbox(myself).send_interval(SWEEP, || RouterMessage::Sweep);
        Ok(Orders { live: BTreeMap::new(), by_actor: HashMap::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<RouterMessage<S>>>,
        mail: Mail<RouterMessage<S>>,
        orders: &mut Orders<S>,
    ) -> Result<(), ActorProcessingErr> {
        let (myself, (message, _handling)) = (self.0.router.mailbox(myself), mail.open());
        match message {
            RouterMessage::Input(order, cause, reply) => {
                self.route(&myself, orders, order, OrderMessage::Input(cause, reply)).await
            }
            RouterMessage::Wake(order, wake, reply) => {
                self.route(&myself, orders, order, OrderMessage::Wake(wake, reply)).await
            }
            RouterMessage::Sweep => {
                let idle = if orders.live.len() > CROWDED { SWEEP } else { IDLE };
                for live in orders.live.values_mut().filter(|live| !live.leaving && live.used.elapsed() >= idle) {
                    live.leaving = true;
                    // Drained, not stopped: what is in its mailbox is still handled. One that has ended is reported.
                    let _ = live.actor.cell().drain();
                }
                Ok(())
            }
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Mail<RouterMessage<S>>>,
        event: SupervisionEvent,
        orders: &mut Orders<S>,
    ) -> Result<(), ActorProcessingErr> {
        let myself = self.0.router.mailbox(myself);
        match event {
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
            SupervisionEvent::ActorTerminated(actor, _, _) => {
                self.0.orders.passivated();
                self.ended(&myself, orders, actor.get_id()).await
            }
            SupervisionEvent::ActorFailed(actor, error) => {
                // Not started again here: it comes back with its next message.
                let order_id = orders.by_actor.get(&actor.get_id()).map(ToString::to_string).unwrap_or_default();
                tracing::error!(service = S::SERVICE, order_id, %error, "an order's actor failed");
                self.0.orders.restarted();
                self.ended(&myself, orders, actor.get_id()).await
            }
        }
    }

    /// Waits until the orders have finished what they are at.
    async fn post_stop(
        &self,
        _: ActorRef<Mail<RouterMessage<S>>>,
        orders: &mut Orders<S>,
    ) -> Result<(), ActorProcessingErr> {
        for live in std::mem::take(&mut orders.live).into_values() {
            // One that has already ended is what is wanted.
            let _ = live.actor.cell().drain_and_wait(None).await;
        }
        Ok(())
    }
}
