//! The HTTP adapter against the sandbox and against a server that answers anything: whatever goes wrong on the way,
//! one charge and one refund. (Faults 5 and 6: done, and the reply is lost.)

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use contracts::{Money, OrderId, PaymentId};
use payment_sandbox::config::Settings;
use payment_service::provider::http::HttpProvider;
use payment_service::provider::{Charge, NoOutcome, PaymentProvider, Provided, Provider, Refund, Transfer};
use payment_service::saga::{Effect, Input, Order};
use reqwest::{Client, Url};
use runtime::actors::outside::Outside;
use runtime::clock::{Clock, SystemClock};
use runtime::health::Health;
use runtime::program::{Running, Stop};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use uuid::Uuid;

const ORDER: OrderId = OrderId(Uuid::from_u128(7));

fn order(customer_id: &str) -> Order {
    Order {
        customer_id: customer_id.into(),
        amount: Money::from_ten_thousandths(123_456_789_012_345_678),
        currency: "USD".into(),
        attempts: 0,
    }
}

fn transfer() -> Transfer {
    let Order { customer_id, amount, currency, .. } = order("cust-1");
    Transfer { key: "charge-1".into(), payment_id: PaymentId::of(ORDER), customer_id, amount, currency }
}

fn provided(adapter: Arc<dyn PaymentProvider>, time_limit: Duration) -> Provided {
    Provided::new(Provider { adapter, time_limit }, Arc::new(SystemClock), Arc::new(Health::starting("test", false)))
}

fn http(url: &str) -> Result<HttpProvider> {
    Ok(HttpProvider::new(&Url::parse(url)?)?)
}

struct Sandbox {
    _directory: TempDir,
    running: Running,
    provided: Provided,
}

impl Sandbox {
    async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let settings = Settings::bare(directory.path().join("sandbox.sqlite"));
        let running = payment_sandbox::start(&settings, None, &Stop::default()).await?;
        running.ready().await;
        let provided = provided(Arc::new(http(running.url())?), Duration::from_millis(500));
        Ok(Sandbox { _directory: directory, running, provided })
    }

    async fn get(&self, path: &str) -> Result<Value> {
        Ok(reqwest::get(format!("{}{path}", self.running.url())).await?.error_for_status()?.json().await?)
    }

    async fn set_faults(&self, rules: &Value) -> Result<()> {
        let url = format!("{}/v1/faults", self.running.url());
        Client::new().put(url).json(rules).send().await?.error_for_status()?;
        Ok(())
    }

    /// Asks until there is an outcome; also says how often there was none.
    async fn see_through(&self, effect: Effect) -> (Input, usize) {
        let mut in_vain = 0;
        loop {
            let outcome = self.provided.perform(ORDER, effect.clone()).await;
            if !matches!(outcome, Input::NoOutcome { .. }) {
                return (outcome, in_vain);
            }
            in_vain += 1;
        }
    }
}

#[tokio::test]
async fn whatever_goes_wrong_there_is_one_charge_and_one_refund() -> Result<()> {
    for (fault, is_asked_again) in
        [("timeoutAfter", true), ("timeoutBefore", true), ("error500", true), ("tooMany", true), ("slow", false)]
    {
        let sandbox = Sandbox::start().await?;
        let delay = if is_asked_again { 60_000 } else { 1 };
        for (on, effect, expected) in [
            ("charge", Effect::Charge(order("cust-1")), Input::Charged),
            ("refund", Effect::Refund(order("cust-1")), Input::RefundDone),
        ] {
            sandbox.set_faults(&json!([{"on": on, "fault": fault, "times": 2, "delayMs": delay}])).await?;
            let (outcome, in_vain) = sandbox.see_through(effect.clone()).await;
            assert_eq!(outcome, expected, "{fault}");
            ensure!(!is_asked_again || in_vain >= 2, "{fault} {on} was asked {in_vain} times in vain");
            let (again, _) = sandbox.see_through(effect).await;
            assert_eq!(again, expected, "{fault}: the second time it is the same");
            assert_eq!(sandbox.get("/v1/faults").await?[0]["fired"], 2, "{fault}");
        }
        let totals = sandbox.get("/v1/totals").await?;
        for (what, expected) in [("charges", "1"), ("refunds", "1"), ("duplicatesRefused", "0"), ("refused", "0")] {
            assert_eq!(totals[what].to_string(), expected, "{fault}: {what} of {totals}");
        }
        for what in ["captured", "refunded"] {
            assert_eq!(totals[what].to_string(), "12345678901234.5678", "{fault}: {what} of {totals}");
        }
        let entries = sandbox.get("/v1/ledger").await?["entries"].clone();
        for (entry, action) in entries.as_array().context("entries")?.iter().zip(["charge", "refund"]) {
            let payment = PaymentId::of(ORDER);
            assert_eq!(
                (&entry["key"], &entry["reference"]),
                (&json!(format!("{action}-{payment}")), &json!(payment.0))
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_decline_and_a_refused_refund_are_answers() -> Result<()> {
    let sandbox = Sandbox::start().await?;
    let (declined, _) = sandbox.see_through(Effect::Charge(order("fail-payment"))).await;
    assert_eq!(declined, Input::Declined("the payment of customer fail-payment was declined".into()));
    let adapter = http(sandbox.running.url())?;
    let refused = adapter.refund(&transfer()).await?;
    assert!(matches!(&refused, Refund::Refused(why) if why.contains("nothing was charged")), "{refused:?}");
    assert_eq!(adapter.charge(&transfer()).await?, Charge::Charged);
    let other = Transfer { amount: Money::from_ten_thousandths(1), ..transfer() };
    let no_outcome = adapter.charge(&other).await.expect_err("the key was given to another request");
    assert!(no_outcome.is_there && no_outcome.error.contains("422"), "{no_outcome:?}");
    sandbox.running.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_next_attempt_is_not_sooner_than_the_provider_wants() -> Result<()> {
    let sandbox = Sandbox::start().await?;
    sandbox.set_faults(&json!([{"on": "any", "fault": "tooMany"}])).await?;
    let before = SystemClock.now();
    for _ in 0..5 {
        let input = sandbox.provided.perform(ORDER, Effect::Charge(order("cust-1"))).await;
        let Input::NoOutcome { retry_at, error } = input else { panic!("{input:?}") };
        assert!(retry_at >= before.plus_millis(1_000), "{retry_at} is sooner than a second behind {before}");
        assert!(error.contains("429"), "{error}");
    }
    sandbox.running.stop().await;
    Ok(())
}

/// A server that gives every connection this answer, byte for byte, and closes it.
async fn answers(answer: String) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Ok(url)
}

fn reply(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nretry-after: 7\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn what_is_no_answer_is_no_outcome() -> Result<()> {
    let long = format!(r#"{{"status":"CHARGED","reason":"{}"}}"#, "x".repeat(70_000));
    let rows = [
        ("no HTTP at all", "charged, I promise".to_owned()),
        ("cut off", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"status\":\"CHA".to_owned()),
        ("no JSON", reply("200 OK", "CHARGED")),
        ("no status", reply("200 OK", "{}")),
        ("an unknown status", reply("200 OK", r#"{"status":"PERHAPS"}"#)),
        ("the other kind's status", reply("200 OK", r#"{"status":"REFUSED"}"#)),
        ("too long", reply("200 OK", &long)),
        ("another success", reply("202 Accepted", r#"{"status":"CHARGED"}"#)),
        ("moved", reply("307 Temporary Redirect", "")),
        ("not let in", reply("401 Unauthorized", "")),
        ("at another place", reply("404 Not Found", "")),
        ("in flight", reply("409 Conflict", "")),
        ("unavailable", reply("503 Service Unavailable", r#"{"detail":"at lunch"}"#)),
    ];
    for (case, answer) in rows {
        let adapter = http(&answers(answer).await?)?;
        let no_outcome = adapter.charge(&transfer()).await.expect_err(case);
        assert!(!no_outcome.is_there, "{case}: {no_outcome:?}");
        if case == "unavailable" {
            assert_eq!(no_outcome.retry_after, Some(Duration::from_secs(7)), "{no_outcome:?}");
            assert!(no_outcome.error.contains("at lunch"), "{no_outcome:?}");
        }
    }
    let wrong = http(&answers(reply("422 Unprocessable Content", r#"{"detail":"no such currency"}"#)).await?)?;
    assert!(wrong.charge(&transfer()).await.is_err_and(|no_outcome| no_outcome.is_there), "a charge is not declined");
    let refused = wrong.refund(&transfer()).await?;
    assert!(matches!(&refused, Refund::Refused(why) if why.contains("no such currency")), "{refused:?}");

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let nobody = format!("http://{}", listener.local_addr()?);
    drop(listener);
    let no_outcome = http(&nobody)?.charge(&transfer()).await.expect_err("nobody listens");
    assert!(no_outcome.error.contains("refused"), "{no_outcome:?}");
    Ok(())
}

struct Silent;

#[async_trait]
impl PaymentProvider for Silent {
    async fn charge(&self, _: &Transfer) -> Result<Charge, NoOutcome> {
        std::future::pending().await
    }

    async fn refund(&self, _: &Transfer) -> Result<Refund, NoOutcome> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn an_adapter_that_never_answers_has_no_outcome() {
    let provided = provided(Arc::new(Silent), Duration::from_millis(1));
    for effect in [Effect::Charge(order("c")), Effect::Refund(order("c"))] {
        let input = provided.perform(ORDER, effect).await;
        assert!(matches!(input, Input::NoOutcome { .. }), "{input:?}");
    }
}
