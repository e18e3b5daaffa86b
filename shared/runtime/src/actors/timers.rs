//! The timers: they find orders with something due and wake them, through the same door as everything else. What a
//! crash interrupted is found here, too.
//!
//! A deadline that has passed does not count at once: the answer may be on the log already, behind an outage of ours.
//! So the timers ask the consumer to catch up with all that is on the log now, and only then let the deadlines count
//! that had passed before they asked: partition by partition, so that one that stands still holds up its own orders alone.

use super::Wiring;
use super::consumer::ConsumerMessage;
use super::mailbox::{Mail, Mailbox};
use super::order::{CaughtUp, Wake, Woken};
use super::router::RouterMessage;
use crate::saga::Saga;
use crate::store::{Overdue, StoreError};
use async_trait::async_trait;
use futures::future::join_all;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How often the database is asked.
const PERIOD: Duration = Duration::from_secs(1);
/// Orders that are woken at a time.
const AT_A_TIME: u64 = 500;
/// How long the consumer may take to catch up before it is asked once more, in case some of its partitions stand still,
const AGAIN: Duration = Duration::from_secs(5);
/// and for how much longer its answer is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A message to the timers.
#[derive(Clone, Debug)]
pub enum TimersMessage {
    /// Time to look.
    Tick,
    /// All orders that were due have been woken, and some wait for the log (true) or none.
    Woke(bool),
    /// These partition numbers have been read so far.
    CaughtUp(Vec<i32>, CaughtUp),
    /// The consumer may be asked again.
    Asked,
}

/// The actor.
pub struct Timers<S: Saga>(pub Arc<Wiring<S>>);

/// What the timers know.
#[derive(Debug, Default)]
pub struct Waiting {
    /// How far the log has been read, by partition number.
    caught_up: Arc<BTreeMap<i32, CaughtUp>>,
    /// The consumer has been asked to catch up, a moment ago.
    asked: bool,
}

impl<S: Saga> Timers<S> {
    /// Wakes everything that is due here, one page after the other, each when the one before it is through: so no more
    /// is under way than that. Says whether any order waits for the log.
    async fn wake(wiring: &Wiring<S>, caught_up: &BTreeMap<i32, CaughtUp>) -> Result<bool, StoreError> {
        let now = wiring.clock.now();
        let mut after = None;
        let mut awaits_log = false;
        loop {
            let page = wiring.store.due(now, after, AT_A_TIME).await?;
            let woken = join_all(page.iter().filter_map(|due| {
                let partition = wiring.own_partition_of(due.order)?;
                let wake = Wake { caught_up: caught_up.get(&partition).copied(), unsent: due.unsent };
                Some(wiring.router.call(move |reply| RouterMessage::Wake(due.order, wake, reply)))
            }));
            // A router that is being started again is found the next time.
            awaits_log |= woken.await.contains(&Ok(Woken::AwaitsLog));
            match page.last() {
                Some(Overdue { order, since, .. }) if page.len() as u64 == AT_A_TIME => {
                    after = Some((*since, *order));
                }
                Some(_) | None => return Ok(awaits_log),
            }
        }
    }

    /// Looks for what is due, and says so if somebody wants to know.
    fn look(&self, told: Option<Mailbox<TimersMessage>>, waiting: &Waiting) {
        let caught_up = Arc::clone(&waiting.caught_up);
        let wiring = Arc::clone(&self.0);
        tokio::spawn(async move {
            let waking = Arc::clone(&wiring);
            // A task of its own, so that a panic does not stop the timers for good.
            let woken = tokio::spawn(async move { Self::wake(&waking, &caught_up).await }).await;
            let awaits_log = match woken.unwrap_or_else(|panic| Err(panic.into())) {
                Ok(awaits_log) => {
                    wiring.health.note_read(Ok(()));
                    awaits_log
                }
                Err(error) => {
                    tracing::warn!(service = S::SERVICE, %error, "what is due cannot be read; trying again");
                    wiring.health.note_read(Err(error.to_string()));
                    false
                }
            };
            if let Some(told) = told {
                let _ = told.cast(TimersMessage::Woke(awaits_log));
            }
        });
    }

    fn ask(&self, myself: Mailbox<TimersMessage>) {
        let wiring = Arc::clone(&self.0);
        tokio::spawn(async move {
            // Both before the question: what is read and who reads may change while it is answered.
            let now = CaughtUp { at: wiring.clock.now(), generation: wiring.ownership.generation() };
            let (read, mut partitions) = mpsc::unbounded_channel();
            // A consumer that is being started again is asked the next time.
            let _ = wiring.consumer.cast(ConsumerMessage::CatchUp(read));
            let told = myself.clone();
            let tell = async move {
                let mut caught_up = Vec::new();
                while partitions.recv_many(&mut caught_up, usize::MAX).await > 0 {
                    let _ = told.cast(TimersMessage::CaughtUp(std::mem::take(&mut caught_up), now));
                }
            };
            tokio::pin!(tell);
            let is_over = timeout(AGAIN, &mut tell).await.is_ok();
            let _ = myself.cast(TimersMessage::Asked);
            if !is_over {
                let _ = timeout(PATIENCE, tell).await;
            }
        });
    }
}

#[async_trait]
impl<S: Saga> Actor for Timers<S> {
    type Msg = Mail<TimersMessage>;
    type State = Waiting;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Mail<TimersMessage>>, (): ()) -> Result<Waiting, ActorProcessingErr> {
        self.0.timers.mailbox(myself).cast(TimersMessage::Tick)?;
        Ok(Waiting::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<TimersMessage>>,
        mail: Mail<TimersMessage>,
        waiting: &mut Waiting,
    ) -> Result<(), ActorProcessingErr> {
        let (myself, (message, _handling)) = (self.0.timers.mailbox(myself), mail.open());
        match message {
            TimersMessage::Tick => self.look(Some(myself), waiting),
            TimersMessage::Woke(awaits_log) => {
                if awaits_log && !waiting.asked {
                    waiting.asked = true;
                    self.ask(myself.clone());
                }
                // One after the other, so that a slow database is not asked faster than it answers.
                myself.send_after(PERIOD, || TimersMessage::Tick);
            }
            TimersMessage::CaughtUp(partitions, now) => {
                let caught_up = partitions.into_iter().map(|partition| (partition, now));
                Arc::make_mut(&mut waiting.caught_up).extend(caught_up);
                // What waited for this need not wait for the next tick, too.
                self.look(None, waiting);
            }
            TimersMessage::Asked => waiting.asked = false,
        }
        Ok(())
    }
}
