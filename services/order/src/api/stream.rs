//! Live streams of changes, as server-sent events.

use super::Api;
use super::view::{OrderChange, OrderStatus, OrderView};
use crate::feed::{FeedMessage, LATE, Listening, Position, before};
use crate::store::changes::{Change, changes, next_page};
use contracts::{OrderId, Timestamp};
use futures::stream::{BoxStream, StreamExt, iter, once, unfold};
use poem::web::sse::Event;
use poem_openapi::payload::EventStream;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{ToJSON, Type};
use runtime::database::Database;
use runtime::http::{Caller, Refusal, Stopping};
use runtime::saga::Named;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::task::AbortOnDropHandle;

/// Streams at a time; more are told to come back.
pub(crate) const STREAMS: usize = 2_000;
/// Something is sent this often, so that nobody on the way takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The pause before asking a database again that did not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// Changes that a stream remembers having read from the database.
const REMEMBERED: usize = 10_000;

/// A stream of items with their ids.
pub(super) type Stream<T> = EventStream<BoxStream<'static, T>>;

/// One look of the feed.
type Look = Arc<Vec<Arc<Change>>>;

fn looks(live: broadcast::Receiver<Look>) -> impl futures::Stream<Item = Look> + Send {
    // Who is too far behind is let go; it comes back with its position.
    unfold(live, |mut live| async move { live.recv().await.ok().map(|look| (look, live)) })
}

/// A change as a stream tells it: an [`OrderChange`], with its place in this run of the feed.
pub(super) struct Told {
    run: u32,
    change: Arc<Change>,
}

impl Told {
    fn event(self) -> Event {
        let text = self.change.told.get_or_init(|| view(&self.change).to_json_string());
        Event::message(text).id(Position::of(self.run, &self.change).to_string()).event_type("order")
    }
}

impl Type for Told {
    const IS_REQUIRED: bool = OrderChange::IS_REQUIRED;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        OrderChange::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        OrderChange::schema_ref()
    }

    fn register(registry: &mut Registry) {
        OrderChange::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ToJSON for Told {
    fn to_json(&self) -> Option<Value> {
        view(&self.change).to_json()
    }
}

fn view(change: &Change) -> OrderChange {
    let status = OrderStatus::from(change.stage);
    OrderChange {
        order_id: change.order.0,
        version: change.version,
        status,
        stage: (status == OrderStatus::Pending).then(|| change.stage.name().to_owned()),
        money: change.money.name().to_owned(),
        customer_id: change.customer_id.clone(),
        updated_at: change.at.to_string(),
    }
}

/// What has changed in the database since this moment, and then what comes. Those who catch up read one after the other,
/// page by page, so that other callers find a connection. Ends if a page cannot be read: its client takes it up again where
/// it was.
fn caught_up(
    (database, turn): (Database, Arc<Semaphore>),
    from: Timestamp,
    live: broadcast::Receiver<Look>,
) -> BoxStream<'static, Arc<Change>> {
    let pages = unfold(Some(None), move |page| {
        let (database, turn) = (database.clone(), Arc::clone(&turn));
        async move {
            let page = page?;
            // A task of its own, since whoever writes to a slow client may let this wait, with everybody's turn in hand.
            let read = AbortOnDropHandle::new(tokio::spawn(async move {
                let _turn = turn.acquire_owned().await.ok()?;
                changes(&database, from, page).await.ok()
            }));
            let read = read.await.ok().flatten();
            let next = read.as_ref().and_then(|read| next_page(read)).map(Some);
            Some((read.map(|read| read.into_iter().map(Arc::new).collect::<Vec<_>>()), next))
        }
    });
    // What was read may come once more, but soon.
    let (mut read, mut last): (HashMap<OrderId, i64>, _) = (HashMap::new(), Timestamp::default());
    let fresh = move |change: &Arc<Change>| {
        let fresh = read.get(&change.order).is_none_or(|version| *version < change.version);
        if change.n > 0 && change.at > last.plus_millis(2 * LATE) {
            read = HashMap::new();
        } else if change.n == 0 {
            if read.len() >= REMEMBERED {
                read.clear();
            }
            read.insert(change.order, change.version);
            last = change.at;
        }
        ready(fresh)
    };
    let all = pages.chain(looks(live).map(|look| Some(look.to_vec())));
    all.scan((), |(), changes| ready(changes)).flat_map(iter).filter(fresh).boxed()
}

impl Api {
    /// Every change of every order that this caller may see.
    pub(super) async fn changes(
        &self,
        caller: Caller,
        since: Option<Position>,
        stopping: &Stopping,
    ) -> Result<Stream<Told>, Refusal> {
        let place = self.stream_place()?;
        let Listening { missed, live, run } = self.listen(since).await?;
        let changes = match (missed, since) {
            (None, Some(since)) => {
                let from = before(since, self.wiring.clock.now());
                caught_up((self.database.clone(), Arc::clone(&self.catching_up)), from, live)
            }
            (missed, _) => {
                let missed = iter(missed.unwrap_or_default());
                missed.chain(looks(live).flat_map(|look| iter(look.to_vec()))).boxed()
            }
        };
        let views = changes
            .filter(move |change| ready(caller.may_act_for(&change.customer_id)))
            .map(move |change| Told { run, change });
        Ok(stream(views, place, stopping).to_event(Told::event))
    }

    /// How this order stands, now and after every change, but for versions up to this one.
    pub(super) async fn changes_of(
        self: &Arc<Self>,
        order: OrderId,
        since: Option<i64>,
        stopping: &Stopping,
    ) -> Result<Stream<OrderView>, Refusal> {
        let place = self.stream_place()?;
        let mut seen = since.unwrap_or(0);
        let Listening { live, .. } = self.listen(None).await?;
        let api = Arc::clone(self);
        // Read once more, since it may have changed before there was anybody to hear of it.
        let changed = once(ready(()))
            .chain(looks(live).filter(move |look| ready(look.iter().any(|change| change.order == order))).map(drop));
        let views = changed
            .filter_map(move |()| {
                let api = Arc::clone(&api);
                async move {
                    loop {
                        match api.find(order).await {
                            Ok(found) => return found,
                            Err(_) => tokio::time::sleep(AGAIN).await,
                        }
                    }
                }
            })
            .filter(move |found| {
                let fresh = found.version > seen;
                seen = seen.max(found.version);
                ready(fresh)
            })
            .map(OrderView::from);
        let to_event =
            |order: OrderView| Event::message(order.to_json_string()).id(order.version.to_string()).event_type("order");
        Ok(stream(views, place, stopping).to_event(to_event))
    }

    async fn listen(&self, since: Option<Position>) -> Result<Listening, Refusal> {
        let away = || Refusal::unavailable("the feed of changes is being started again; try again");
        Ok(self.feed.call(|reply| FeedMessage::Listen(since, reply)).await.map_err(|_| away())??)
    }

    fn stream_place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let full = || Refusal::unavailable(format!("{STREAMS} streams are open; close some, or try again later"));
        Arc::clone(&self.streams).try_acquire_owned().map_err(|_| full())
    }
}

/// A stream that holds its place for as long as it lasts, and ends when the service is being stopped.
fn stream<T: Type + ToJSON + 'static>(
    views: impl futures::Stream<Item = T> + Send + 'static,
    place: OwnedSemaphorePermit,
    stopping: &Stopping,
) -> Stream<T> {
    let held = views.map(move |view| {
        let _ = &place;
        view
    });
    EventStream::new(held.take_until(stopping.0.clone().cancelled_owned()).boxed()).keep_alive(KEEP_ALIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saga::{Money, Stage};
    use runtime::database::DatabaseSettings;
    use std::sync::OnceLock;
    use uuid::Uuid;

    /// It would else go on behind what it could not read, and its client would never know.
    #[tokio::test]
    async fn a_stream_whose_page_cannot_be_read_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        let empty = DatabaseSettings::Sqlite(directory.path().join("empty.sqlite"));
        let database = Database::open(&empty).await.expect("a database without tables");
        let (sender, live) = broadcast::channel(1);
        let change = Change {
            n: 1,
            order: OrderId(Uuid::from_u128(1)),
            version: 1,
            at: Timestamp(1),
            customer_id: "cust-1".to_owned(),
            stage: Stage::AwaitingPayment,
            money: Money::Unknown,
            told: OnceLock::new(),
        };
        sender.send(Arc::new(vec![Arc::new(change)])).expect("somebody listens");
        let mut told = caught_up((database, Arc::new(Semaphore::new(1))), Timestamp(0), live);
        assert!(told.next().await.is_none());
    }
}
