//! Mailboxes that are measured. Every message travels as a [`Mail`], so that for each kind of actor it is known how
//! many wait, how long they waited, and how long they are handled.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use ractor::rpc::CallResult;
use ractor::{ActorCell, ActorId, ActorRef, Message, MessagingErr, RpcReplyPort};
use std::time::{Duration, Instant};

/// What is measured of one kind of actor of one service. It stays for the life of the program: every message carries it, and
/// to count who does would cost more than the message.
#[derive(Clone)]
pub struct Meter(&'static Instruments);

struct Instruments {
    kind: &'static str,
    live: Gauge,
    depth: Gauge,
    wait: Histogram,
    handle: Histogram,
    restarts: Counter,
    passivations: Counter,
}

impl Meter {
    /// Of this kind of actor.
    pub fn of(service: &'static str, kind: &'static str) -> Self {
        let labels = [("service", service), ("kind", kind)];
        Meter(Box::leak(Box::new(Instruments {
            kind,
            live: gauge!("actor_live", &labels),
            depth: gauge!("actor_mailbox_depth", &labels),
            wait: histogram!("actor_mailbox_wait_seconds", &labels),
            handle: histogram!("actor_handle_seconds", &labels),
            restarts: counter!("actor_restarts_total", &labels),
            passivations: counter!("actor_passivations_total", &labels),
        })))
    }

    /// The kind.
    pub fn kind(&self) -> &'static str {
        self.0.kind
    }

    /// So many of them are alive.
    pub fn live(&self, count: usize) {
        self.0.live.set(count as f64);
    }

    /// One has failed and comes back.
    pub fn restarted(&self) {
        self.0.restarts.increment(1);
    }

    /// One has left memory, with nothing left to do.
    pub fn passivated(&self) {
        self.0.passivations.increment(1);
    }

    /// The mailbox of one of them.
    pub fn mailbox<M: Message>(&self, actor: ActorRef<Mail<M>>) -> Mailbox<M> {
        Mailbox { actor, meter: self.clone() }
    }

    fn mail<M>(&self, message: M) -> Mail<M> {
        self.0.depth.increment(1.0);
        Mail { message, waiting: Waiting { meter: self.clone(), since: Instant::now() } }
    }
}

/// A message on its way.
pub struct Mail<M> {
    message: M,
    waiting: Waiting,
}

/// Counts while it is there: also what is never opened, since its actor has ended, waits no longer.
struct Waiting {
    meter: Meter,
    since: Instant,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.meter.0.depth.decrement(1.0);
    }
}

impl<M> Mail<M> {
    /// The message. It is being handled until the second value goes.
    pub fn open(self) -> (M, Handling) {
        let meter = self.waiting.meter.clone();
        let now = Instant::now();
        meter.0.wait.record(now - self.waiting.since);
        (self.message, Handling { meter, since: now })
    }
}

/// A message is being handled.
pub struct Handling {
    meter: Meter,
    since: Instant,
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.meter.0.handle.record(self.since.elapsed());
    }
}

/// The mailbox of one actor. What can be done with it is what ractor's `ActorRef` can.
pub struct Mailbox<M> {
    actor: ActorRef<Mail<M>>,
    meter: Meter,
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Mailbox { actor: self.actor.clone(), meter: self.meter.clone() }
    }
}

impl<M: Message> Mailbox<M> {
    /// Sends a message, or gives it back.
    pub fn cast(&self, message: M) -> Result<(), MessagingErr<M>> {
        self.actor.cast(self.meter.mail(message)).map_err(|error| match error {
            MessagingErr::SendErr(mail) => MessagingErr::SendErr(mail.message),
            MessagingErr::ChannelClosed => MessagingErr::ChannelClosed,
            MessagingErr::InvalidActorType => MessagingErr::InvalidActorType,
        })
    }

    /// Sends a message and waits for its answer, for as long as it takes. None if there will be none.
    pub async fn call<R: Send + 'static>(&self, message: impl FnOnce(RpcReplyPort<R>) -> M + Send) -> Option<R> {
        match self.actor.call(|reply| self.meter.mail(message(reply)), None).await {
            Ok(CallResult::Success(answer)) => Some(answer),
            Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => None,
        }
    }

    /// Sends a message after a while.
    pub fn send_after(&self, pause: Duration, message: impl FnOnce() -> M + Send + 'static) {
        let meter = self.meter.clone();
        self.actor.send_after(pause, move || meter.mail(message()));
    }

    /// Sends a message again and again.
    pub fn send_interval(&self, period: Duration, message: impl Fn() -> M + Send + 'static) {
        let meter = self.meter.clone();
        self.actor.send_interval(period, move || meter.mail(message()));
    }

    /// Ends the actor behind the message that it handles.
    pub fn stop(&self) {
        self.actor.stop(None);
    }

    /// The actor.
    pub fn cell(&self) -> ActorCell {
        self.actor.get_cell()
    }

    /// The actor's id.
    pub fn id(&self) -> ActorId {
        self.actor.get_id()
    }
}
