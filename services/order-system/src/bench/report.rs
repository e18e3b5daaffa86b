//! What the bench says in the end.

use super::BenchSettings;
use super::load::{AT_A_TIME, Measured};
use anyhow::{Context, Result};
use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::time::Duration;

const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];

/// A table for people, and if wanted a file for machines.
pub(super) fn report(settings: &BenchSettings, measured: &Measured) -> Result<()> {
    let rows = [("POST to 202", &measured.accepted), ("POST to CONFIRMED", &measured.confirmed)];
    let orders = measured.ended.len();
    // Of those that were sent, some may have been told to come back.
    let placed = per_second(measured.placed.min(orders), measured.placing);
    let completed = per_second(orders, measured.elapsed);
    let load = match settings.rate {
        Some(rate) => format!("{rate} per second"),
        None => format!("{} at a time", settings.concurrency.unwrap_or(AT_A_TIME)),
    };
    println!("{orders} orders final in {:.1?}, {load}: placed {placed}/s, completed {completed}/s", measured.elapsed);
    print!("{:<19}", "latency, ms");
    QUANTILES.iter().for_each(|(name, _)| print!("{name:>10}"));
    println!("{:>10}", "max");
    for (name, latency) in rows {
        print!("{name:<19}");
        QUANTILES.iter().for_each(|(_, quantile)| print!("{:>10}", millis(latency.value_at_quantile(*quantile))));
        println!("{:>10}", millis(latency.max()));
    }
    println!("by status: {:?}; told to come back: {}", measured.statuses, measured.refused);
    if let Some(file) = &settings.json {
        let result = json!({
            "orders": orders,
            "seconds": measured.elapsed.as_secs_f64(),
            "ordersPerSecond": {"placed": placed, "completed": completed},
            "concurrency": settings.concurrency.or(settings.rate.is_none().then_some(AT_A_TIME)),
            "rate": settings.rate,
            "products": settings.products.to_possible_value().as_ref().map(|value| value.get_name()),
            "lines": settings.lines,
            "latencyMicros": {
                "accepted": quantiles(&measured.accepted),
                "confirmed": quantiles(&measured.confirmed),
                "final": quantiles(&measured.ended),
            },
            "statuses": measured.statuses,
            "refused": measured.refused,
        });
        std::fs::write(file, serde_json::to_vec_pretty(&result)?).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

fn quantiles(latency: &Histogram<u64>) -> Value {
    let mut quantiles: serde_json::Map<_, _> = QUANTILES
        .iter()
        .map(|(name, quantile)| ((*name).to_owned(), latency.value_at_quantile(*quantile).into()))
        .collect();
    quantiles.insert("max".to_owned(), latency.max().into());
    quantiles.into()
}

fn per_second(orders: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(orders) * 1_000_000 / time.as_micros().max(1)).unwrap_or(u64::MAX)
}

/// Microseconds as milliseconds, for people.
fn millis(micros: u64) -> String {
    format!("{}.{:02}", micros / 1_000, micros % 1_000 / 10)
}
