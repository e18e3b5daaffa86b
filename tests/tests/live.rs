//! The four programs on real PostgreSQL and Apache Kafka, which tests/stack/run.sh starts:
//!
//! ```text
//! cargo build --release --workspace --features e2e/live
//! tests/stack/run.sh cargo test -p e2e --release --features live --test live
//! ```

use anyhow::{Context, Result, ensure};
use contracts::OrderId;
use e2e::api::{Api, Service, example, order_of};
use e2e::appended::again;
use e2e::audit::Databases;
use e2e::conformance;
use e2e::programs::{Programs, SERVICES, Stack};
use e2e::schemas::Schemas;
use e2e::topics::{check_against, check_fields, event_topics, read_all};
use libtest_mimic::{Arguments, Failed, Trial};
use order_service::saga::Stage;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use runtime::event_log::kafka::KafkaLog;
use runtime::event_log::{EventLog, NewRecord, Record};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::future::Future;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use uuid::Uuid;

const FIRST_PORT: u16 = 18080;

/// The four programs, each a process of its own.
struct Live {
    api: Api,
    kafka: String,
    log: KafkaLog,
    databases: Databases,
    programs: Programs,
    processes: Mutex<Vec<Child>>,
    /// Where the programs log to, until the end.
    _logs: tempfile::TempDir,
    /// Orders that were placed by writing `order.created` by hand.
    foreign: Mutex<Vec<Uuid>>,
}

impl Live {
    async fn start() -> Result<Self> {
        let stack = Stack::from_environment()?;
        stack.empty_databases().await?;
        let logs = tempfile::tempdir()?;
        let programs = Programs::new(&stack, FIRST_PORT, logs.path())?;
        let live = Live {
            api: Api::new(programs.urls()),
            kafka: stack.kafka.clone(),
            log: stack.log()?,
            databases: stack.databases().await?,
            programs,
            processes: Mutex::default(),
            _logs: logs,
            foreign: Mutex::default(),
        };
        for (service, _) in SERVICES {
            let child = live.programs.start(service, 0)?;
            live.processes.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        }
        for (service, _) in SERVICES {
            live.api.until_ready(service).await?;
        }
        Ok(live)
    }

    /// `kill -9`, and a new start.
    fn restart(&self, service: Service) -> Result<()> {
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        let process = &mut processes[service as usize];
        process.kill()?;
        process.wait()?;
        *process = self.programs.start(service, 0)?;
        Ok(())
    }

    async fn audit(&self) -> Result<()> {
        let foreign = self.foreign.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.databases.audit(&foreign).await?;
        Ok(())
    }

    fn stop(&self) {
        for process in self.processes.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            // One that has ended already is what is wanted.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

async fn orders_come_to_their_ends(live: Arc<Live>) -> Result<()> {
    let api = &live.api;
    let confirmed = api.until_final(&api.place(&example()).await?).await?;
    ensure!(confirmed["status"] == "CONFIRMED", "{confirmed}");

    let mut declined = example();
    declined["customerId"] = json!("fail-payment");
    let declined = api.until_final(&api.place(&declined).await?).await?;
    ensure!(declined["status"] == "FAILED" && declined["reason"]["code"] == "PAYMENT_DECLINED", "{declined}");

    let short = api.place(&order_of("P2", 1_000_001)).await?;
    let short = api.until(&short, "refunded", |order| order["money"] == "REFUNDED").await?;
    ensure!(short["status"] == "FAILED" && short["reason"]["code"] == "OUT_OF_STOCK", "{short}");
    let stock = api.get(Service::Inventory, "/api/stock/P2").await?;
    ensure!(stock["reserved"] == 0, "{stock}");

    let cancelled = api.place(&order_of("P3", 5)).await?;
    api.until_final(&cancelled).await?;
    let path = format!("/api/orders/{cancelled}/cancel");
    ensure!(api.request(reqwest::Method::POST, Service::Order, &path).send().await?.status() == 202);
    api.until(&cancelled, "refunded", |order| order["money"] == "REFUNDED").await?;
    live.audit().await
}

fn event(order: Uuid, event_type: &str, topic: &str, payload: Value) -> NewRecord {
    let envelope = json!({
        "eventId": Uuid::new_v4(),
        "eventType": event_type,
        "version": "1.0",
        "correlationId": "",
        "timestamp": "2026-01-01T00:00:00Z",
        "payload": payload,
    });
    NewRecord {
        topic: topic.into(),
        key: Some(order.to_string().into_bytes()),
        value: Some(envelope.to_string().into_bytes()),
        headers: Vec::new(),
    }
}

fn foreign_order(order: Uuid, total: &Value) -> NewRecord {
    let line = json!({"productId": "P4", "quantity": 3, "unitPrice": 2.5});
    let payload =
        json!({"orderId": order, "customerId": "cust-9", "totalAmount": total, "currency": "USD", "items": [line]});
    event(order, "OrderCreated", "order.created", payload)
}

/// An `order.created` that somebody else wrote is charged and reserved, whichever of it and `payment.confirmed` comes
/// first to inventory; one that cannot be paid is answered.
async fn a_foreign_order_service_can_stand_in(live: Arc<Live>) -> Result<()> {
    let api = &live.api;
    let [plain, early_payment, impossible] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    live.foreign.lock().unwrap_or_else(PoisonError::into_inner).extend([plain, early_payment, impossible]);

    let payment = json!({"paymentId": "pay-1", "orderId": early_payment, "amount": 7.5, "currency": "USD", "status": "CONFIRMED"});
    let first = event(early_payment, "PaymentConfirmed", "payment.confirmed", payment);
    for batch in [
        vec![foreign_order(plain, &json!(7.5)), first],
        vec![foreign_order(early_payment, &json!(7.5)), foreign_order(impossible, &json!(-7.5))],
    ] {
        live.log.append(batch).await.into_iter().try_for_each(|appended| anyhow::Ok(appended?))?;
    }
    for order in [plain, early_payment] {
        let path = format!("/api/payments?orderId={order}");
        api.until_says(Service::Payment, &path, "/payments/0/status", &json!("CONFIRMED")).await?;
        let path = format!("/api/reservations?orderId={order}");
        api.until_says(Service::Inventory, &path, "/reservations/0/status", &json!("RESERVED")).await?;
    }
    let path = format!("/api/payments?orderId={impossible}");
    api.until_says(Service::Payment, &path, "/payments/0/status", &json!("FAILED")).await?;
    live.audit().await
}

/// What others compress is read, by whichever of Kafka's codecs they do.
async fn every_codec_is_read(live: Arc<Live>) -> Result<()> {
    let mut orders = Vec::new();
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &live.kafka)
            .set("compression.type", codec)
            .set("partitioner", "murmur2_random");
        let producer: FutureProducer = config.create()?;
        let order = Uuid::new_v4();
        live.foreign.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        let NewRecord { topic, key, value, .. } = foreign_order(order, &json!(7.5));
        let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
        // It is left as it is if that takes less.
        let spaces = " ".repeat(4_096).into_bytes();
        let value = [value, spaces].concat();
        let record = FutureRecord::to(&topic).key(&key).payload(&value);
        producer.send(record, Duration::from_secs(10)).await.map_err(|(error, _)| error).context(codec)?;
        orders.push((codec, order));
    }
    for (codec, order) in orders {
        let path = format!("/api/payments?orderId={order}");
        let says = live.api.until_says(Service::Payment, &path, "/payments/0/status", &json!("CONFIRMED")).await;
        says.context(codec)?;
    }
    live.audit().await
}

/// Messages that nobody can read are dead letters at once, with their reason; others keep flowing.
async fn bad_messages_are_dead_letters(live: Arc<Live>) -> Result<()> {
    let order = Uuid::new_v4();
    let good = foreign_order(order, &json!(1));
    let missing = String::from_utf8(good.value.clone().unwrap_or_default())?.replace("customerId", "customer");
    let bad = [
        NewRecord { value: None, ..good.clone() },
        NewRecord { value: Some(b"hello".to_vec()), ..good.clone() },
        NewRecord { value: Some(missing.into_bytes()), ..good.clone() },
        NewRecord { key: Some(b"other".to_vec()), ..good.clone() },
    ];
    let count = bad.len();
    live.log.append(bad.into()).await.into_iter().try_for_each(|appended| anyhow::Ok(appended?))?;
    let confirmed = live.api.until_final(&live.api.place(&example()).await?).await?;
    ensure!(confirmed["status"] == "CONFIRMED", "{confirmed}");
    let letters = read_all(&live.log, &["order.created.dlt".to_owned()]).await?;
    // One for each of the two services that read the topic.
    ensure!(letters.len() == 2 * count, "{} dead letters", letters.len());
    for letter in &letters {
        for header in [
            "dlt-original-topic",
            "dlt-original-partition",
            "dlt-original-offset",
            "dlt-consumer-group",
            "dlt-attempts",
            "dlt-error",
            "dlt-timestamp",
        ] {
            ensure!(letter.header(header).is_some_and(|value| !value.is_empty()), "no {header} on {letter:?}");
        }
        Schemas::generated()?.check(letter)?;
    }
    live.audit().await
}

/// Every record of every topic, delivered once more while new orders are under way: nothing changes, nothing new is
/// said.
async fn duplicates_change_nothing(live: Arc<Live>) -> Result<()> {
    let mut ids = Vec::new();
    for i in 0..100 {
        ids.push(live.api.place(&order_of(&format!("P{}", i % 20 + 1), 1)).await?);
    }
    let records = read_all(&live.log, &event_topics()).await?;
    let before: HashSet<Vec<u8>> = records.iter().filter_map(|record| record.value.clone()).collect();
    live.log.append(records.iter().map(again).collect()).await.into_iter().try_for_each(|a| anyhow::Ok(a?))?;
    let statuses = live.api.until_all_final(&ids).await?;
    ensure!(statuses == [("CONFIRMED".to_owned(), 100)].into(), "{statuses:?}");
    live.audit().await?;
    // What is on the topics now and was not before can only be of orders that were still under way.
    let after = read_all(&live.log, &event_topics()).await?;
    ensure!(after.len() >= 2 * records.len(), "{} records after {}", after.len(), records.len());
    let new = after.iter().filter(|record| record.value.as_ref().is_some_and(|value| !before.contains(value)));
    for record in new {
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        ensure!(ids.contains(&key), "a repetition brought forth {record:?}");
    }
    Ok(())
}

/// Each service is killed and started again in the middle of a thousand orders.
async fn restarts_lose_and_double_nothing(live: Arc<Live>) -> Result<()> {
    let mut ids = Vec::new();
    for i in 0..1_000 {
        // While order-service is away, its clients try again.
        let order = order_of(&format!("P{}", i % 20 + 1), 1);
        let id = loop {
            match live.api.place(&order).await {
                Ok(id) => break id,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        ids.push(id);
        match i {
            150 => live.restart(Service::Payment)?,
            350 => live.restart(Service::Inventory)?,
            550 => live.restart(Service::Order)?,
            750 => live.restart(Service::Notification)?,
            _ => {}
        }
    }
    let statuses = live.api.until_all_final(&ids).await?;
    ensure!(statuses == [("CONFIRMED".to_owned(), 1_000)].into(), "{statuses:?}");
    live.audit().await
}

/// Ten thousand orders, 64 at a time, by the bench; then the books.
async fn ten_thousand_orders(live: Arc<Live>) -> Result<()> {
    let url = format!("http://127.0.0.1:{FIRST_PORT}");
    let program = live.programs.path("order-system");
    let bench = tokio::task::spawn_blocking(move || {
        Command::new(program).args(["bench", "--url", &url, "--orders", "10000", "--concurrency", "64"]).output()
    });
    let output = bench.await??;
    println!("{}", String::from_utf8_lossy(&output.stdout));
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (service, name) in SERVICES {
        let metrics = live.api.request(reqwest::Method::GET, service, "/metrics").send().await?.text().await?;
        println!("{name}-service: median journal batch {}", median_batch(&metrics).context("no journal metrics")?);
    }
    live.audit().await
}

/// The bucket in which the median of `journal_batch_size` lies.
fn median_batch(metrics: &str) -> Option<String> {
    let count = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
    let all = count(metrics.lines().find(|line| line.starts_with("journal_batch_size_count"))?)?;
    let buckets = metrics.lines().filter(|line| line.starts_with("journal_batch_size_bucket"));
    let median = buckets.into_iter().find(|line| count(line).is_some_and(|below| below * 2 >= all))?;
    Some(format!("≤ {}", median.split("le=\"").nth(1)?.split('"').next()?))
}

/// Every event has exactly its fields, and every state change exactly its events.
async fn the_topics_agree_with_the_books(live: Arc<Live>) -> Result<()> {
    let foreign = live.foreign.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut books = live.databases.audit(&foreign).await?;
    ensure!(books.orders.values().any(|order| order.state.stage == Stage::Failed), "no order failed: vacuous");
    let is_foreign = |order: &OrderId| foreign.contains(&order.0);
    books.payments.retain(|_, payment| !is_foreign(&payment.order));
    books.reservations.retain(|_, reservation| !is_foreign(&reservation.order));
    let records: Vec<Record> = read_all(&live.log, &event_topics())
        .await?
        .into_iter()
        .filter(|record| {
            let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default());
            Uuid::try_parse(&key).is_ok_and(|order| books.orders.contains_key(&order))
        })
        .collect();
    for record in &records {
        check_fields(record)?;
    }
    let seen = Schemas::generated()?.check_all(&records)?;
    println!(
        "{} records of {} orders checked, also against the AsyncAPI document: {seen:?}",
        records.len(),
        books.orders.len()
    );
    check_against(&records, &books)
}

async fn kafka_conforms(live: Arc<Live>) -> Result<()> {
    conformance::check(&live.log).await
}

fn trial<F: Future<Output = Result<()>>>(
    name: &str,
    runtime: &Arc<Runtime>,
    live: &Arc<Live>,
    test: impl FnOnce(Arc<Live>) -> F + Send + 'static,
) -> Trial {
    let (runtime, live) = (Arc::clone(runtime), Arc::clone(live));
    Trial::test(name, move || {
        let result = runtime.block_on(test(Arc::clone(&live)));
        result.map_err(|error| Failed::from(format!("{error:#}\n{}", live.programs.story())))
    })
}

fn main() -> Result<()> {
    let mut arguments = Arguments::from_args();
    // They share the programs, and run in the order in which they are written.
    arguments.test_threads = Some(1);
    let runtime = Arc::new(Runtime::new()?);
    let live = Arc::new(runtime.block_on(Live::start())?);
    let trials = vec![
        trial("orders_come_to_their_ends", &runtime, &live, orders_come_to_their_ends),
        trial("a_foreign_order_service_can_stand_in", &runtime, &live, a_foreign_order_service_can_stand_in),
        trial("every_codec_is_read", &runtime, &live, every_codec_is_read),
        trial("bad_messages_are_dead_letters", &runtime, &live, bad_messages_are_dead_letters),
        trial("duplicates_change_nothing", &runtime, &live, duplicates_change_nothing),
        trial("restarts_lose_and_double_nothing", &runtime, &live, restarts_lose_and_double_nothing),
        trial("ten_thousand_orders", &runtime, &live, ten_thousand_orders),
        trial("the_topics_agree_with_the_books", &runtime, &live, the_topics_agree_with_the_books),
        trial("kafka_conforms", &runtime, &live, kafka_conforms),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials);
    live.stop();
    conclusion.exit()
}
