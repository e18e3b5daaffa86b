//! Order-service and inventory-service on embedded parts. The test stands in for payment-service, so that a bad
//! deployment of it can leave fields out.

use anyhow::{Context, Result, ensure};
use contracts::{Money, OrderId, Payload, PaymentConfirmed, PaymentId, Status};
use e2e::api::{Api, Service, order_of};
use e2e::rig;
use migrations::{InventoryMigrator, OrderMigrator};
use order_system::config::{RunSettings, default_stock};
use reqwest::{Method, StatusCode};
use runtime::clock::SystemClock;
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::embedded::EmbeddedLog;
use runtime::event_log::{EventLog, NewRecord};
use runtime::http::Access;
use runtime::program::{Ports, Running};
use sea_orm_migration::MigratorTrait;
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long anything may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where they are.
pub(crate) const LIST: &str = "/api/dead-letters";

/// Order-service and inventory-service, and a log that the test can write.
pub(crate) struct Two {
    /// The log.
    pub(crate) log: Arc<EmbeddedLog>,
    order: Running,
    inventory: Running,
    /// A client of the two.
    pub(crate) api: Api,
}

async fn ports<M: MigratorTrait>(directory: &Path, name: &str, log: &Arc<dyn EventLog>) -> Result<Ports> {
    let database = Database::open(&DatabaseSettings::Sqlite(directory.join(name))).await?;
    database.migrate::<M>().await?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let common = RunSettings::embedded(directory.to_owned()).common;
    Ok(Ports {
        database,
        log: Arc::clone(log),
        clock: Arc::new(SystemClock),
        listener,
        metrics: None,
        attempts: common.attempts(),
        access: Arc::new(Access::open(None)),
        board: Arc::default(),
        whole: false,
        public_url: None,
    })
}

impl Two {
    pub(crate) async fn start(directory: &Path) -> Result<Self> {
        Self::start_over(directory, |log| log as Arc<dyn EventLog>).await
    }

    /// Starts them over what `port` makes of the log.
    pub(crate) async fn start_over(
        directory: &Path,
        port: impl FnOnce(Arc<EmbeddedLog>) -> Arc<dyn EventLog>,
    ) -> Result<Self> {
        let settings = RunSettings::embedded(directory.to_owned());
        let log = rig::log(directory).await?;
        let port = port(Arc::clone(&log));
        let order = ports::<OrderMigrator>(directory, "order.sqlite", &port).await?;
        let inventory = ports::<InventoryMigrator>(directory, "inventory.sqlite", &port).await?;
        let limit = settings.orders.orders_under_way_limit;
        let order = order_service::start(order, order_service::config::saga(&settings.common), limit).await?;
        let saga = inventory_service::config::saga(&settings.common);
        let inventory = inventory_service::start(inventory, saga, &default_stock()).await?;
        order.ready().await;
        inventory.ready().await;
        let api = Api::new(vec![order.url().to_owned(), "http://nobody.invalid".into(), inventory.url().to_owned()]);
        Ok(Two { log, order, inventory, api })
    }

    pub(crate) async fn stop(self) {
        self.order.stop().await;
        self.inventory.stop().await;
    }

    pub(crate) async fn append(&self, record: NewRecord) -> Result<()> {
        rig::append(&*self.log, vec![record]).await
    }

    /// Places an order.
    pub(crate) async fn placed(&self) -> Result<String> {
        self.api.place(&order_of("P1", 2)).await
    }

    pub(crate) async fn post(&self, service: Service, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let reply = self.api.request(Method::POST, service, path).json(body).send().await?;
        Ok((reply.status(), reply.json().await?))
    }

    /// Waits until so many letters are in this list, and returns them.
    pub(crate) async fn letters(&self, service: Service, path: &str, count: usize) -> Result<Vec<Value>> {
        let started = Instant::now();
        loop {
            let list = self.api.get(service, path).await?;
            let letters = list["deadLetters"].as_array().with_context(|| format!("{path}: {list}"))?.clone();
            if letters.len() == count {
                return Ok(letters);
            }
            ensure!(started.elapsed() < PATIENCE, "after {PATIENCE:?} {path} has not {count} letters: {list}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(crate) fn is_sent_again<'a>(mut headers: impl Iterator<Item = &'a (String, Vec<u8>)>) -> bool {
    headers.any(|(name, _)| name == "dlt-redriven")
}

/// What payment-service says of an order of [`order_of`].
pub(crate) fn confirmed(order: &str) -> Result<NewRecord> {
    let order_id = OrderId(order.parse()?);
    let amount = Money::from_ten_thousandths(100_000).into();
    let payload = PaymentConfirmed {
        payment_id: PaymentId::of(order_id),
        order_id,
        amount,
        currency: "EUR".into(),
        status: Status::Confirmed,
    };
    Ok(rig::foreign(&Payload::PaymentConfirmed(payload), 1))
}

/// The same, from a deployment that leaves the amount out.
pub(crate) fn malformed(order: &str) -> Result<NewRecord> {
    let mut record = confirmed(order)?;
    let mut value: Value = serde_json::from_slice(record.value.as_deref().unwrap_or_default())?;
    value["payload"].as_object_mut().context("a payload")?.remove("amount");
    record.value = Some(value.to_string().into_bytes());
    record.headers = vec![("correlation-id".into(), b"bad-deployment".to_vec())];
    Ok(record)
}

pub(crate) fn text(record: &NewRecord) -> String {
    String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
}

pub(crate) fn path(letter: &Value) -> String {
    format!("{LIST}/{}", letter["id"].as_str().unwrap_or("no id"))
}
