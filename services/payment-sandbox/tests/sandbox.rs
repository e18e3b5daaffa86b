//! The sandbox over HTTP: one outcome per key whatever happens, books that outlive the process, faults on demand.

use anyhow::{Result, ensure};
use futures::future::join_all;
use payment_sandbox::config::Settings;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use runtime::program::{Running, Stop};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Longer than any test runs: who waits for it has gone wrong.
const NEVER: Duration = Duration::from_secs(600);

struct Sandbox {
    directory: TempDir,
    running: Running,
    client: Client,
}

fn ledger(directory: &Path) -> PathBuf {
    directory.join("books/sandbox.sqlite")
}

impl Sandbox {
    async fn start() -> Result<Self> {
        Self::on(tempfile::tempdir()?).await
    }

    async fn on(directory: TempDir) -> Result<Self> {
        let settings = Settings::bare(ledger(directory.path()));
        let running = payment_sandbox::start(&settings, None, &Stop::default()).await?;
        running.ready().await;
        Ok(Sandbox { directory, running, client: Client::new() })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.running.url()))
    }

    fn post(&self, path: &str, key: &str, body: &Value) -> RequestBuilder {
        self.request(Method::POST, path).header("Idempotency-Key", key).json(body)
    }

    async fn get(&self, path: &str) -> Result<Value> {
        Ok(self.request(Method::GET, path).send().await?.error_for_status()?.json().await?)
    }

    async fn entries(&self) -> Result<Vec<Value>> {
        Ok(self.get("/v1/ledger").await?["entries"].as_array().cloned().unwrap_or_default())
    }

    async fn set_faults(&self, rules: &Value) -> Result<()> {
        let reply = self.request(Method::PUT, "/v1/faults").json(rules).send().await?;
        ensure!(reply.status() == 200, "{rules} was answered {}", reply.text().await?);
        Ok(())
    }
}

fn transfer(amount: &str) -> Value {
    let text = format!(r#"{{"customerId":"cust-1","amount":{amount},"currency":"USD","reference":"payment-1"}}"#);
    serde_json::from_str(&text).expect("JSON")
}

async fn read(reply: Response) -> Result<(StatusCode, bool, Value)> {
    let replayed = reply.headers().get("idempotency-replayed").is_some_and(|value| value == "true");
    Ok((reply.status(), replayed, reply.json().await?))
}

#[tokio::test]
async fn a_key_has_one_outcome() -> Result<()> {
    let sandbox = Sandbox::start().await?;
    let charged = json!({"status": "CHARGED"});
    let first = read(sandbox.post("/v1/charges", "charge-1", &transfer("99.99")).send().await?).await?;
    assert_eq!(first, (StatusCode::OK, false, charged.clone()));
    let same = transfer("99.9900");
    let again = read(sandbox.post("/v1/charges", "\"charge-1\"", &same).send().await?).await?;
    assert_eq!(again, (StatusCode::OK, true, charged), "the same number, written otherwise, and the key in quotes");
    let (status, _, problem) = read(sandbox.post("/v1/charges", "charge-1", &transfer("99.98")).send().await?).await?;
    assert_eq!((status, &problem["status"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(422)), "{problem}");

    let many = (0..50).map(|_| sandbox.post("/v1/refunds", "refund-1", &transfer("99.99")).send());
    let mut replays = 0;
    for reply in join_all(many).await {
        let (status, replayed, reply) = read(reply?).await?;
        assert_eq!((status, reply), (StatusCode::OK, json!({"status": "REFUNDED"})));
        replays += usize::from(replayed);
    }
    assert_eq!(replays, 49, "one of fifty at once is the first");
    let (_, _, refused) = read(sandbox.post("/v1/refunds", "refund-2", &transfer("99.99")).send().await?).await?;
    assert_eq!(refused["status"], "REFUSED", "{refused}");

    let totals = sandbox.get("/v1/totals").await?;
    let expected = json!({"captured": 99.99, "refunded": 99.99, "charges": 1, "declined": 0, "refunds": 1,
        "refused": 1, "repeats": 50, "duplicatesRefused": 1,
        "currencies": [{"currency": "USD", "captured": 99.99, "refunded": 99.99}]});
    assert_eq!(totals.to_string(), expected.to_string());
    sandbox.running.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_decline_is_final_and_amounts_are_exact() -> Result<()> {
    let sandbox = Sandbox::start().await?;
    let mut declined = transfer("1");
    declined["customerId"] = json!("fail-payment");
    for replayed in [false, true] {
        let reply = read(sandbox.post("/v1/charges", "a", &declined).send().await?).await?;
        assert_eq!((reply.0, reply.1, &reply.2["status"]), (StatusCode::OK, replayed, &json!("DECLINED")));
        assert!(reply.2["reason"].is_string(), "{reply:?}");
    }
    let largest = transfer("922337203685477.5807");
    for key in ["b", "c"] {
        let (_, _, reply) = read(sandbox.post("/v1/charges", key, &largest).send().await?).await?;
        assert_eq!(reply, json!({"status": "CHARGED"}));
    }
    let page = sandbox.get("/v1/ledger?limit=2").await?;
    assert_eq!(page["entries"][1]["amount"].to_string(), "922337203685477.5807", "{page}");
    assert_eq!(page["entries"][0]["asked"], 2, "{page}");
    let rest = sandbox.get(&format!("/v1/ledger?after={}", page["next"])).await?;
    assert_eq!((rest["entries"].as_array().map(Vec::len), rest.get("next")), (Some(1), None), "{rest}");
    let totals = sandbox.get("/v1/totals").await?;
    assert_eq!(totals["captured"].to_string(), "1844674407370955.1614", "{totals}");
    sandbox.running.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_wrong_request_leaves_nothing_behind() -> Result<()> {
    let sandbox = Sandbox::start().await?;
    let path = "/v1/charges";
    let without_key = sandbox.request(Method::POST, path).json(&transfer("1")).send().await?;
    assert_eq!(without_key.status(), 400);
    assert_eq!(sandbox.post(path, &"k".repeat(256), &transfer("1")).send().await?.status(), 400);
    for amount in ["0", "-1", "0.00001", "1e400", "\"1\""] {
        assert_eq!(sandbox.post(path, "k", &transfer(amount)).send().await?.status(), 422, "{amount}");
    }
    let nobody = json!({"customerId": " ", "amount": 1, "currency": "usd", "reference": ""});
    let (_, _, problem) = read(sandbox.post(path, "k", &nobody).send().await?).await?;
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(3), "{problem}");
    assert_eq!(sandbox.get("/v1/ledger").await?["entries"], json!([]));
    sandbox.running.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_books_outlive_the_process() -> Result<()> {
    let sandbox = Sandbox::start().await?;
    sandbox.post("/v1/charges", "charge-1", &transfer("10")).send().await?.error_for_status()?;
    // What is answered is on the disk: a copy of the files as they are now is what a kill would leave.
    let copy = tempfile::tempdir()?;
    let books = ledger(copy.path());
    std::fs::create_dir_all(books.parent().expect("a directory"))?;
    for suffix in ["", "-wal"] {
        let name = |path: PathBuf| PathBuf::from(format!("{}{suffix}", path.display()));
        std::fs::copy(name(ledger(sandbox.directory.path())), name(books.clone()))?;
    }
    sandbox.running.stop().await;
    for directory in [sandbox.directory, copy] {
        let sandbox = Sandbox::on(directory).await?;
        let again = read(sandbox.post("/v1/charges", "charge-1", &transfer("10")).send().await?).await?;
        assert_eq!(again, (StatusCode::OK, true, json!({"status": "CHARGED"})));
        assert_eq!(sandbox.get("/v1/totals").await?["captured"], 10);
        sandbox.running.stop().await;
    }
    Ok(())
}

/// Asks, and gives up without an answer once the one rule has fired and `enough` entries are in the books.
async fn ask_in_vain(sandbox: &Sandbox, key: &str, enough: usize) -> Result<()> {
    let asked = tokio::spawn(sandbox.post("/v1/charges", key, &transfer("10")).send());
    while sandbox.get("/v1/faults").await?[0]["fired"] == 0 || sandbox.entries().await?.len() < enough {
        tokio::task::yield_now().await;
    }
    ensure!(!asked.is_finished(), "it was answered");
    asked.abort();
    Ok(())
}

#[tokio::test]
async fn every_fault_is_as_it_says() -> Result<()> {
    let sandbox = Sandbox::start().await?;
    let charge = |key: &str| sandbox.post("/v1/charges", key, &transfer("10"));
    let never = NEVER.as_millis();

    sandbox.set_faults(&json!([{"on": "charge", "fault": "timeoutBefore", "times": 1, "delayMs": never}])).await?;
    ask_in_vain(&sandbox, "a", 0).await?;
    assert_eq!(sandbox.entries().await?, Vec::<Value>::new(), "nothing was done");
    assert_eq!(read(charge("a").send().await?).await?, (StatusCode::OK, false, json!({"status": "CHARGED"})));

    sandbox.set_faults(&json!([{"on": "any", "fault": "timeoutAfter", "times": 1, "delayMs": never}])).await?;
    ask_in_vain(&sandbox, "b", 2).await?;
    assert_eq!(read(charge("b").send().await?).await?, (StatusCode::OK, true, json!({"status": "CHARGED"})));

    sandbox
        .set_faults(&json!([
            {"on": "charge", "fault": "error500", "times": 1},
            {"on": "charge", "fault": "tooMany", "times": 1},
            {"on": "charge", "fault": "timeoutBefore", "times": 1, "delayMs": 1},
            {"on": "charge", "fault": "slow", "times": 1, "delayMs": 1}
        ]))
        .await?;
    assert_eq!(charge("c").send().await?.status(), 500);
    let too_many = charge("c").send().await?;
    assert_eq!((too_many.status(), &too_many.headers()["retry-after"]), (StatusCode::TOO_MANY_REQUESTS, &"1".parse()?));
    assert_eq!(charge("c").send().await?.status(), 504);
    assert_eq!(read(charge("c").send().await?).await?.2, json!({"status": "CHARGED"}));
    assert_eq!(sandbox.entries().await?[2]["asked"], 1);
    let fired: Vec<Value> = serde_json::from_value(sandbox.get("/v1/faults").await?)?;
    assert!(fired.iter().all(|rule| rule["fired"] == 1), "{fired:?}");

    sandbox.set_faults(&json!([{"on": "any", "fault": "error500", "customerId": "somebody else"}])).await?;
    assert_eq!(charge("c").send().await?.status(), 200);
    assert_eq!(sandbox.request(Method::DELETE, "/v1/faults").send().await?.json::<Value>().await?, json!([]));
    for wrong in
        [json!([{"on": "charge", "fault": "error500", "probability": 101}]), json!([{"on": "x", "fault": "slow"}])]
    {
        assert_eq!(sandbox.request(Method::PUT, "/v1/faults").json(&wrong).send().await?.status(), 422, "{wrong}");
    }
    // Not stopped in order: what is held back would be waited for.
    Ok(())
}
