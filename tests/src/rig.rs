//! One service's actors without its HTTP API, over ports that a test can make fail.

use anyhow::{Result, ensure};
use async_trait::async_trait;
use contracts::{OrderId, Payload, Timestamp, event_id};
use futures::future::BoxFuture;
use migrations::EventLogMigrator;
use order_service::saga::{Details, Input};
use ractor::{Actor, ActorRef};
use runtime::actors::Wiring;
use runtime::actors::consumer::{Attempts, ConsumerMessage};
use runtime::actors::outside::{Nowhere, Outside};
use runtime::actors::supervisor::{Child, Supervisor, SupervisorMessage, Tree};
use runtime::clock::SystemClock;
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::embedded::EmbeddedLog;
use runtime::event_log::{
    Change, Deliveries, EventLog, Extent, LogError, Membership, NewRecord, Partition, Position, Record, Subscription,
};
use runtime::health::{Health, Part};
use runtime::saga::{Caused, Origin, Outgoing, Saga, Step};
use runtime::store::sql::{SqlStore, Table};
use runtime::store::{Backlog, Loaded, OutboxKey, Overdue, Store, StoreError, Verdict};
use serde_json::json;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// A service's actors, running.
pub struct Rig<S: Saga> {
    /// What they share.
    pub wiring: Arc<Wiring<S>>,
    /// Who started them.
    pub supervisor: ActorRef<SupervisorMessage>,
    /// Ends with them.
    pub ended: JoinHandle<()>,
}

const ATTEMPTS: Attempts = Attempts { max: 3, interval: Duration::from_millis(20) };

impl<S: Saga> Rig<S> {
    /// Starts them over these ports. A message is tried three times, without a pause that is worth waiting for.
    pub async fn start(store: Arc<dyn Store<S>>, log: Arc<dyn EventLog>, outside: Arc<dyn Outside<S>>) -> Result<Self>
    where
        S: Default,
    {
        let health = Arc::new(Health::starting("test", false));
        let wiring = Wiring::new(S::default(), store, log, Arc::new(SystemClock), outside, Arc::clone(&health));
        let children = wiring.children(ATTEMPTS);
        let rig = Self::spawn(wiring, children).await?;
        rig.until("ready", || rig.wiring.health.is_ready()).await?;
        Ok(rig)
    }

    async fn spawn(wiring: Arc<Wiring<S>>, children: Vec<Child>) -> Result<Self> {
        let (health, roster) = (Arc::clone(&wiring.health), Arc::clone(&wiring.roster));
        let tree = Tree { service: S::SERVICE, children, health, roster };
        let (supervisor, ended) = Supervisor::spawn(None, Supervisor, tree).await?;
        Ok(Rig { wiring, supervisor, ended })
    }

    /// Starts what does the work of an order, without timers and without a consumer: what they do is the test's part.
    pub async fn without_consumer(saga: S, store: Arc<dyn Store<S>>, log: Arc<dyn EventLog>) -> Result<Self>
    where
        S: Saga<Effect = Infallible>,
    {
        let health = Arc::new(Health::starting("test", true));
        let wiring = Wiring::new(saga, store, log, Arc::new(SystemClock), Arc::new(Nowhere), health);
        let mut children = wiring.children(ATTEMPTS);
        children.truncate(4);
        wiring.ownership.set([0].into());
        let rig = Self::spawn(wiring, children).await?;
        rig.until("running", || rig.is_well(Part::Actors)).await?;
        Ok(rig)
    }

    /// Waits until this holds.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<()> {
        let patience = Duration::from_secs(60);
        let waiting = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let report = || format!("not {what} after {patience:?}: {:?}", self.wiring.health.report());
        tokio::time::timeout(patience, waiting).await.map_err(|_| anyhow::Error::msg(report()))
    }

    /// Waits until all that is on the log now is dealt with.
    pub async fn caught_up(&self) -> Result<()> {
        let (read, mut partitions) = unbounded_channel();
        self.wiring.consumer.cast(ConsumerMessage::CatchUp(read))?;
        let caught_up = async {
            let mut any = false;
            while partitions.recv().await.is_some() {
                any = true;
            }
            any
        };
        ensure!(
            tokio::time::timeout(Duration::from_secs(60), caught_up).await?,
            "it is not known how far the log goes"
        );
        Ok(())
    }

    /// How an order stands.
    pub async fn load(&self, order: OrderId) -> Result<Option<S::State>> {
        Ok(self.wiring.store.load(&[order]).await?.pop().map(|loaded| loaded.instance.state))
    }

    /// Ends them in order.
    pub async fn stop(self) -> Result<()> {
        self.supervisor.stop(None);
        Ok(self.ended.await?)
    }

    /// Whether a part is well.
    pub fn is_well(&self, part: Part) -> bool {
        self.wiring.health.is_well(part)
    }
}

/// A database of its own for a saga.
pub async fn store<S: Table + Default, M: sea_orm_migration::MigratorTrait>(directory: &Path) -> Result<SqlStore<S>> {
    let file = directory.join(format!("{}.sqlite", S::SERVICE));
    let database = Database::open(&DatabaseSettings::Sqlite(file)).await?;
    database.migrate::<M>().await?;
    Ok(SqlStore::new(S::default(), database))
}

/// An embedded event log of its own.
pub async fn log(directory: &Path) -> Result<Arc<EmbeddedLog>> {
    let database = Database::open(&DatabaseSettings::Sqlite(directory.join("events.sqlite"))).await?;
    database.migrate::<EventLogMigrator>().await?;
    Ok(Arc::new(EmbeddedLog::open(database, Arc::new(SystemClock)).await?))
}

/// Appends, and fails if the log does not take it all.
pub async fn append(log: &dyn EventLog, records: Vec<NewRecord>) -> Result<()> {
    Ok(log.append(records).await.into_iter().collect::<Result<(), LogError>>()?)
}

/// An order that is placed here.
pub fn placed() -> Caused<Input> {
    let input = Input::Place(Arc::new(Details { customer_id: "c".into(), ..Details::default() }));
    let id = Uuid::now_v7();
    Caused { origin: Origin::Here, id, correlation_id: String::new(), traceparent: None, input, expected: None }
}

/// A record that somebody else's service wrote. `salt` tells apart events that say the same.
pub fn foreign(payload: &Payload, salt: u32) -> NewRecord {
    let (event_type, order) = (payload.event_type(), payload.order_id());
    let envelope = json!({
        "eventId": event_id("foreign", order, salt.into(), event_type.name()),
        "eventType": event_type.name(),
        "version": "1.0",
        "correlationId": "",
        "timestamp": "2026-01-01T00:00:00Z",
        "payload": payload,
    });
    NewRecord {
        topic: event_type.topic().to_owned(),
        key: Some(order.to_string().into_bytes()),
        value: Some(envelope.to_string().into_bytes()),
        headers: Vec::new(),
    }
}

/// An order that somebody else's order-service took on.
pub fn order_created(total: &str) -> Payload {
    let order = json!({
        "orderId": Uuid::now_v7(),
        "customerId": "cust-9",
        "totalAmount": serde_json::from_str::<serde_json::Number>(total).expect("a number"),
        "currency": "USD",
        "items": [{"productId": "P1", "quantity": 1, "unitPrice": 1}],
    });
    Payload::OrderCreated(serde_json::from_value(order).expect("an order.created"))
}

/// A log that does with appends and subscriptions what the test says, before the real one does its work.
pub struct FaultyLog<L> {
    /// The real one.
    pub log: Arc<L>,
    /// Refuses this record, or not.
    pub refuses: Box<dyn Fn(&NewRecord) -> bool + Send + Sync>,
    /// Is given the ends of every subscription.
    pub subscribed: Box<dyn Fn(Subscription) -> Subscription + Send + Sync>,
}

#[async_trait]
impl<L: EventLog> EventLog for FaultyLog<L> {
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<(), LogError>> {
        if records.iter().any(|record| (self.refuses)(record)) {
            return records.iter().map(|_| Err(LogError("the topic cannot be written".into()))).collect();
        }
        self.log.append(records).await
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Subscription, LogError> {
        Ok((self.subscribed)(self.log.subscribe(group, topics).await?))
    }

    fn partition_of(&self, key: &[u8]) -> Option<i32> {
        self.log.partition_of(key)
    }
}

/// A subscription that reads nothing, and the log's end of it.
pub fn silent(subscription: Subscription) -> (Deliveries, Subscription) {
    let (deliveries, changes, records) = Deliveries::channel(1);
    (deliveries, Subscription { changes, records, membership: subscription.membership })
}

/// A log without time or place: it takes everything, and every subscription reads these records and then nothing more.
#[derive(Clone, Debug, Default)]
pub struct FixedLog(pub Vec<NewRecord>);

#[async_trait]
impl EventLog for FixedLog {
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<(), LogError>> {
        records.iter().map(|_| Ok(())).collect()
    }

    async fn subscribe(&self, _: &str, topics: &[String]) -> Result<Subscription, LogError> {
        let (deliveries, changes, records) = Deliveries::channel(self.0.len().max(1));
        let partition = |topic: &String| Partition { topic: topic.clone(), partition: 0 };
        deliveries.change(Change::Assigned(topics.iter().map(partition).collect()));
        for (record, offset) in self.0.iter().zip(0..) {
            let at = Position { partition: partition(&record.topic), offset };
            let (key, value, headers) = (record.key.clone(), record.value.clone(), record.headers.clone());
            let room = deliveries.room().await.ok_or_else(|| LogError("nobody listens".into()))?;
            room.put(deliveries.generation(), Record { at, key, value, headers });
        }
        Ok(Subscription { changes, records, membership: Arc::new(AtItsEnd { _deliveries: deliveries }) })
    }

    fn partition_of(&self, _: &[u8]) -> Option<i32> {
        Some(0)
    }
}

struct AtItsEnd {
    /// Held, since a subscription whose other end is gone has ended.
    _deliveries: Deliveries,
}

#[async_trait]
impl Membership for AtItsEnd {
    fn store(&self, _: &Partition, _: i64) {}

    async fn extents(&self) -> Result<Vec<Extent>, LogError> {
        Ok(Vec::new())
    }

    async fn leave(&self) {}
}

/// A store of which only this is not real: it keeps nothing and takes everything on at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullStore;

#[async_trait]
impl<S: Saga> Store<S> for NullStore {
    async fn load(&self, _: &[OrderId]) -> Result<Vec<Loaded<S>>, StoreError> {
        Ok(Vec::new())
    }

    async fn commit(&self, steps: &[Step<S>], _: &[OutboxKey]) -> Result<Vec<Verdict<S>>, StoreError> {
        let committed = |step: &Step<S>| Verdict::Committed(step.next.clone(), step.outgoing().collect());
        Ok(steps.iter().map(committed).collect())
    }

    async fn unsent(&self, _: Option<OutboxKey>, _: u64) -> Result<Vec<Outgoing>, StoreError> {
        Ok(Vec::new())
    }

    async fn due(&self, _: Timestamp, _: Option<(Timestamp, OrderId)>, _: u64) -> Result<Vec<Overdue>, StoreError> {
        Ok(Vec::new())
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        Ok(Backlog::default())
    }
}

/// A store that keeps what it is given, and may say something else about it, or nothing.
pub struct FaultyStore<R> {
    /// The real one.
    pub store: R,
    /// What stands between a commit and its outcome: an error is told instead.
    pub told: Box<dyn Fn() -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync>,
}

#[async_trait]
impl<S: Saga, R: Store<S>> Store<S> for FaultyStore<R> {
    async fn load(&self, orders: &[OrderId]) -> Result<Vec<Loaded<S>>, StoreError> {
        self.store.load(orders).await
    }

    async fn commit(&self, steps: &[Step<S>], sent: &[OutboxKey]) -> Result<Vec<Verdict<S>>, StoreError> {
        let verdicts = self.store.commit(steps, sent).await?;
        (self.told)().await.map(|()| verdicts)
    }

    async fn unsent(&self, after: Option<OutboxKey>, limit: u64) -> Result<Vec<Outgoing>, StoreError> {
        self.store.unsent(after, limit).await
    }

    async fn due(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, OrderId)>,
        limit: u64,
    ) -> Result<Vec<Overdue>, StoreError> {
        self.store.due(now, after, limit).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.store.backlog().await
    }
}

/// The stub provider, as payment-service's outside.
pub fn stub_provider() -> Arc<dyn Outside<payment_service::saga::PaymentSaga>> {
    let settings = order_system::config::RunSettings::embedded(Path::new(".").to_owned());
    let provider = settings.payment.provider().expect("every default is a value");
    let health = Arc::new(Health::starting("test", true));
    Arc::new(payment_service::provider::Provided::new(provider, Arc::new(SystemClock), health))
}
