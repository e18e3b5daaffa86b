//! `order-system bench`: places real orders over HTTP, and measures until every one of them is final.

use crate::System;
use crate::config::{RunSettings, default_stock};
use anyhow::{Context, Result, bail};
use clap::Args;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Client;
use runtime::program::Stop;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How to measure.
#[derive(Args, Clone, Debug)]
pub struct BenchSettings {
    /// Where order-service is [default: starts an embedded system for the measurement]
    #[arg(long)]
    pub url: Option<String>,
    /// Orders to place
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u64).range(1..))]
    pub orders: u64,
    /// Orders that are between their POST and their end at a time
    #[arg(long, default_value = "512", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub concurrency: u64,
    /// Also write the result into this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What was measured.
struct Measured {
    accepted: Histogram<u64>,
    confirmed: Histogram<u64>,
    statuses: BTreeMap<String, u64>,
}

impl Measured {
    fn new() -> Result<Self> {
        // Microseconds, up to ten minutes, to three digits.
        let histogram = || Histogram::new_with_bounds(1, 600_000_000, 3);
        Ok(Measured { accepted: histogram()?, confirmed: histogram()?, statuses: BTreeMap::new() })
    }

    fn add(&mut self, other: &Measured) -> Result<()> {
        self.accepted.add(&other.accepted)?;
        self.confirmed.add(&other.confirmed)?;
        for (status, count) in &other.statuses {
            *self.statuses.entry(status.clone()).or_default() += count;
        }
        Ok(())
    }
}

/// How long an order may take to become final before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures, and prints the result.
pub async fn run(settings: BenchSettings, stop: Stop) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (url, system) = match &settings.url {
        Some(url) => (url.trim_end_matches('/').to_owned(), None),
        None => {
            let system = System::start(&RunSettings::embedded(directory.path().to_owned()), None, &stop).await?;
            system.ready().await;
            (system.urls()[0].clone(), Some(system))
        }
    };
    let measured = tokio::select! {
        measured = measure(&settings, &url) => measured,
        stopped = stop.asked() => Err(stopped.into()),
    };
    if let Some(system) = system {
        system.stop().await;
    }
    let (measured, elapsed) = measured?;
    report(&settings, &measured, elapsed)
}

async fn measure(settings: &BenchSettings, url: &str) -> Result<(Measured, Duration)> {
    let client = Client::builder().pool_max_idle_per_host(4096).build()?;
    let progress = ProgressBar::new(settings.orders)
        .with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} orders final, {per_sec}, {eta} left")?);
    let begun = Arc::new(AtomicU64::new(0));
    let usual = Arc::new(AtomicU64::new(10_000));
    let started = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..settings.concurrency.min(settings.orders) {
        let (client, url, progress) = (client.clone(), url.to_owned(), progress.clone());
        let (begun, usual) = (Arc::clone(&begun), Arc::clone(&usual));
        let orders = settings.orders;
        workers.spawn(async move {
            let mut measured = Measured::new()?;
            loop {
                let n = begun.fetch_add(1, Ordering::Relaxed);
                if n >= orders {
                    return anyhow::Ok(measured);
                }
                place(&client, &url, n, &usual, &mut measured).await?;
                progress.inc(1);
            }
        });
    }
    let mut measured = Measured::new()?;
    while let Some(worker) = workers.join_next().await {
        measured.add(&worker??)?;
    }
    progress.finish_and_clear();
    Ok((measured, started.elapsed()))
}

/// Places one order, and follows it to its end. `usual` is how long that takes of late, in microseconds.
async fn place(client: &Client, url: &str, n: u64, usual: &AtomicU64, measured: &mut Measured) -> Result<()> {
    let products = default_stock();
    let (product, _) = &products[usize::try_from(n)? % products.len()];
    let line = json!({"productId": product, "quantity": 1, "unitPrice": 10});
    let order =
        json!({"customerId": format!("bench-{}", n % 1000), "totalAmount": 10, "currency": "USD", "items": [line]});
    let started = Instant::now();
    let reply = client.post(format!("{url}/api/orders")).json(&order).send().await.context("POST /api/orders")?;
    let status = reply.status();
    let reply: Value = reply.json().await?;
    if status != 202 {
        bail!("POST /api/orders answered {status}: {reply}");
    }
    measured.accepted.record(micros(started))?;
    let order = format!("{url}/api/orders/{}", reply["orderId"].as_str().context("a reply without orderId")?);
    // Asking costs what is measured. So it begins when the order is likely to be through, and is not done often.
    let expected = usual.load(Ordering::Relaxed);
    let mut pause = Duration::from_micros(expected * 9 / 10);
    loop {
        tokio::time::sleep(pause).await;
        pause = Duration::from_micros(expected / 20).max(Duration::from_millis(2));
        let now: Value = client.get(&order).send().await?.error_for_status()?.json().await?;
        let status = now["status"].as_str().unwrap_or("none");
        if status != "PENDING" {
            measured.confirmed.record(micros(started))?;
            usual.store((expected * 7 + micros(started)) / 8, Ordering::Relaxed);
            *measured.statuses.entry(status.to_owned()).or_default() += 1;
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            bail!("{order} is still PENDING after {} s", PATIENCE.as_secs());
        }
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn report(settings: &BenchSettings, measured: &Measured, elapsed: Duration) -> Result<()> {
    let final_orders = measured.confirmed.len();
    let per_second = u128::from(final_orders) * 1_000_000 / elapsed.as_micros().max(1);
    let rows = [("POST to 202", &measured.accepted), ("POST to final", &measured.confirmed)];
    println!(
        "{final_orders} orders final in {:.1?}: {per_second} orders/s, {} at a time",
        elapsed, settings.concurrency
    );
    println!("{:<15}{:>10}{:>10}{:>10}{:>10}", "latency, µs", "p50", "p90", "p99", "max");
    for (name, latency) in rows {
        let at = |quantile| latency.value_at_quantile(quantile);
        println!("{name:<15}{:>10}{:>10}{:>10}{:>10}", at(0.5), at(0.9), at(0.99), latency.max());
    }
    println!("by status: {:?}", measured.statuses);
    if let Some(file) = &settings.json {
        let latency = |h: &Histogram<u64>| {
            let at = |quantile| h.value_at_quantile(quantile);
            json!({"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": h.max()})
        };
        let result = json!({
            "orders": final_orders,
            "seconds": elapsed.as_secs_f64(),
            "ordersPerSecond": u64::try_from(per_second)?,
            "concurrency": settings.concurrency,
            "latencyMicros": {"accepted": latency(&measured.accepted), "final": latency(&measured.confirmed)},
            "statuses": measured.statuses,
        });
        std::fs::write(file, serde_json::to_vec_pretty(&result)?)?;
    }
    Ok(())
}
