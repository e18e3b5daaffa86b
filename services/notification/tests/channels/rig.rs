//! Notification-service on embedded parts.

use anyhow::{Context, Result, bail};
use contracts::{
    Contact, Envelope, Money, OrderCancelled, OrderConfirmed, OrderId, Payload, PaymentId, PaymentRefunded, RefundId,
    Status,
};
use migrations::{EventLogMigrator, NotificationMigrator};
use notification_service::config::Notify;
use reqwest::{Client, StatusCode};
use runtime::actors::consumer::Attempts;
use runtime::clock::{Clock, SystemClock};
use runtime::config::given;
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::embedded::EmbeddedLog;
use runtime::event_log::{EventLog, NewRecord};
use runtime::http::Access;
use runtime::program::{Ports, Running};
use serde_json::Value;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// How long anything may take on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// What webhooks are signed with.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Both ways to a customer.
pub(crate) fn contact(webhook_url: &str) -> Contact {
    Contact { email: Some("customer@example.com".into()), webhook_url: Some(webhook_url.to_owned()) }
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, ask: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("not {what} within {PATIENCE:?}")
}

/// The service, in an async runtime of its own, which can be ended in the middle of everything.
pub(crate) struct Rig {
    directory: TempDir,
    log: Arc<EmbeddedLog>,
    runtime: Runtime,
    running: Running,
    client: Client,
}

impl Rig {
    /// With these settings, besides those of a test.
    pub(crate) async fn start(settings: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let events = Database::open(&DatabaseSettings::Sqlite(directory.path().join("events.sqlite"))).await?;
        events.migrate::<EventLogMigrator>().await?;
        let log = Arc::new(EmbeddedLog::open(events, Arc::new(SystemClock)).await?);
        let (runtime, running) = run(&directory, &log, settings).await?;
        Ok(Rig { directory, log, runtime, running, client: Client::new() })
    }

    /// Ends the service without a chance to finish anything, and starts it again on the same database.
    pub(crate) async fn kill_and_restart(&mut self, settings: &[&str]) -> Result<()> {
        std::mem::replace(&mut self.runtime, Runtime::new()?).shutdown_background();
        let (runtime, running) = run(&self.directory, &self.log, settings).await?;
        std::mem::replace(&mut self.runtime, runtime).shutdown_background();
        self.running = running;
        Ok(())
    }

    pub(crate) async fn stop(self) -> Result<()> {
        let Rig { runtime, running, .. } = self;
        let stopped = tokio::time::timeout(PATIENCE, runtime.spawn(running.stop())).await;
        runtime.shutdown_background();
        stopped?.context("the service did not stop in order")
    }

    /// A new order.
    pub(crate) fn order(&self) -> OrderId {
        OrderId(Uuid::now_v7())
    }

    pub(crate) async fn confirmed(&self, order_id: OrderId, contact: Option<Contact>) -> Result<()> {
        let (customer_id, confirmed_at) = ("cust-1".to_owned(), SystemClock.now().to_string());
        let event = OrderConfirmed { order_id, customer_id, status: Status::Confirmed, confirmed_at, contact };
        self.publish(Payload::OrderConfirmed(event)).await
    }

    pub(crate) async fn cancelled(&self, order_id: OrderId, contact: Option<Contact>) -> Result<()> {
        self.publish(Payload::OrderCancelled(OrderCancelled {
            order_id,
            customer_id: "cust-1".into(),
            status: Status::Cancelled,
            reason: "ordered twice".into(),
            cancelled_at: SystemClock.now().to_string(),
            contact,
        }))
        .await
    }

    pub(crate) async fn refunded(&self, order_id: OrderId, contact: Option<Contact>) -> Result<()> {
        self.publish(Payload::PaymentRefunded(PaymentRefunded {
            refund_id: RefundId("refund-1".into()),
            payment_id: PaymentId::of(order_id),
            order_id,
            customer_id: "cust-1".into(),
            amount: Money::from_ten_thousandths(999_900),
            currency: "USD".into(),
            status: Status::Refunded,
            reason: "ordered twice".into(),
            contact,
        }))
        .await
    }

    async fn publish(&self, payload: Payload) -> Result<()> {
        let (topic, order) = (payload.event_type().topic().to_owned(), payload.order_id());
        let envelope = Envelope { event_id: Uuid::now_v7(), correlation_id: "test".into(), payload };
        let (key, value) = (Some(order.to_string().into_bytes()), Some(envelope.encode(SystemClock.now())));
        for appended in self.log.append(vec![NewRecord { topic, key, value, headers: Vec::new() }]).await {
            appended?;
        }
        Ok(())
    }

    pub(crate) async fn get(&self, path: &str) -> Result<(StatusCode, Value)> {
        let reply = self.client.get(format!("{}{path}", self.running.url())).send().await?;
        Ok((reply.status(), reply.json().await?))
    }

    pub(crate) async fn post(&self, path: &str) -> Result<(StatusCode, Value)> {
        let reply = self.client.post(format!("{}{path}", self.running.url())).send().await?;
        Ok((reply.status(), reply.json().await?))
    }

    /// Reads this until it holds.
    pub(crate) async fn until(&self, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let asked = async || Ok(Some(self.get(path).await?.1).filter(|reply| holds(reply)));
        match eventually(what, asked).await {
            Ok(reply) => Ok(reply),
            Err(late) => bail!("{late}: {}", self.get(path).await?.1),
        }
    }
}

async fn run(directory: &TempDir, log: &Arc<EmbeddedLog>, settings: &[&str]) -> Result<(Runtime, Running)> {
    let notify: Notify =
        given(&[&["--webhook-secret", SECRET, "--notify-retry-interval-ms", "10"], settings].concat())?;
    let (path, log) = (directory.path().join("notification.sqlite"), Arc::clone(log));
    let runtime = Runtime::new()?;
    let started = runtime.spawn(async move {
        let database = Database::open(&DatabaseSettings::Sqlite(path)).await?;
        database.migrate::<NotificationMigrator>().await?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let attempts = Attempts { max: 3, interval: Duration::ZERO };
        let clock = Arc::new(SystemClock);
        let ports = Ports {
            database,
            log: log as Arc<dyn EventLog>,
            clock,
            listener,
            metrics: None,
            attempts,
            access: Arc::new(Access::open(None)),
            board: Arc::default(),
            whole: false,
            public_url: None,
        };
        let running = notification_service::start(ports, notify.ways()?).await?;
        running.ready().await;
        anyhow::Ok(running)
    });
    let running = started.await??;
    Ok((runtime, running))
}
