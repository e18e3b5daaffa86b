//! The whole system with payment-sandbox as its provider, which goes wrong all the time: afterwards the provider's own
//! books say the same as the services' (I-3; faults 5 and 6).

use anyhow::{Context, Result, ensure};
use e2e::api::{Service, example, order_of};
use e2e::embedded::Embedded;
use order_service::saga::Stage;
use runtime::program::Stop;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Orders that are placed.
const ORDERS: usize = 40;
/// Every how many is cancelled, and every how many is out of stock.
const CANCELLED: usize = 4;
const SHORT: usize = 5;

/// Every entry of the sandbox's books.
async fn ledger(sandbox: &str) -> Result<Vec<Value>> {
    let page: Value = reqwest::get(format!("{sandbox}/v1/ledger?limit=1000")).await?.json().await?;
    ensure!(page.get("next").is_none(), "there is a second page");
    Ok(page["entries"].as_array().context("entries")?.clone())
}

/// By payment: how often its customer was charged, and how often refunded.
fn moves(entries: &[Value]) -> BTreeMap<&str, (usize, usize)> {
    let mut moves: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for entry in entries {
        let payment = moves.entry(entry["reference"].as_str().unwrap_or_default()).or_default();
        match entry["outcome"].as_str() {
            Some("CHARGED") => payment.0 += 1,
            Some("REFUNDED") => payment.1 += 1,
            Some(_) | None => {}
        }
    }
    moves
}

#[tokio::test]
async fn the_books_of_the_provider_agree_whatever_goes_wrong() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let books = payment_sandbox::config::Settings::bare(directory.path().join("sandbox.sqlite"));
    let sandbox = payment_sandbox::start(&books, None, &Stop::default()).await?;
    sandbox.ready().await;
    let url = sandbox.url().to_owned();
    let embedded = Embedded::start_with(|settings| {
        settings.payment.payment_provider_url = Some(url.clone());
        settings.payment.payment_provider_timeout_ms = 250;
    })
    .await?;
    let api = &embedded.api;

    let faults = ["timeoutAfter", "timeoutBefore", "error500", "tooMany", "slow"];
    let rule = |fault: &&str| {
        let delay = if *fault == "slow" { 20 } else { 400 };
        json!({"on": "any", "fault": fault, "probability": 12, "times": 15, "delayMs": delay})
    };
    let rules: Vec<Value> = faults.iter().map(rule).collect();
    reqwest::Client::new().put(format!("{url}/v1/faults")).json(&rules).send().await?.error_for_status()?;
    let mut orders = Vec::new();
    for i in 0..ORDERS {
        let mut order = if i % SHORT == 0 { order_of("P2", 1_000_001) } else { example() };
        if i == 1 {
            order["customerId"] = json!("fail-payment");
        }
        let id = api.place(&order).await?;
        if i % CANCELLED == 2 {
            let path = format!("/api/orders/{id}/cancel");
            api.request(reqwest::Method::POST, Service::Order, &path).send().await?;
        }
        orders.push(id);
    }
    let ends = api.until_all_final(&orders).await?;
    let audited = embedded.audit().await?;

    let entries = ledger(&url).await?;
    for (payment, (charges, refunds)) in moves(&entries) {
        ensure!(charges <= 1 && refunds <= charges, "{payment}: {charges} charges, {refunds} refunds");
    }
    let confirmed = audited.orders.values().filter(|order| order.state.stage == Stage::Confirmed);
    let owed: i64 = confirmed.map(|order| order.state.details.total.ten_thousandths()).sum();
    let kept = |entry: &Value| -> Result<i64> {
        let amount = contracts::Money::from_number(entry["amount"].as_number().context("a number")?)?;
        Ok(match entry["outcome"].as_str() {
            Some("CHARGED") => amount.ten_thousandths(),
            Some("REFUNDED") => -amount.ten_thousandths(),
            Some(_) | None => 0,
        })
    };
    let kept: i64 = entries.iter().map(kept).sum::<Result<i64>>()?;
    assert_eq!(kept, owed, "ten-thousandths that the provider keeps, and that confirmed orders cost");

    // It was not vacuous.
    let fired: Value = reqwest::get(format!("{url}/v1/faults")).await?.json().await?;
    let fired: Vec<u64> = fired.as_array().context("rules")?.iter().filter_map(|rule| rule["fired"].as_u64()).collect();
    ensure!(fired.iter().sum::<u64>() >= 10, "the faults fired {fired:?} times");
    let count = |outcome: &str| entries.iter().filter(|entry| entry["outcome"] == outcome).count();
    ensure!(count("CHARGED") >= 20 && count("REFUNDED") >= 6 && count("DECLINED") == 1, "{ends:?}: {entries:?}");
    embedded.stop().await;
    sandbox.stop().await;
    Ok(())
}
