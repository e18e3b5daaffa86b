//! The feed of changes: what live streams are made of.
//!
//! While somebody listens, an actor looks again and again for orders that have changed since, in the database, so that
//! every replica tells of all of them. A change gets its moment before it is committed, so each look goes back a little,
//! and now and then further, and leaves out what was told. While nobody listens nothing is asked.
//!
//! Who comes back to the replica that it left goes on where it was. Elsewhere, or after a restart, it goes on a little
//! earlier: a change may be told again, with the same version.

use crate::store::changes::{Change, changes, next_page};
use async_trait::async_trait;
use contracts::{OrderId, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use runtime::actors::address::Address;
use runtime::actors::mailbox::Mail;
use runtime::clock::Clock;
use runtime::database::Database;
use runtime::health::{Health, Part};
use runtime::store::StoreError;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use uuid::Uuid;

/// The pause between two looks, at least.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause between two looks, as a multiple of the time that one took.
const SHARE: u32 = 20;
/// The pause between two looks, at most: a look also takes long because others are served meanwhile.
const LONGEST: Duration = Duration::from_secs(2);
/// How much later than its moment a change is usually committed at most, in milliseconds.
const OVERLAP: i64 = 2_000;
/// The same where a commit has to wait for its disk, or for the database to come back, in milliseconds.
pub const LATE: i64 = 15_000;
/// How often a look goes back so far.
const FAR_EVERY: Duration = Duration::from_secs(5);
/// Without a look for so long, in milliseconds, the feed begins anew.
const STALE: i64 = 60_000;
/// How far back those are told who come back from elsewhere, in milliseconds.
const LONGEST_AWAY: i64 = 900_000;
/// Changes that are kept for those who come back.
const KEPT: usize = 10_000;
/// Looks that a listener may be behind before its stream ends.
const BEHIND: usize = 256;

/// A place in the feed, as it is given to clients and comes back from them: `<replica's run>-<n>-<moment>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    run: u32,
    n: u64,
    at: Timestamp,
}

impl Position {
    /// Where a client is that has this change from this run.
    pub fn of(run: u32, change: &Change) -> Self {
        Position { run, n: change.n, at: change.at }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}-{}", self.run, self.n, self.at.0)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let [run, n, at] = text.split('-').collect::<Vec<_>>()[..] else { return Err(()) };
        let run = u32::from_str_radix(run, 16).map_err(drop)?;
        Ok(Position { run, n: n.parse().map_err(drop)?, at: Timestamp(at.parse().map_err(drop)?) })
    }
}

/// What a listener gets.
#[derive(Debug)]
pub struct Listening {
    /// What it missed since its position, if this replica still knows.
    pub missed: Option<Vec<Arc<Change>>>,
    /// What comes, look by look.
    pub live: broadcast::Receiver<Arc<Vec<Arc<Change>>>>,
    /// Names this run of this replica in positions.
    pub run: u32,
}

/// A message to the feed.
#[derive(Debug)]
pub enum FeedMessage {
    /// Somebody listens from here on, or from where it was.
    Listen(Option<Position>, RpcReplyPort<Result<Listening, StoreError>>),
    /// It is time to look.
    Look,
}

/// The actor.
#[derive(Clone)]
pub struct Feed {
    /// Where the orders are.
    pub database: Database,
    /// What time it is there.
    pub clock: Arc<dyn Clock>,
    /// Whether it is well.
    pub health: Arc<Health>,
    /// Where it is reached.
    pub address: Address<FeedMessage>,
}

/// What was told.
pub struct Told {
    run: u32,
    n: u64,
    live: broadcast::Sender<Arc<Vec<Arc<Change>>>>,
    kept: VecDeque<Arc<Change>>,
    /// From when on the next look looks, if there was one: when the last one began, or the last one before an outage.
    looked_at: Option<Timestamp>,
    /// When a look last went back far.
    far_at: Option<Instant>,
    /// When the database was last seen not to be well.
    unwell_at: Timestamp,
    /// What changed in the window that the next look goes back to.
    seen: HashMap<OrderId, (i64, Timestamp)>,
    looking: bool,
}

/// A little before this position, for those who come from elsewhere. Who was away for very long has missed what is not
/// told any more.
pub fn before(position: Position, now: Timestamp) -> Timestamp {
    position.at.plus_millis(-LATE).max(now.plus_millis(-LONGEST_AWAY))
}

impl Feed {
    /// Looks for what has changed. The first look after a while tells nothing: it learns what is there.
    async fn look(&self, told: &mut Told) -> Result<(), StoreError> {
        let now = self.clock.now();
        // While somebody listens it goes on from the last look, however long the database was away.
        let last = told.looked_at.filter(|last| told.looking || now < last.plus_millis(STALE));
        if last.is_none() {
            told.kept.clear();
            told.seen.clear();
            // What was not seen counts, too: nobody who comes back has had it.
            told.n += 1;
        }
        let goes_far = last.is_none() || told.far_at.is_none_or(|at| at.elapsed() >= FAR_EVERY);
        let from = last.unwrap_or(now).plus_millis(if goes_far { -LATE } else { -OVERLAP });
        let (mut found, mut page) = (Vec::new(), None);
        loop {
            let read = changes(&self.database, from, page).await?;
            page = next_page(&read);
            found.extend(read);
            if page.is_none() {
                break;
            }
        }
        if goes_far {
            told.far_at = Some(Instant::now());
        }
        if !self.health.is_well(Part::Database) {
            told.unwell_at = now;
        }
        // What was decided before an outage is committed behind it, and has its moment from before.
        let is_late = now < told.unwell_at.plus_millis(LATE);
        let looked_at = last.filter(|_| is_late).unwrap_or(now);
        told.looked_at = Some(looked_at);
        let mut fresh = Vec::new();
        for mut change in found {
            let known = told.seen.insert(change.order, (change.version, change.at));
            if last.is_some() && known.is_none_or(|(version, _)| version < change.version) {
                told.n += 1;
                change.n = told.n;
                fresh.push(Arc::new(change));
            }
        }
        told.seen.retain(|_, (_, at)| *at >= looked_at.plus_millis(-LATE - OVERLAP));
        told.kept.extend(fresh.iter().cloned());
        let excess = told.kept.len().saturating_sub(KEPT);
        told.kept.drain(..excess);
        if !fresh.is_empty() {
            // The last listener may have left.
            let _ = told.live.send(Arc::new(fresh));
        }
        Ok(())
    }

    async fn listen(&self, told: &mut Told, since: Option<Position>) -> Result<Listening, StoreError> {
        if !told.looking {
            self.look(told).await?;
        }
        let missed = match since {
            None => Some(Vec::new()),
            // The one behind its own is still here, or is yet to come.
            Some(since)
                if since.run == told.run && told.kept.front().map_or(told.n, |first| first.n - 1) <= since.n =>
            {
                Some(told.kept.iter().filter(|change| change.n > since.n).cloned().collect())
            }
            Some(_) => None,
        };
        Ok(Listening { missed, live: told.live.subscribe(), run: told.run })
    }
}

#[async_trait]
impl Actor for Feed {
    type Msg = Mail<FeedMessage>;
    type State = Told;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Mail<FeedMessage>>, (): ()) -> Result<Told, ActorProcessingErr> {
        let (live, _) = broadcast::channel(BEHIND);
        let (run, ..) = Uuid::new_v4().to_fields_le();
        let (kept, seen, unwell_at) = (VecDeque::new(), HashMap::new(), Timestamp::default());
        Ok(Told { run, n: 0, live, kept, looked_at: None, far_at: None, unwell_at, seen, looking: false })
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<FeedMessage>>,
        mail: Mail<FeedMessage>,
        told: &mut Told,
    ) -> Result<(), ActorProcessingErr> {
        let (myself, (message, _handling)) = (self.address.mailbox(myself), mail.open());
        match message {
            FeedMessage::Listen(since, reply) => {
                let listening = self.listen(told, since).await;
                if listening.is_ok() && !told.looking {
                    told.looking = true;
                    myself.send_after(PAUSE, || FeedMessage::Look);
                }
                // Who asked may have left.
                let _ = reply.send(listening);
            }
            FeedMessage::Look if told.live.receiver_count() == 0 => told.looking = false,
            FeedMessage::Look => {
                let began = Instant::now();
                if let Err(error) = self.look(told).await {
                    tracing::warn!(%error, "changes of orders cannot be read; trying again");
                }
                myself.send_after((began.elapsed() * SHARE).clamp(PAUSE, LONGEST), || FeedMessage::Look);
            }
        }
        Ok(())
    }
}
