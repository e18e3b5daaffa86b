//! Dead letters from the log to the operator and back (faults 21 and 24), on embedded parts. The test stands in for
//! payment-service, so that a bad deployment of it can leave fields out.

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use contracts::{Money, OrderId, Payload, PaymentConfirmed, PaymentId, Status};
use e2e::api::{Api, Service, order_of};
use e2e::rig;
use e2e::topics::read_all;
use inventory_service::stock;
use migrations::{InventoryMigrator, OrderMigrator};
use order_system::config::{RunSettings, default_stock};
use reqwest::{Method, StatusCode};
use runtime::clock::SystemClock;
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::embedded::EmbeddedLog;
use runtime::event_log::{EventLog, LogError, NewRecord, Subscription};
use runtime::http::Access;
use runtime::program::{Ports, Running};
use sea_orm::EntityTrait;
use sea_orm_migration::MigratorTrait;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;

/// How long anything may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LIST: &str = "/api/dead-letters";

/// Order-service and inventory-service, and a log that the test can write.
struct Two {
    log: Arc<EmbeddedLog>,
    order: Running,
    inventory: Running,
    api: Api,
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
    async fn start(directory: &Path) -> Result<Self> {
        Self::start_over(directory, |log| log as Arc<dyn EventLog>).await
    }

    /// Starts them over what `port` makes of the log.
    async fn start_over(directory: &Path, port: impl FnOnce(Arc<EmbeddedLog>) -> Arc<dyn EventLog>) -> Result<Self> {
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

    async fn stop(self) {
        self.order.stop().await;
        self.inventory.stop().await;
    }

    async fn append(&self, record: NewRecord) -> Result<()> {
        rig::append(&*self.log, vec![record]).await
    }

    /// Places an order.
    async fn placed(&self) -> Result<String> {
        self.api.place(&order_of("P1", 2)).await
    }

    async fn post(&self, service: Service, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let reply = self.api.request(Method::POST, service, path).json(body).send().await?;
        Ok((reply.status(), reply.json().await?))
    }

    /// Waits until so many letters are in this list, and returns them.
    async fn letters(&self, service: Service, path: &str, count: usize) -> Result<Vec<Value>> {
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

/// A log that takes what is sent again, and never says so: as it is for a service that is killed before it hears of it.
struct Mute(Arc<EmbeddedLog>);

#[async_trait]
impl EventLog for Mute {
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<(), LogError>> {
        let is_sent_again = is_sent_again(records.iter().flat_map(|record| &record.headers));
        let answer = self.0.append(records).await;
        if is_sent_again {
            std::future::pending::<()>().await;
        }
        answer
    }

    async fn subscribe(&self, group: &str, topics: &[String]) -> Result<Subscription, LogError> {
        self.0.subscribe(group, topics).await
    }

    fn partition_of(&self, key: &[u8]) -> Option<i32> {
        self.0.partition_of(key)
    }
}

fn is_sent_again<'a>(mut headers: impl Iterator<Item = &'a (String, Vec<u8>)>) -> bool {
    headers.any(|(name, _)| name == "dlt-redriven")
}

/// What payment-service says of an order of [`order_of`].
fn confirmed(order: &str) -> Result<NewRecord> {
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
fn malformed(order: &str) -> Result<NewRecord> {
    let mut record = confirmed(order)?;
    let mut value: Value = serde_json::from_slice(record.value.as_deref().unwrap_or_default())?;
    value["payload"].as_object_mut().context("a payload")?.remove("amount");
    record.value = Some(value.to_string().into_bytes());
    record.headers = vec![("correlation-id".into(), b"bad-deployment".to_vec())];
    Ok(record)
}

fn text(record: &NewRecord) -> String {
    String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
}

fn path(letter: &Value) -> String {
    format!("{LIST}/{}", letter["id"].as_str().unwrap_or("no id"))
}

/// The whole story of one message with a field missing.
#[tokio::test]
async fn a_corrected_letter_sends_its_order_on() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let two = Two::start(directory.path()).await?;
    let order = two.placed().await?;
    let (bad, good) = (malformed(&order)?, confirmed(&order)?);
    two.append(bad.clone()).await?;

    // Both read payment.confirmed, and each shows what its own group could not read.
    two.letters(Service::Order, LIST, 1).await?;
    let letter = two.letters(Service::Inventory, LIST, 1).await?.remove(0);
    assert_eq!((&letter["topic"], &letter["state"]), (&json!("payment.confirmed"), &json!("OPEN")), "{letter}");
    assert_eq!((&letter["key"], &letter["attempts"]), (&json!(order), &json!(1)), "{letter}");
    assert!(letter["reason"].as_str().is_some_and(|reason| reason.contains("amount")), "{letter}");
    let path = path(&letter);
    let whole = two.api.get(Service::Inventory, &path).await?;
    assert_eq!((&whole["payload"], &whole["payloadEncoding"]), (&json!(text(&bad)), &json!("TEXT")), "{whole}");
    assert_eq!(whole["headers"][0], json!({"name": "correlation-id", "value": "bad-deployment", "encoding": "TEXT"}));
    assert_eq!(whole["history"], json!([]), "{whole}");

    let redrive = format!("{path}/redrive");
    let (status, problem) = two.post(Service::Inventory, &redrive, &json!({"payload": text(&bad)})).await?;
    assert_eq!((status.as_u16(), &problem["errors"][0]["pointer"]), (422, &json!("/payload")), "{problem}");
    assert_eq!(two.api.get(Service::Order, &format!("/api/orders/{order}")).await?["status"], "PENDING");

    let corrected = json!({"payload": text(&good), "reason": "rolled back"});
    let (status, sent) = two.post(Service::Inventory, &redrive, &corrected).await?;
    assert_eq!((status.as_u16(), &sent["state"], &sent["redriven"]), (202, &json!("REDRIVEN"), &json!(1)), "{sent}");
    let before = two.api.until_final(&order).await?;
    assert_eq!(before["status"], "CONFIRMED", "{before}");

    // Once more changes nothing: an order behind it on the same topic goes its way, and this one stays as it is.
    let (status, sent) = two.post(Service::Inventory, &redrive, &corrected).await?;
    assert_eq!((status.as_u16(), &sent["redriven"]), (202, &json!(2)), "{sent}");
    let other = two.placed().await?;
    two.append(confirmed(&other)?).await?;
    assert_eq!(two.api.until_final(&other).await?["status"], "CONFIRMED");
    assert_eq!(two.api.get(Service::Order, &format!("/api/orders/{order}")).await?, before);
    assert_eq!(two.api.get(Service::Inventory, "/api/stock/P1").await?["reserved"], 4, "twice two units");
    assert_eq!(two.letters(Service::Inventory, LIST, 1).await?[0]["state"], "REDRIVEN");

    let subject = format!("dead-letter/{}", letter["id"].as_str().unwrap_or_default());
    let audit = two.api.get(Service::Inventory, &format!("/api/audit?subject={subject}")).await?;
    let entries = audit["entries"].as_array().context("entries")?;
    assert_eq!(entries.len(), 2, "{audit}");
    for entry in entries {
        assert_eq!((&entry["actor"], &entry["action"]), (&json!("anyone"), &json!("dead-letter.redrive")), "{entry}");
        assert_eq!((&entry["reason"], &entry["detail"]["corrected"]), (&json!("rolled back"), &json!(true)), "{entry}");
    }
    assert_eq!(two.api.get(Service::Inventory, &path).await?["history"], audit["entries"]);
    let others = two.api.get(Service::Inventory, "/api/audit?actor=nobody").await?;
    assert_eq!(others["entries"], json!([]));
    two.stop().await;
    Ok(())
}

/// A message that dies again and again is sent again three times, and then only for who insists.
#[tokio::test]
async fn a_letter_that_dies_again_says_so_and_is_stopped() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let two = Two::start(directory.path()).await?;
    two.append(malformed(&Uuid::now_v7().to_string())?).await?;
    let mut newest = two.letters(Service::Order, LIST, 1).await?.remove(0);
    for life in 1..=3_usize {
        let (status, sent) = two.post(Service::Order, &format!("{}/redrive", path(&newest)), &json!({})).await?;
        assert_eq!((status.as_u16(), &sent["state"]), (202, &json!("REDRIVEN")), "{sent}");
        newest = two.letters(Service::Order, LIST, life + 1).await?.remove(0);
        assert_eq!((&newest["state"], &newest["redriven"]), (&json!("OPEN"), &json!(life)), "{newest}");
    }
    let redrive = format!("{}/redrive", path(&newest));
    let (status, problem) = two.post(Service::Order, &redrive, &json!({})).await?;
    assert_eq!(status, 409, "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("force")), "{problem}");
    let (_, none) = two.post(Service::Order, "/api/dead-letters/redrive", &json!({"dryRun": true})).await?;
    assert_eq!((&none["count"], &none["ids"]), (&json!(0), &json!([])), "{none}");
    let (status, sent) = two.post(Service::Order, &redrive, &json!({"force": true})).await?;
    assert_eq!((status.as_u16(), &sent["redriven"]), (202, &json!(4)), "{sent}");
    let last = two.letters(Service::Order, LIST, 5).await?.remove(0);
    let whole = two.api.get(Service::Order, &path(&last)).await?;
    let headers = whole["headers"].as_array().context("headers")?;
    let named = |name: &str| headers.iter().filter(|header| header["name"] == name).count();
    assert_eq!((named("dlt-redriven"), named("dlt-error"), named("correlation-id")), (1, 1, 1), "{whole}");
    two.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_letter_is_discarded_with_a_reason() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let two = Two::start(directory.path()).await?;
    // A payment of an order that order-service does not know (fault 24); bytes that are no text, and no value at all.
    let unknown = confirmed(&Uuid::now_v7().to_string())?;
    let bytes = NewRecord { value: Some(vec![0, 159, 146]), ..unknown.clone() };
    let tombstone = NewRecord { value: None, ..unknown.clone() };
    for (record, count) in [unknown, bytes, tombstone].into_iter().zip(1..) {
        two.append(record).await?;
        two.letters(Service::Order, LIST, count).await?;
    }
    let letters = two.letters(Service::Order, LIST, 3).await?;
    let whole = two.api.get(Service::Order, &path(&letters[1])).await?;
    assert_eq!((&whole["payload"], &whole["payloadEncoding"]), (&json!("AJ+S"), &json!("BASE64")), "{whole}");
    assert_eq!(two.api.get(Service::Order, &path(&letters[0])).await?.get("payload"), None);

    let discard = format!("{}/discard", path(&letters[2]));
    assert_eq!(two.post(Service::Order, &discard, &json!({"reason": " "})).await?.0, 422);
    assert_eq!(two.post(Service::Order, &discard, &json!({})).await?.0, 422);
    for _ in 0..2 {
        let (status, letter) = two.post(Service::Order, &discard, &json!({"reason": "of another system"})).await?;
        assert_eq!((status.as_u16(), &letter["state"]), (200, &json!("DISCARDED")), "{letter}");
        assert_eq!(letter["history"].as_array().map(Vec::len), Some(1), "the second time changed nothing: {letter}");
        assert_eq!(letter["history"][0]["reason"], "of another system", "{letter}");
    }
    assert_eq!(two.post(Service::Order, &format!("{}/redrive", path(&letters[2])), &json!({})).await?.0, 409);
    two.letters(Service::Order, &format!("{LIST}?state=OPEN"), 2).await?;
    two.letters(Service::Order, &format!("{LIST}?state=DISCARDED&topic=payment.confirmed"), 1).await?;
    two.letters(Service::Order, &format!("{LIST}?topic=payment.failed"), 0).await?;
    two.letters(Service::Order, &format!("{LIST}?reason=UTF-8"), 1).await?;
    two.letters(Service::Order, &format!("{LIST}?reason=%25"), 0).await?;

    let unknown = format!("{LIST}/{}", Uuid::now_v7());
    assert_eq!(two.post(Service::Order, &format!("{unknown}/discard"), &json!({"reason": "x"})).await?.0, 404);
    assert_eq!(two.post(Service::Order, &format!("{unknown}/redrive"), &json!({})).await?.0, 404);
    for (query, status) in [("limit=0", 422), ("limit=101", 422), ("cursor=x", 400), ("state=LOST", 400)] {
        assert_eq!(two.api.get(Service::Order, &format!("{LIST}?{query}")).await?["status"], status, "{query}");
    }
    two.stop().await;
    Ok(())
}

/// Many are sent again at a rate, in their order, and a stop in between only makes it later.
#[tokio::test]
async fn many_letters_are_sent_again_also_over_a_restart() -> Result<()> {
    const MANY: usize = 5;
    let directory: TempDir = tempfile::tempdir()?;
    let two = Two::start(directory.path()).await?;
    let mut orders = Vec::new();
    for _ in 0..MANY {
        orders.push(two.placed().await?);
    }
    // Good messages that this group gave up, as while its database was refusing rows.
    for (order, offset) in orders.iter().zip(0..) {
        let mut letter = confirmed(order)?;
        letter.topic.push_str(".dlt");
        let headers = [
            ("dlt-original-topic", letter.topic.replace(".dlt", "")),
            ("dlt-original-partition", "0".into()),
            ("dlt-original-offset", format!("{}", 1_000 + offset)),
            ("dlt-consumer-group", "inventory-service".into()),
            ("dlt-attempts", "3".into()),
            ("dlt-error", "Refused for a while".into()),
        ];
        letter.headers = headers.map(|(name, value)| (name.to_owned(), value.into_bytes())).into();
        // A copy is the same letter.
        two.append(letter.clone()).await?;
        two.append(letter).await?;
    }
    let letters = two.letters(Service::Inventory, &format!("{LIST}?state=OPEN"), MANY).await?;
    let oldest_first: Vec<&Value> = letters.iter().rev().map(|letter| &letter["id"]).collect();

    let redrive = "/api/dead-letters/redrive";
    let wish = json!({"topic": "payment.confirmed", "reason": "refused FOR a", "ratePerSecond": 2, "limit": 4});
    let mut dry = wish.clone();
    dry["dryRun"] = json!(true);
    let (status, found) = two.post(Service::Inventory, redrive, &dry).await?;
    assert_eq!((status.as_u16(), &found["count"]), (200, &json!(MANY)), "{found}");
    assert_eq!(found["ids"].as_array().context("ids")?.iter().collect::<Vec<_>>(), oldest_first[..4], "{found}");
    two.letters(Service::Inventory, &format!("{LIST}?state=OPEN"), MANY).await?;

    let started = Instant::now();
    let (status, taken) = two.post(Service::Inventory, redrive, &wish).await?;
    assert_eq!((status.as_u16(), &taken["ids"]), (202, &found["ids"]), "{taken}");
    let follow = format!("{}&state=REDRIVEN", taken["follow"].as_str().context("where to follow it")?);
    two.letters(Service::Inventory, &follow, 1).await?;
    two.stop().await;
    let two = Two::start(directory.path()).await?;
    two.letters(Service::Inventory, &follow, 4).await?;
    assert!(started.elapsed() >= Duration::from_millis(1_000), "four, two a second, in {:?}", started.elapsed());
    for order in &orders[..4] {
        two.api
            .until_says(
                Service::Inventory,
                &format!("/api/reservations?orderId={order}"),
                "/reservations/0/status",
                &json!("RESERVED"),
            )
            .await?;
    }
    two.letters(Service::Inventory, &format!("{LIST}?state=OPEN"), 1).await?;
    let others = two.api.get(Service::Order, LIST).await?;
    assert_eq!(others["deadLetters"], json!([]), "they are not order-service's");
    let audit = two.api.get(Service::Inventory, "/api/audit").await?;
    assert_eq!(audit["entries"].as_array().map(Vec::len), Some(4), "{audit}");
    two.stop().await;
    let database = Database::open(&DatabaseSettings::Sqlite(directory.path().join("inventory.sqlite"))).await?;
    let shelf = stock::Entity::find_by_id("P1").one(&database.read).await?.context("P1")?;
    assert_eq!(shelf.reserved, 8, "four times two units");
    Ok(())
}

/// Cut off between the topic and the row, a redrive is done again: a duplicate on the topic, and one effect.
#[tokio::test]
async fn a_redrive_that_is_cut_off_is_done_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let two = Two::start_over(directory.path(), |log| Arc::new(Mute(log)) as Arc<dyn EventLog>).await?;
    let order = two.placed().await?;
    two.append(malformed(&order)?).await?;
    let path = path(&two.letters(Service::Inventory, LIST, 1).await?[0]);
    let corrected = json!({"payload": text(&confirmed(&order)?)});
    let (status, wanted) = two.post(Service::Inventory, &format!("{path}/redrive"), &corrected).await?;
    assert_eq!((status.as_u16(), &wanted["state"]), (202, &json!("OPEN")), "{wanted}");
    assert!(wanted["redriveRequestedAt"].is_string(), "it is not known to have been sent: {wanted}");
    let (status, twice) = two.post(Service::Inventory, &format!("{path}/redrive"), &corrected).await?;
    assert_eq!(status, 409, "{twice}");
    let (status, sent) = two.post(Service::Inventory, &format!("{path}/discard"), &json!({"reason": "x"})).await?;
    assert_eq!(status, 409, "{sent}");
    let before = two.api.until_final(&order).await?;
    two.stop().await;

    let two = Two::start(directory.path()).await?;
    two.letters(Service::Inventory, &format!("{LIST}?state=REDRIVEN"), 1).await?;
    let letter = two.api.get(Service::Inventory, &path).await?;
    assert_eq!((&letter["redriven"], letter.get("redriveRequestedAt")), (&json!(1), None), "{letter}");
    let records = read_all(&*two.log, &["payment.confirmed".to_owned()]).await?;
    assert_eq!(records.iter().filter(|record| is_sent_again(record.headers.iter())).count(), 2, "sent twice");
    let other = two.placed().await?;
    two.append(confirmed(&other)?).await?;
    two.api.until_final(&other).await?;
    assert_eq!(two.api.get(Service::Order, &format!("/api/orders/{order}")).await?, before);
    assert_eq!(two.api.get(Service::Inventory, "/api/stock/P1").await?["reserved"], 4, "twice two units");
    two.stop().await;
    Ok(())
}

#[tokio::test]
async fn pages_stay_while_letters_come() -> Result<()> {
    const AT_FIRST: usize = 7;
    let directory = tempfile::tempdir()?;
    let two = Two::start(directory.path()).await?;
    for _ in 0..AT_FIRST {
        two.append(malformed(&Uuid::now_v7().to_string())?).await?;
    }
    let ids = |letters: &[Value]| letters.iter().map(|letter| letter["id"].to_string()).collect::<Vec<_>>();
    let at_first = ids(&two.letters(Service::Order, LIST, AT_FIRST).await?);
    let mut seen = Vec::new();
    let (mut cursor, mut all) = (String::new(), AT_FIRST);
    loop {
        let page = two.api.get(Service::Order, &format!("{LIST}?limit=2{cursor}")).await?;
        seen.extend(ids(page["deadLetters"].as_array().context("letters")?));
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
        // One more comes between any two pages.
        two.append(malformed(&Uuid::now_v7().to_string())?).await?;
        all += 1;
        two.letters(Service::Order, LIST, all).await?;
    }
    assert_eq!(seen, at_first);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), AT_FIRST);
    two.stop().await;
    Ok(())
}
