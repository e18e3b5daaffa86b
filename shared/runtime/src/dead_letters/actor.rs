//! The reader: takes dead letters from the log into the table, and sends those again that somebody wants sent.
//!
//! One replica reads a topic's letters, and the same one sends them: nothing is sent by two at a time, but for the
//! moment in which the log changes its mind about who reads.

use super::letter::Letter;
use super::store::wishes::{next_wanted, sent};
use super::{DeadLetters, store};
use crate::actors::mailbox::Mail;
use crate::backoff::Backoff;
use crate::event_log::{Change, DEAD_LETTER_SUFFIX, LogError, Membership, Record, Subscription};
use async_trait::async_trait;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How often is looked for what another replica was asked to send, and counted what is open.
const LOOK: Duration = Duration::from_secs(3);

/// A message to the reader.
#[derive(Debug)]
pub enum ReaderMessage {
    /// The subscription cannot go on.
    Broken(String),
    /// The group was left.
    Left,
    /// Read no more, leave the group, and end.
    Leave,
}

/// The actor.
pub struct Reader(pub Arc<DeadLetters>);

/// Its work, which runs beside it.
pub struct Work {
    _task: AbortOnDropHandle<()>,
    quiet: CancellationToken,
}

#[async_trait]
impl Actor for Reader {
    type Msg = Mail<ReaderMessage>;
    type State = Work;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Mail<ReaderMessage>>, (): ()) -> Result<Work, ActorProcessingErr> {
        let myself = self.0.meter.mailbox(myself);
        let (letters, quiet) = (Arc::clone(&self.0), CancellationToken::new());
        let until = quiet.clone();
        let task = tokio::spawn(async move {
            let end = match read(&letters, &until).await {
                Ok(()) => ReaderMessage::Left,
                Err(error) => ReaderMessage::Broken(error.to_string()),
            };
            // An actor that is gone needs to be told nothing.
            let _ = myself.cast(end);
        });
        Ok(Work { _task: AbortOnDropHandle::new(task), quiet })
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<ReaderMessage>>,
        mail: Mail<ReaderMessage>,
        work: &mut Work,
    ) -> Result<(), ActorProcessingErr> {
        let (message, _handling) = mail.open();
        match message {
            ReaderMessage::Broken(why) => return Err(why.into()),
            ReaderMessage::Left => myself.stop(None),
            ReaderMessage::Leave => work.quiet.cancel(),
        }
        Ok(())
    }
}

/// Joins the group, which waits while the log is away, and works until it is to be quiet.
async fn read(letters: &DeadLetters, quiet: &CancellationToken) -> Result<(), LogError> {
    let group = format!("{}.dead-letters", letters.service);
    let topics: Vec<String> = letters.topics.iter().map(|topic| format!("{topic}{DEAD_LETTER_SUFFIX}")).collect();
    let subscription = tokio::select! {
        () = quiet.cancelled() => return Ok(()),
        subscription = letters.log.subscribe(&group, &topics) => subscription?,
    };
    let member = Arc::clone(&subscription.membership);
    let reading = Reading { letters, member: &*member, topics: BTreeSet::new(), open: BTreeSet::new() };
    tokio::select! {
        () = quiet.cancelled() => {}
        result = reading.run(subscription) => result?,
    }
    member.leave().await;
    Ok(())
}

struct Reading<'a> {
    letters: &'a DeadLetters,
    member: &'a dyn Membership,
    /// The topics whose letters are this replica's.
    topics: BTreeSet<String>,
    /// The topics of which letters were open when they were last counted.
    open: BTreeSet<String>,
}

impl Reading<'_> {
    async fn run(mut self, mut subscription: Subscription) -> Result<(), LogError> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // When the next letter may be sent, and whether one may be wanted.
        let (mut next, mut wanted) = (Instant::now(), false);
        loop {
            tokio::select! {
                change = subscription.changes.recv() => {
                    self.changed(change)?;
                    wanted = true;
                }
                record = subscription.records.next() => match record {
                    Some(record) => self.keep(record).await,
                    None => return Err(LogError("the subscription has ended".into())),
                },
                () = self.letters.wanted.notified() => wanted = true,
                _ = look.tick() => wanted |= self.count().await,
                () = tokio::time::sleep_until(next), if wanted => match self.send().await {
                    Some(pause) => next = Instant::now() + pause,
                    None => wanted = false,
                },
            }
        }
    }

    fn changed(&mut self, change: Option<Change>) -> Result<(), LogError> {
        match change {
            Some(Change::Assigned(partitions)) => {
                let topic = |name: String| name.strip_suffix(DEAD_LETTER_SUFFIX).map(str::to_owned);
                self.topics = partitions.into_iter().filter_map(|partition| topic(partition.topic)).collect();
            }
            Some(Change::Revoked(_, done)) => {
                self.topics.clear();
                // Nothing is in flight. Who asked may have given up.
                let _ = done.send(());
            }
            // The main consumer says so, too.
            Some(Change::Away(_) | Change::Back) => {}
            Some(Change::Broken(why)) => return Err(LogError(why)),
            None => return Err(LogError("the subscription has ended".into())),
        }
        Ok(())
    }

    /// Stores a letter, for as long as that takes, and then the progress.
    async fn keep(&self, record: Arc<Record>) {
        let at = record.at.clone();
        if let Some(letter) = Letter::of(Arc::unwrap_or_clone(record), self.letters.service) {
            let mut backoff = Backoff::default();
            while let Err(error) = store::keep(self.letters, letter.clone()).await {
                tracing::warn!(service = self.letters.service, ?at, %error, "a dead letter cannot be stored; trying again");
                backoff.wait().await;
            }
        }
        self.member.store(&at.partition, at.offset + 1);
    }

    /// Sends the next letter that is wanted, if there is one, and returns the pause behind it.
    async fn send(&self) -> Option<Duration> {
        match self.try_send().await {
            Ok(pause) => pause,
            Err(error) => {
                // The next look tries again.
                tracing::warn!(service = self.letters.service, %error, "a dead letter could not be sent again");
                None
            }
        }
    }

    async fn try_send(&self) -> Result<Option<Duration>, crate::store::StoreError> {
        let letters = self.letters;
        let Some(letter) = next_wanted(&letters.database, &self.topics).await? else { return Ok(None) };
        let appended = match letter.message() {
            Ok(message) => letters.log.append(vec![message]).await.into_iter().collect::<Result<(), LogError>>(),
            Err(error) => Err(LogError(error.to_string())),
        };
        match &appended {
            Ok(()) => {
                tracing::info!(service = letters.service, id = %letter.id, topic = letter.topic, "a dead letter was sent again")
            }
            Err(error) => {
                tracing::error!(service = letters.service, id = %letter.id, %error, "the log refuses a dead letter")
            }
        }
        // Until this is committed the letter is wanted: a crash here sends it once more.
        sent(letters, &letter, appended.map_err(|error| error.0)).await?;
        Ok(Some(Duration::from_micros(u64::try_from(letter.pause_micros).unwrap_or(0))))
    }

    /// Counts what is open, and says whether any is wanted.
    async fn count(&mut self) -> bool {
        let waiting = match store::waiting(&self.letters.database).await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::debug!(service = self.letters.service, %error, "the open dead letters cannot be counted");
                return false;
            }
        };
        let say = |topic: &str, open: i64| {
            let labels = [("service", self.letters.service.to_owned()), ("topic", topic.to_owned())];
            metrics::gauge!("dead_letters_open", &labels).set(open as f64);
        };
        let now: BTreeSet<String> = waiting.iter().map(|topic| topic.topic.clone()).collect();
        self.open.difference(&now).for_each(|topic| say(topic, 0));
        waiting.iter().for_each(|topic| say(&topic.topic, topic.open));
        self.open = now;
        waiting.iter().any(|topic| topic.wanted > 0)
    }
}
