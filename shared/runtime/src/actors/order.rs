//! The order actor: one per order in play. It holds what it last committed and takes one input at a time.

use super::Wiring;
use super::address::Unavailable;
use super::group_commit::Request;
use super::journal::{Write, Written};
use super::mailbox::Mail;
use super::publisher::{PublisherMessage, YOUNG};
use crate::saga::{Caused, Due, Instance, Nothing, Origin, Outgoing, Rejection, Saga, Step, Unmoved, outcome_id};
use crate::store::{Loaded, Verdict};
use crate::trace::span::{self, Kind, Span};
use crate::trace::{self, Context};
use async_trait::async_trait;
use contracts::{OrderId, Timestamp, event_id};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::sync::Arc;
use tracing::Instrument;
use uuid::Uuid;

/// A message to an order.
#[derive(Debug)]
pub enum OrderMessage<S: Saga> {
    /// Something came.
    Input(Arc<Caused<S::Input>>, RpcReplyPort<Outcome<S>>),
    /// Something may be due.
    Wake(Wake, RpcReplyPort<Woken>),
}

/// Why an order is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// How far the log has been read; none if that is not known.
    pub caught_up: Option<CaughtUp>,
    /// Whether the order has rows in the outbox.
    pub unsent: bool,
}

/// How far the log has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaughtUp {
    /// Everything that was on the log at this moment has been dealt with,
    pub at: Timestamp,
    /// in the partitions that were this replica's in this generation of its ownership.
    pub generation: u64,
}

/// What an order that was woken waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// What was due is done, as far as it could be.
    Done,
    /// A deadline has passed, and counts once the log is read as far as it went then.
    AwaitsLog,
}

/// What became of an input.
#[derive(Clone, Debug)]
pub enum Outcome<S: Saga> {
    /// It is committed; so stands the order now.
    Applied(Arc<Instance<S>>),
    /// It changed nothing.
    Nothing(Nothing, Arc<Instance<S>>),
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
        known: &mut Option<Arc<Instance<S>>>,
        cause: &Caused<S::Input>,
    ) -> Result<Outcome<S>, Unavailable> {
        let mut look_up = !S::opens(&cause.input);
        let mut is_fresh = false;
        let mut rows_left = false;
        loop {
            let current = match known {
                Some(current) => current,
                None if look_up => {
                    is_fresh = true;
                    match self.load(cause.origin).await? {
                        Ok((instance, left)) => {
                            rows_left = left;
                            known.insert(Arc::new(instance))
                        }
                        Err(why) => return Ok(Outcome::Refused(why)),
                    }
                }
                None => known.insert(Arc::new(Instance::unknown(self.order))),
            };
            let step = match Step::decide(&self.wiring.saga, current, cause, self.wiring.clock.now()) {
                Ok(step) => step,
                // Nothing guards what is not written: another replica may have taken the order on, so that what
                // changes nothing here changes what is stored. Only a known id is one for ever.
                Err(_) if !is_fresh && !current.applied.contains(&cause.id) => {
                    *known = None;
                    look_up = true;
                    continue;
                }
                Err(unmoved) => {
                    let outcome = match unmoved {
                        Unmoved::Nothing(why) => Outcome::Nothing(why, Arc::clone(current)),
                        Unmoved::Rejected(why) => Outcome::Rejected(why),
                    };
                    // Rows that were left are to be found again, before anything that follows them.
                    known.take_if(|_| rows_left);
                    return Ok(outcome);
                }
            };
            // Until the answer is here, what is stored is not known.
            *known = None;
            // Nobody has heard of an order before its first version, so that one is this replica's to publish.
            let publish = step.next.version == 1 || (!rows_left && self.wiring.owns(self.order));
            match self.commit(step, publish).await? {
                Verdict::Committed(instance, _) => {
                    // What the publisher was not given must not be forgotten by what follows: that loads it.
                    if publish {
                        *known = Some(Arc::clone(&instance));
                    }
                    return Ok(Outcome::Applied(instance));
                }
                Verdict::Conflict => look_up = true,
                Verdict::Refused(why) => return Ok(Outcome::Refused(why)),
            }
        }
    }

    /// Does what is due, until nothing is any more. Only the order's owner does. Behind an input (no wake) it does not wait
    /// for room outside: nothing bounds how many orders would, and the timers come back to it.
    async fn do_due(&self, known: &mut Option<Arc<Instance<S>>>, wake: Option<Wake>) -> Result<Woken, Unavailable> {
        while self.wiring.owns(self.order) {
            let current = match known {
                Some(current) => current,
                None => match self.load(Origin::Here).await? {
                    // The order is another's now, or cannot be read.
                    Ok((_, true)) | Err(_) => break,
                    Ok((instance, false)) => known.insert(Arc::new(instance)),
                },
            };
            let Some((due, what)) = S::due(&current.state) else { break };
            if due > self.wiring.clock.now() {
                break;
            }
            let (order, version) = (self.order, current.version + 1);
            let (correlation_id, mut traceparent) = (current.correlation_id.clone(), current.traceparent);
            let mut is_excused = false;
            let (id, input) = match what {
                Due::Outside(effect) => {
                    let _place = match self.wiring.outside.room(&effect) {
                        Some(room) if wake.is_some() => room.acquire().await.ok(),
                        Some(room) => {
                            let Ok(place) = room.try_acquire() else { break };
                            Some(place)
                        }
                        None => None,
                    };
                    let id = outcome_id::<S>(order, version);
                    let input;
                    (input, traceparent) = self.perform(effect, &correlation_id, traceparent, id).await;
                    (id, input)
                }
                Due::Deadline { excused: Some(excused), .. }
                    if wake.is_some_and(|wake| wake.unsent) || self.log_was_away_since(current.updated_at) =>
                {
                    is_excused = true;
                    (event_id(S::SERVICE, order, version, "excused"), excused)
                }
                Due::Deadline { .. } if !self.has_read_up_to(due, wake.and_then(|wake| wake.caught_up)) => {
                    return Ok(Woken::AwaitsLog);
                }
                Due::Deadline { passed, .. } => (event_id(S::SERVICE, order, version, "deadline"), passed),
            };
            let cause = Caused { origin: Origin::Here, id, correlation_id, traceparent, input, expected: None };
            match self.handle_input(known, &cause).await? {
                // What excuses it may be over by the next look, and would else excuse it again at once.
                Outcome::Applied(_) if is_excused => break,
                Outcome::Applied(_) => {}
                outcome
                @ (Outcome::Nothing(..) | Outcome::Rejected(_) | Outcome::Refused(_) | Outcome::Unavailable) => {
                    // Nothing is lost: the order still wants it done, and the timers will come back to it.
                    let (correlation_id, trace_id) = (&cause.correlation_id, trace::id(cause.traceparent));
                    tracing::warn!(service = S::SERVICE, order_id = %order, correlation_id, trace_id, ?outcome, "what was due was not taken");
                    break;
                }
            }
        }
        Ok(Woken::Done)
    }

    /// Has it done outside, in a span of its own, in which what comes of it goes on.
    async fn perform(
        &self,
        effect: S::Effect,
        correlation_id: &str,
        traceparent: Option<Context>,
        id: Uuid,
    ) -> (S::Input, Option<Context>) {
        let Wiring { outside, clock, .. } = &*self.wiring;
        let context = Context::child_of(traceparent, id);
        let (name, start) = (outside.name(&effect), clock.now());
        let order_id = self.order.to_string();
        let span = tracing::info_span!(
            "outside",
            service = S::SERVICE,
            order_id,
            correlation_id,
            trace_id = context.trace_id()
        );
        let input = outside.perform(self.order, effect).instrument(span).await;
        if !span::is_told(&context) {
            return (input, Some(context));
        }
        span::record(Span {
            service: S::SERVICE,
            name: name.into(),
            kind: Kind::Client,
            context,
            parent: traceparent,
            start,
            end: clock.now(),
            attributes: vec![("order.id", order_id.into())],
            error: None,
        });
        (input, Some(context))
    }

    fn log_was_away_since(&self, moment: Timestamp) -> bool {
        self.wiring.load.log_was_away_at(self.wiring.clock.now()).is_some_and(|away| away >= moment)
    }

    /// Whether all that was on the log at this moment has been read, in the partitions that are this replica's now.
    fn has_read_up_to(&self, moment: Timestamp, caught_up: Option<CaughtUp>) -> bool {
        let generation = self.wiring.ownership.generation();
        caught_up.is_some_and(|caught_up| caught_up.at >= moment && caught_up.generation == generation)
    }

    /// Loads the order. What it has to say and has not said is given to the publisher before anything that follows, so
    /// that it goes first, and if the order is another's it is left, which is said. A young first version is left to who
    /// took the order on, if an event from the log says that it is out. What cannot be read will not be the next time.
    async fn load(&self, origin: Origin) -> Result<Result<(Instance<S>, bool), String>, Unavailable> {
        let loaded = match self.wiring.loader.call(|reply| Request::Do(self.order, reply)).await? {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!(service = S::SERVICE, order_id = %self.order, %error, "an order cannot be loaded");
                return Ok(Err(error.to_string()));
            }
        };
        let Some(Loaded { instance, mut unsent }) = loaded.map(|loaded| *loaded) else {
            return Ok(Ok((Instance::unknown(self.order), false)));
        };
        let is_old = |row: &Outgoing| self.wiring.clock.now() >= row.at.plus_millis(YOUNG);
        unsent.retain(|row| row.version > 1 || origin == Origin::Here || is_old(row));
        let is_ours = self.wiring.owns(self.order);
        let left = !unsent.is_empty() && !is_ours;
        if !unsent.is_empty() && is_ours {
            self.wiring.publisher.cast(PublisherMessage::Committed(unsent))?;
        }
        Ok(Ok((instance, left)))
    }

    async fn commit(&self, step: Step<S>, publish: bool) -> Result<Verdict<S>, Unavailable> {
        let write = Write::Step { step: Box::new(step), publish };
        match self.wiring.journal.call(|reply| Request::Do(write, reply)).await? {
            Written::Step(verdict) => Ok(*verdict),
            Written::Deleted | Written::Kept => Err(Unavailable),
        }
    }
}

#[async_trait]
impl<S: Saga> Actor for OrderActor<S> {
    type Msg = Mail<OrderMessage<S>>;
    type State = Option<Arc<Instance<S>>>;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<Mail<OrderMessage<S>>>,
        (): (),
    ) -> Result<Option<Arc<Instance<S>>>, ActorProcessingErr> {
        // Loaded with the first message, together with other orders.
        Ok(None)
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<OrderMessage<S>>>,
        mail: Mail<OrderMessage<S>>,
        known: &mut Option<Arc<Instance<S>>>,
    ) -> Result<(), ActorProcessingErr> {
        let (message, _handling) = mail.open();
        match message {
            OrderMessage::Wake(wake, reply) => {
                // The timers go by what is stored, which another replica may have changed.
                *known = None;
                // An interruption leaves it due, and the timers come back to it.
                let woken = self.do_due(known, Some(wake)).await.unwrap_or(Woken::Done);
                // Timers that were started again ask again.
                let _ = reply.send(woken);
            }
            OrderMessage::Input(cause, reply) => {
                let outcome = self.handle_input(known, &cause).await.unwrap_or(Outcome::Unavailable);
                let moved = matches!(outcome, Outcome::Applied(_));
                // Who asked may be gone; what is committed stays.
                let _ = reply.send(outcome);
                if moved {
                    // What is interrupted or waits for the log is for the timers.
                    let _ = self.do_due(known, None).await;
                }
            }
        }
        if known.as_ref().is_some_and(|known| S::is_done(&known.state)) {
            // What is in the mailbox is still handled, and what comes yet starts it again.
            myself.drain()?;
        }
        Ok(())
    }
}
