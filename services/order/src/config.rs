//! The settings of order-service.

use clap::Parser;
use runtime::config::{Common, Postgres};

/// Takes orders over HTTP and sees them through payment and stock to their end.
#[derive(Clone, Debug, Parser)]
#[command(name = "order-service", version)]
pub struct Settings {
    /// Kafka brokers, as host:port separated by commas
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", value_name = "KAFKA_BOOTSTRAP_SERVERS")]
    pub kafka_bootstrap_servers: String,
    /// Port of the HTTP API
    #[arg(long, env = "HTTP_PORT", value_name = "HTTP_PORT", default_value = "8080")]
    pub http_port: u16,
    /// Where the service's own database is
    #[command(flatten)]
    pub postgres: Postgres,
    /// What every service takes
    #[command(flatten)]
    pub common: Common,
}
