//! The settings of notification-service.

use clap::Parser;
use runtime::config::{Common, Postgres};

/// Tells customers how their orders ended.
#[derive(Clone, Debug, Parser)]
#[command(name = "notification-service", version)]
pub struct Settings {
    /// Kafka brokers, as host:port separated by commas
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", value_name = "KAFKA_BOOTSTRAP_SERVERS")]
    pub kafka_bootstrap_servers: String,
    /// Port of the HTTP API
    #[arg(long, env = "HTTP_PORT", value_name = "HTTP_PORT", default_value = "8083")]
    pub http_port: u16,
    /// Where the service's own database is
    #[command(flatten)]
    pub postgres: Postgres,
    /// What every service takes
    #[command(flatten)]
    pub common: Common,
}
