//! `order-system bench`: places real orders over HTTP, and measures until every one of them is final.

mod client;
mod load;
mod report;

use crate::System;
use crate::config::RunSettings;
use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use client::{Client, Mix};
use load::Load;
use reqwest::Url;
use runtime::config::BadSetting;
use runtime::program::Stop;
use std::path::PathBuf;
use std::time::Duration;

/// How to measure.
#[derive(Args, Clone, Debug)]
pub struct BenchSettings {
    /// Where order-service is [default: starts an embedded system for the measurement]
    #[arg(long)]
    pub url: Option<Url>,
    /// Where inventory-service is, whose stock is topped up [default: the host of --url, two ports on]
    #[arg(long, requires = "url")]
    pub inventory_url: Option<Url>,
    /// Orders to place [default: 10000]
    #[arg(long, conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    pub orders: Option<u64>,
    /// Seconds during which orders are placed
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub duration: Option<u64>,
    /// Orders that are between their POST and their end: always so many or, with --rate, at most [default: 512 or, with
    /// --rate, as many as it takes]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub concurrency: Option<u32>,
    /// Orders per second, however long they take; latency is measured from when an order should have been sent
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rate: Option<u64>,
    /// What is ordered
    #[arg(long, value_enum, default_value_t = Products::Spread)]
    pub products: Products,
    /// Lines of each order, of as many products
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u64).range(1..=20))]
    pub lines: u64,
    /// Also write the result into this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Products {
    /// All products in turn
    Spread,
    /// One product in every order, and the other lines in turn
    Hot,
}

/// When no more orders are placed.
#[derive(Clone, Copy, Debug)]
enum Extent {
    Orders(u64),
    Time(Duration),
}

impl BenchSettings {
    fn extent(&self) -> Extent {
        match self.duration {
            Some(seconds) => Extent::Time(Duration::from_secs(seconds)),
            None => Extent::Orders(self.orders.unwrap_or(10_000)),
        }
    }
}

/// Measures, and prints the result: when it is stopped, that of the orders until then.
pub async fn run(settings: BenchSettings, stop: Stop) -> Result<()> {
    if let Some(file) = &settings.json {
        // Found wrong before the measurement, and not behind it.
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
        opened.map_err(|error| BadSetting::new("--json", format!("{} cannot be written: {error}", file.display())))?;
    }
    let directory = tempfile::tempdir()?;
    let (urls, system) = match &settings.url {
        Some(url) => ((url.clone(), settings.inventory_url.clone()), None),
        None => {
            let system = System::start(&RunSettings::embedded(directory.path().to_owned()), None, &stop).await?;
            system.ready().await;
            let urls = system.urls();
            ((Url::parse(&urls[0])?, Some(Url::parse(&urls[2])?)), Some(system))
        }
    };
    let measure = async {
        let mix = Mix { products: settings.products, lines: settings.lines };
        let client = Client::new(&urls.0, urls.1, mix)?;
        tokio::select! {
            topped_up = client.top_up() => topped_up?,
            stopped = stop.asked() => return Err(stopped.into()),
        }
        Load::new(client, settings.extent()).run(settings.rate, settings.concurrency, &stop).await
    };
    let mut measured = Err(anyhow!("stopped before every order was final; nothing was measured"));
    stop.unless_insisted(async { measured = measure.await }).await;
    if let Some(system) = system {
        system.stop().await;
    }
    report::report(&settings, &measured?)
}
