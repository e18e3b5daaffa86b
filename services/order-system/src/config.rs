//! The settings of order-system.

use crate::bench::BenchSettings;
use clap::{Args, Parser, Subcommand};
use inventory_service::config::Inventory;
use notification_service::config::Notify;
use order_service::config::Orders;
use payment_service::config::Payment;
use runtime::config::{BadSetting, Common, given, postgres_url};
use runtime::database::DatabaseSettings;
use std::net::TcpListener;
use std::path::PathBuf;

/// The whole order system in one process.
#[derive(Clone, Debug, Parser)]
#[command(name = "order-system", version, args_conflicts_with_subcommands = true)]
pub struct Settings {
    /// What to do; without it the system runs
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run
    #[command(flatten)]
    pub run: RunSettings,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run all four services (as without a command)
    Run(Box<RunSettings>),
    /// Place orders and measure how fast they become final
    Bench(Box<BenchSettings>),
    /// Print the OpenAPI document of each service, or write them into a directory
    Openapi {
        /// Where to write the documents: order.yaml, payment.yaml, inventory.yaml, notification.yaml,
        /// events.asyncapi.yaml and the JSON Schemas in events/
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
    },
}

/// How to run the system.
#[derive(Args, Clone, Debug)]
pub struct RunSettings {
    /// Where the embedded parts keep their files
    #[arg(long, env, default_value = "./data")]
    pub data_dir: PathBuf,
    /// First of four consecutive ports: order, payment, inventory, notification; 0 takes any four that are free
    #[arg(long, env, default_value = "8080",
          value_parser = clap::value_parser!(u16).range(0..=65532))]
    pub http_port: u16,
    /// Kafka brokers, as host:port separated by commas [default: the embedded event log]
    #[arg(long, env)]
    pub kafka_bootstrap_servers: Option<String>,
    /// Database of order-service [default: an SQLite file]
    #[arg(long, env, hide_env_values = true)]
    pub order_database_url: Option<String>,
    /// Database of payment-service [default: an SQLite file]
    #[arg(long, env, hide_env_values = true)]
    pub payment_database_url: Option<String>,
    /// Database of inventory-service [default: an SQLite file]
    #[arg(long, env, hide_env_values = true)]
    pub inventory_database_url: Option<String>,
    /// Database of notification-service [default: an SQLite file]
    #[arg(long, env, hide_env_values = true)]
    pub notification_database_url: Option<String>,
    /// How orders are taken on
    #[command(flatten)]
    pub orders: Orders,
    /// The payment provider
    #[command(flatten)]
    pub payment: Payment,
    /// The stock
    #[command(flatten)]
    pub inventory: Inventory,
    /// The ways to customers
    #[command(flatten)]
    pub notify: Notify,
    /// What every service takes
    #[command(flatten)]
    pub common: Common,
}

/// The settings that say where each service's database is, as [`RunSettings::databases`] has them.
pub const DATABASE_URLS: [&str; 4] =
    ["ORDER_DATABASE_URL", "PAYMENT_DATABASE_URL", "INVENTORY_DATABASE_URL", "NOTIFICATION_DATABASE_URL"];

impl RunSettings {
    /// The settings of a system that is not configured, on any free ports: for tests and measurements.
    pub fn embedded(data_dir: PathBuf) -> Self {
        RunSettings { data_dir, ..given(&["--http-port", "0"]).expect("every default is a value") }
    }

    /// Where each service's database is: order, payment, inventory, notification.
    pub fn databases(&self) -> Result<[DatabaseSettings; 4], BadSetting> {
        let database = |setting: &str, url: &Option<String>, file: &str| match url {
            Some(url) => postgres_url(setting, url),
            None => Ok(DatabaseSettings::Sqlite(self.data_dir.join(file))),
        };
        Ok([
            database(DATABASE_URLS[0], &self.order_database_url, "order.sqlite")?,
            database(DATABASE_URLS[1], &self.payment_database_url, "payment.sqlite")?,
            database(DATABASE_URLS[2], &self.inventory_database_url, "inventory.sqlite")?,
            database(DATABASE_URLS[3], &self.notification_database_url, "notification.sqlite")?,
        ])
    }

    /// Whether anything is kept in the data directory.
    pub fn is_embedded(&self) -> bool {
        let urls = [
            &self.order_database_url,
            &self.payment_database_url,
            &self.inventory_database_url,
            &self.notification_database_url,
            &self.kafka_bootstrap_servers,
        ];
        urls.iter().any(|url| url.is_none())
    }

    /// Binds the four ports.
    pub fn listen(&self) -> Result<Vec<TcpListener>, BadSetting> {
        let port = |i: u16| if self.http_port == 0 { 0 } else { self.http_port + i };
        (0..4).map(|i| self.common.listen(port(i))).collect()
    }
}

/// The stock that a system begins with: a million of each of P1 to P20.
pub fn default_stock() -> Vec<(String, i64)> {
    (1..=20).map(|i| (format!("P{i}"), 1_000_000)).collect()
}
