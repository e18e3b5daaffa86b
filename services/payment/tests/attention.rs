//! Payments that do not settle by themselves (fault 36), from the log to the operator and back, on embedded parts.

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use contracts::{
    Envelope, EventType, Money, OrderCancelled, OrderCreated, OrderId, OrderLine, Payload, PaymentId,
    PaymentRefundRequested, RefundId, Status,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use migrations::{EventLogMigrator, PaymentMigrator};
use payment_service::provider::{Charge, NoOutcome, PaymentProvider, Provider, Refund, Transfer};
use reqwest::{Client, StatusCode};
use runtime::actors::consumer::Attempts;
use runtime::clock::{Clock, SystemClock};
use runtime::database::{Database, DatabaseSettings};
use runtime::event_log::embedded::EmbeddedLog;
use runtime::event_log::{EventLog, NewRecord, Subscription};
use runtime::http::Access;
use runtime::program::{Ports, Running};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;

/// How long anything may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the provider makes of refunds.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Works,
    Fails,
    Refuses,
}

/// A provider that charges, and is as it is told with refunds.
struct Moody {
    mood: Mutex<Mood>,
    refunds_asked: AtomicU32,
}

#[async_trait]
impl PaymentProvider for Moody {
    async fn charge(&self, _: &Transfer) -> Result<Charge, NoOutcome> {
        Ok(Charge::Charged)
    }

    async fn refund(&self, _: &Transfer) -> Result<Refund, NoOutcome> {
        self.refunds_asked.fetch_add(1, Ordering::SeqCst);
        match *self.mood.lock().expect("a mood") {
            Mood::Works => Ok(Refund::Refunded),
            Mood::Fails => Err(NoOutcome::away("at lunch")),
            Mood::Refuses => Ok(Refund::Refused("the account is closed".into())),
        }
    }
}

struct Service {
    _directory: TempDir,
    running: Running,
    provider: Arc<Moody>,
    log: Arc<EmbeddedLog>,
    refunded: Subscription,
    client: Client,
}

impl Service {
    async fn start(metrics: Option<PrometheusHandle>) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let open = async |file: &str| Database::open(&DatabaseSettings::Sqlite(directory.path().join(file))).await;
        let (database, events) = (open("payment.sqlite").await?, open("events.sqlite").await?);
        database.migrate::<PaymentMigrator>().await?;
        events.migrate::<EventLogMigrator>().await?;
        let log = Arc::new(EmbeddedLog::open(events, Arc::new(SystemClock)).await?);
        let provider = Arc::new(Moody { mood: Mutex::new(Mood::Works), refunds_asked: AtomicU32::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let ports = Ports {
            database,
            log: Arc::clone(&log) as Arc<dyn EventLog>,
            clock: Arc::new(SystemClock),
            listener,
            metrics,
            attempts: Attempts { max: 3, interval: Duration::ZERO },
            access: Arc::new(Access::open(None)),
            board: Arc::default(),
            whole: false,
            public_url: None,
        };
        let adapter = Arc::clone(&provider) as Arc<dyn PaymentProvider>;
        let running = payment_service::start(ports, Provider { adapter, time_limit: PATIENCE }).await?;
        running.ready().await;
        let refunded = log.subscribe("test", &[EventType::PaymentRefunded.topic().to_owned()]).await?;
        Ok(Service { _directory: directory, running, provider, log, refunded, client: Client::new() })
    }

    fn is_now(&self, mood: Mood) {
        *self.provider.mood.lock().expect("a mood") = mood;
    }

    fn refunds_asked(&self) -> u32 {
        self.provider.refunds_asked.load(Ordering::SeqCst)
    }

    async fn publish(&self, order: OrderId, payload: Payload) -> Result<()> {
        let topic = payload.event_type().topic().to_owned();
        let envelope = Envelope { event_id: Uuid::now_v7(), correlation_id: "test".into(), payload };
        let (key, value) = (Some(order.to_string().into_bytes()), Some(envelope.encode(SystemClock.now())));
        for appended in self.log.append(vec![NewRecord { topic, key, value, headers: Vec::new() }]).await {
            appended?;
        }
        Ok(())
    }

    /// Has an order charged, and returns the path of its payment.
    async fn charged(&self) -> Result<(OrderId, String)> {
        let order_id = OrderId(Uuid::now_v7());
        let created = OrderCreated {
            order_id,
            customer_id: "cust-1".into(),
            total_amount: amount().into(),
            currency: "USD".into(),
            items: vec![OrderLine { product_id: "P1".into(), quantity: 1, unit_price: amount().into() }],
            contact: None,
        };
        self.publish(order_id, Payload::OrderCreated(created)).await?;
        let path = format!("/api/payments/{}", PaymentId::of(order_id));
        self.until(&path, "charged", |payment| payment["status"] == "CONFIRMED").await?;
        Ok((order_id, path))
    }

    async fn cancel(&self, order_id: OrderId) -> Result<()> {
        let cancelled = OrderCancelled {
            order_id,
            customer_id: "cust-1".into(),
            status: Status::Cancelled,
            reason: "ordered twice".into(),
            cancelled_at: SystemClock.now().to_string(),
            contact: None,
        };
        self.publish(order_id, Payload::OrderCancelled(cancelled)).await
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Value)> {
        let reply = self.client.get(format!("{}{path}", self.running.url())).send().await?;
        Ok((reply.status(), reply.json().await?))
    }

    async fn post(&self, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let reply = self.client.post(format!("{}{path}", self.running.url())).json(body).send().await?;
        Ok((reply.status(), reply.json().await?))
    }

    async fn until(&self, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let started = Instant::now();
        loop {
            let (_, now) = self.get(path).await?;
            if holds(&now) {
                return Ok(now);
            }
            ensure!(started.elapsed() < PATIENCE, "{path} is not {what}: {now}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The payments on the list of those that need attention.
    async fn needing_attention(&self) -> Result<Vec<Value>> {
        let (_, list) = self.get("/api/payments?attention=true").await?;
        let payments = list["payments"].as_array().context("a list")?;
        Ok(payments.iter().map(|payment| payment["paymentId"].clone()).collect())
    }

    /// The order of the next `payment.refunded`.
    async fn next_refunded(&mut self) -> Result<Option<Vec<u8>>> {
        let record = tokio::time::timeout(PATIENCE, self.refunded.records.next()).await?;
        Ok(record.context("a record")?.key.clone())
    }
}

fn amount() -> Money {
    Money::from_ten_thousandths(999_900)
}

fn key(order: OrderId) -> Option<Vec<u8>> {
    Some(order.to_string().into_bytes())
}

#[tokio::test]
async fn a_refund_that_fails_twenty_times_is_seen_and_retried_and_can_be_retried_and_resolved() -> Result<()> {
    let mut service = Service::start(Some(PrometheusBuilder::new().install_recorder()?)).await?;
    let ((first, path), (second, other)) = (service.charged().await?, service.charged().await?);
    let retry = format!("{path}/refund/retry");
    assert_eq!(service.post(&retry, &json!({})).await?.0, 409, "no refund is under way");

    service.is_now(Mood::Fails);
    service.cancel(first).await?;
    let of_itself = |payment: &Value| payment["attempts"]["count"].as_u64() >= Some(3);
    service.until(&path, "asked for again of itself", of_itself).await?;
    while service.refunds_asked() < 20 {
        let before = service.refunds_asked();
        assert_eq!(service.post(&retry, &json!({})).await?.0, 202);
        while service.refunds_asked() == before {
            tokio::task::yield_now().await;
        }
    }
    let failed = |payment: &Value| payment["attempts"]["count"].as_u64() >= Some(20);
    let seen = service.until(&path, "in vain twenty times", failed).await?;
    assert_eq!((&seen["status"], &seen["attempts"]["lastError"]), (&json!("CONFIRMED"), &json!("at lunch")));
    assert_eq!(seen["attentionReasons"], json!(["REFUND_WITHOUT_OUTCOME"]), "{seen}");
    assert!(seen["attention"].as_str().is_some_and(|text| text.contains("10 attempts")), "{seen}");
    assert_eq!(service.needing_attention().await?, std::slice::from_ref(&seen["paymentId"]));
    let (status, health) = service.get("/health/ready").await?;
    assert_eq!((status, &health["checks"]["provider"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("at lunch")));
    let metrics = service.client.get(format!("{}/metrics", service.running.url())).send().await?.text().await?;
    let counted = metrics.lines().find(|line| line.contains(r#"reason="REFUND_WITHOUT_OUTCOME""#));
    assert!(counted.is_some_and(|line| line.ends_with(" 1")), "{counted:?}");

    service.is_now(Mood::Works);
    assert_eq!(service.post(&retry, &json!({})).await?.0, 202);
    let refunded = service.until(&path, "refunded", |payment| payment["status"] == "REFUNDED").await?;
    assert!(refunded.get("attention").is_none() && refunded.get("attempts").is_none(), "{refunded}");
    assert_eq!(service.needing_attention().await?, [] as [Value; 0]);
    assert_eq!(service.get("/health/ready").await?.0, 200, "the provider is back");
    for again in [&retry, &format!("{path}/refund/resolve")] {
        assert_eq!(service.post(again, &json!({"note": "again"})).await?.0, 202, "{again} changes nothing");
    }

    service.is_now(Mood::Fails);
    service.cancel(second).await?;
    service.until(&other, "asked for", |payment| payment["attempts"].is_object()).await?;
    let resolve = format!("{other}/refund/resolve");
    assert_eq!(service.post(&resolve, &json!({"note": " "})).await?.0, 422);
    for note in ["by bank transfer 4711", "a second time"] {
        let (status, resolved) = service.post(&resolve, &json!({"note": note})).await?;
        assert_eq!((status, &resolved["status"]), (StatusCode::ACCEPTED, &json!("REFUNDED")));
        assert_eq!(resolved["refund"]["note"], "by bank transfer 4711", "the first note stays: {resolved}");
    }
    for expected in [first, second] {
        assert_eq!(service.next_refunded().await?, key(expected), "one payment.refunded for each, in this order");
    }
    service.running.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_refused_refund_and_a_wrong_request_wait_for_somebody() -> Result<()> {
    let service = Service::start(None).await?;
    let (order_id, path) = service.charged().await?;
    let wrong = PaymentRefundRequested {
        refund_id: RefundId("theirs".into()),
        payment_id: PaymentId::of(order_id),
        order_id,
        amount: Money::MAX.into(),
        currency: "USD".into(),
        reason: "all of it".into(),
    };
    service.publish(order_id, Payload::PaymentRefundRequested(wrong.clone())).await?;
    let is_refused = |payment: &Value| payment["attentionReasons"] == json!(["REQUEST_REFUSED"]);
    service.until(&path, "refused", is_refused).await?;
    service.is_now(Mood::Refuses);
    service.cancel(order_id).await?;
    let both = |payment: &Value| payment["attentionReasons"] == json!(["REFUND_REFUSED", "REQUEST_REFUSED"]);
    let seen = service.until(&path, "refused twice", both).await?;
    assert!(seen["attention"].as_str().is_some_and(|text| text.contains("the account is closed")), "{seen}");
    assert_eq!(service.get("/health/ready").await?.0, 200, "a provider that refuses is there");

    let (status, looked_at) = service.post(&format!("{path}/attention/resolve"), &json!({"note": "theirs"})).await?;
    assert_eq!((status, &looked_at["attentionReasons"]), (StatusCode::ACCEPTED, &json!(["REFUND_REFUSED"])));
    assert_eq!(looked_at["acknowledged"]["note"], "theirs", "{looked_at}");

    // Behind another payment's way through the service: by then it would have been asked for again.
    let (_, other) = service.charged().await?;
    assert_eq!(service.refunds_asked(), 1, "a refused refund is not asked for again of itself");
    assert_eq!(service.post(&format!("{other}/attention/resolve"), &json!({"note": "what?"})).await?.0, 409);
    service.is_now(Mood::Works);
    assert_eq!(service.post(&format!("{path}/refund/retry"), &json!({})).await?.0, 202);
    let refunded = service.until(&path, "refunded", |payment| payment["status"] == "REFUNDED").await?;
    assert_eq!(refunded.get("attention"), None, "{refunded}");

    // Who asked for what, the newest first: also what was refused.
    let (_, audit) = service.get("/api/audit").await?;
    let entries = audit["entries"].as_array().context("entries")?;
    let actions: Vec<&str> = entries.iter().filter_map(|entry| entry["action"].as_str()).collect();
    let (retry, acknowledge) = ("payment.refund.retry", "payment.attention.resolve");
    assert_eq!(actions, [retry, acknowledge, acknowledge, acknowledge], "{audit}");
    assert!(entries[1]["detail"]["refused"].is_string(), "the one above was refused: {audit}");
    let (subject, reason) = (format!("payment/{}", PaymentId::of(order_id)), json!("theirs"));
    assert_eq!((&entries[3]["subject"], &entries[3]["reason"]), (&json!(subject), &reason), "{audit}");
    for (path, expected) in [("/api/payments", 200), ("/api/payments?attention=true&limit=101", 422)] {
        assert_eq!(service.get(path).await?.0, expected, "{path}");
    }
    assert_eq!(service.post("/api/payments/none/refund/retry", &json!({})).await?.0, 404);
    service.running.stop().await;
    Ok(())
}
