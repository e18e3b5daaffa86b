//! An actor that answers many requests with one piece of work.
//!
//! A batch is whatever arrived while the last one ran, and an idle actor waits only for the tasks that are ready to
//! run. So an idle service works at once, and a busy one does hundreds of requests together. Only behind a batch of
//! several is there a short pause, the longer the larger it was: the commits that it saves are worth more than the time.

use super::address::Address;
use super::mailbox::{Mail, Mailbox, Meter};
use async_trait::async_trait;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The work.
#[async_trait]
pub trait Batch: Send + Sync + Sized + 'static {
    /// What one request asks.
    type Item: Send + Sync + 'static;
    /// What one request is answered.
    type Answer: Send + 'static;

    /// The most requests in one batch.
    const LIMIT: usize;

    /// How long a batch waits for company behind one of several.
    fn pause(&self) -> Pause {
        Pause::SHORT
    }

    /// Does the work: answer i is for item i. Takes as long as it takes; nothing cancels it.
    async fn run(&self, items: Vec<Self::Item>) -> Vec<Self::Answer>;
}

/// A message to a group commit.
pub enum Request<B: Batch> {
    /// Do this, and answer.
    Do(B::Item, RpcReplyPort<B::Answer>),
    /// Everybody who was about to ask has asked.
    Start,
    /// The running batch has ended, well or by a panic.
    Ended(Result<(), String>),
}

/// The actor.
pub struct GroupCommit<B> {
    batch: Arc<B>,
    meter: Meter,
}

/// The requests that wait, and the batch that runs.
pub struct Queue<B: Batch> {
    waiting: Vec<(B::Item, RpcReplyPort<B::Answer>)>,
    starting: bool,
    running: Option<JoinHandle<()>>,
    /// Of the batch that runs or ran last.
    size: usize,
}

/// The pause behind a batch of several. It grows with the batch, so that a busy service does hundreds of requests
/// together and one that is not waits for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// For each request that the batch held,
    each: Duration,
    /// and at most.
    longest: Duration,
}

impl Pause {
    /// Where somebody waits for the answer.
    pub const SHORT: Pause = Pause { each: Duration::from_micros(60), longest: Duration::from_millis(10) };
    /// Where nobody does, and each batch is work for other processes, too.
    pub const LONG: Pause = Pause { each: Duration::from_millis(1), longest: Duration::from_millis(25) };

    /// How long, after so many.
    pub(super) fn behind(self, requests: usize) -> Duration {
        if requests < 2 {
            return Duration::ZERO;
        }
        self.each.saturating_mul(u32::try_from(requests).unwrap_or(u32::MAX)).min(self.longest)
    }
}

impl<B: Batch> GroupCommit<B> {
    /// Of this work, at this address.
    pub fn at(address: &Address<Request<B>>, batch: Arc<B>) -> Self {
        GroupCommit { batch, meter: address.meter().clone() }
    }

    fn start(&self, myself: &Mailbox<Request<B>>, queue: &mut Queue<B>) {
        if queue.waiting.is_empty() {
            return;
        }
        queue.size = queue.waiting.len().min(B::LIMIT);
        let (items, replies): (Vec<_>, Vec<_>) = queue.waiting.drain(..queue.size).unzip();
        let batch = Arc::clone(&self.batch);
        let myself = myself.clone();
        queue.running = Some(tokio::spawn(async move {
            let work = tokio::spawn(async move {
                for (answer, reply) in batch.run(items).await.into_iter().zip(replies) {
                    // Who asked may be gone; what was done stays done.
                    let _ = reply.send(answer);
                }
            });
            let ended = work.await.map_err(|panic| panic.to_string());
            // The actor may be gone, too.
            let _ = myself.cast(Request::Ended(ended));
        }));
    }
}

#[async_trait]
impl<B: Batch> Actor for GroupCommit<B> {
    type Msg = Mail<Request<B>>;
    type State = Queue<B>;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Mail<Request<B>>>, (): ()) -> Result<Queue<B>, ActorProcessingErr> {
        Ok(Queue { waiting: Vec::new(), starting: false, running: None, size: 0 })
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<Request<B>>>,
        request: Mail<Request<B>>,
        queue: &mut Queue<B>,
    ) -> Result<(), ActorProcessingErr> {
        let (myself, (request, _handling)) = (self.meter.mailbox(myself), request.open());
        match request {
            Request::Do(item, reply) => {
                queue.waiting.push((item, reply));
                if queue.running.is_none() && !queue.starting {
                    queue.starting = true;
                    // Behind every task that is ready to run: they may be about to ask, too.
                    tokio::spawn(async move {
                        tokio::task::yield_now().await;
                        let _ = myself.cast(Request::Start);
                    });
                }
            }
            Request::Start => {
                queue.starting = false;
                if queue.running.is_none() {
                    self.start(&myself, queue);
                }
            }
            Request::Ended(Ok(())) => {
                queue.running = None;
                if queue.size > 1 && queue.waiting.len() < B::LIMIT {
                    queue.starting = true;
                    myself.send_after(self.batch.pause().behind(queue.size), || Request::Start);
                } else {
                    self.start(&myself, queue);
                }
            }
            Request::Ended(Err(panic)) => return Err(panic.into()),
        }
        Ok(())
    }

    /// Finishes what was asked before the actor was stopped.
    async fn post_stop(
        &self,
        myself: ActorRef<Mail<Request<B>>>,
        queue: &mut Queue<B>,
    ) -> Result<(), ActorProcessingErr> {
        let myself = self.meter.mailbox(myself);
        loop {
            if let Some(running) = queue.running.take() {
                running.await?;
            }
            if queue.waiting.is_empty() {
                return Ok(());
            }
            self.start(&myself, queue);
        }
    }
}
