//! What an operator sees: every service says once a second how it is, and every process keeps for some minutes what it
//! hears of all of them, and shows it. Between processes that goes over a topic of the log, like everything else.

pub mod reporter;
mod series;
mod snapshot;

pub use reporter::Reporter;
pub use snapshot::{Snapshot, process};

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// What is said to other processes: by anybody, to everybody, waited for by nobody.
pub trait Bulletin: Send + Sync + 'static {
    /// Says it, if that is possible now.
    fn post(&self, speaker: &str, text: &str);
}

/// How long what was heard is kept.
const KEPT: Duration = Duration::from_secs(300);
/// What is older than this is kept only in part,
const RECENT: Duration = Duration::from_secs(15);
/// namely with this much time between two of one speaker.
const SPARSE: Duration = Duration::from_secs(5);
/// Snapshots that a page may be behind before it misses some.
const BEHIND: usize = 256;

/// What one speaker said, and when it was heard.
type Said = VecDeque<(Instant, Arc<str>)>;

/// What this process has heard of all services, and who listens.
pub struct Board {
    kept: Mutex<BTreeMap<String, Said>>,
    live: broadcast::Sender<Arc<str>>,
    /// To the other processes, if this one is not the whole system.
    out: OnceLock<Arc<dyn Bulletin>>,
}

impl Default for Board {
    fn default() -> Self {
        Board { kept: Mutex::default(), live: broadcast::channel(BEHIND).0, out: OnceLock::new() }
    }
}

impl Board {
    /// What is said here is said to other processes, too.
    pub fn and(&self, bulletin: Arc<dyn Bulletin>) {
        // A board is given one once.
        let _ = self.out.set(bulletin);
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Said>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody may be looking: while nobody is, nothing need be said.
    pub fn is_watched(&self) -> bool {
        self.out.get().is_some() || self.live.receiver_count() > 0
    }

    /// A service of this process says how it is.
    pub fn say(&self, speaker: &str, text: &str) {
        self.note(speaker, text);
        if let Some(out) = self.out.get() {
            out.post(speaker, text);
        }
    }

    /// Another process says how a service is.
    pub fn hear(&self, speaker: &str, text: &str) {
        // What this process says itself it has noted, and need not wait for the log to hear.
        if !speaker.ends_with(&snapshot::process()) {
            self.note(speaker, text);
        }
    }

    fn note(&self, speaker: &str, text: &str) {
        let (now, text) = (Instant::now(), Arc::<str>::from(text));
        let mut kept = self.kept();
        kept.entry(speaker.to_owned()).or_default().push_back((now, Arc::clone(&text)));
        for said in kept.values_mut() {
            thin(said, now);
        }
        kept.retain(|_, said| !said.is_empty());
        // Under the lock, so that who starts to listen now gets it once.
        let _ = self.live.send(text);
    }

    /// What is kept, by speaker and the oldest first, and all that comes.
    pub fn listen(&self) -> (Vec<Arc<str>>, broadcast::Receiver<Arc<str>>) {
        let kept = self.kept();
        let heard = kept.values().flatten().map(|(_, text)| Arc::clone(text)).collect();
        (heard, self.live.subscribe())
    }
}

/// Lets go what is too old, and some of what is not recent.
fn thin(said: &mut Said, now: Instant) {
    let mut last = None;
    said.retain(|(at, _)| {
        let age = now.duration_since(*at);
        let stays = age <= RECENT || (age <= KEPT && last.is_none_or(|last| at.duration_since(last) >= SPARSE));
        if stays {
            last = Some(*at);
        }
        stays
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_is_thinned_out_and_goes() {
        let start = Instant::now();
        let mut said = VecDeque::new();
        for second in 0..1_000 {
            let now = start + Duration::from_secs(second);
            said.push_back((now, Arc::from("")));
            thin(&mut said, now);
        }
        let ages: Vec<u64> = said.iter().map(|(at, _)| 999 - at.duration_since(start).as_secs()).collect();
        assert_eq!(ages[ages.len() - 16..], (0..16).rev().collect::<Vec<_>>()[..]);
        assert!(ages.windows(2).all(|pair| pair[0] - pair[1] <= 6), "{ages:?}");
        assert!(ages[0] <= 300 && ages.len() < 80, "{ages:?}");
    }

    #[tokio::test]
    async fn who_comes_late_hears_what_was_said_and_what_comes() {
        let board = Board::default();
        board.say("order-service/here", "1");
        board.hear("payment-service/there", "2");
        let (kept, mut live) = board.listen();
        board.say("order-service/here", "3");
        assert_eq!(kept.iter().map(|text| &**text).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(&*live.recv().await.expect("said"), "3");
    }
}
