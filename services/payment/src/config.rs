//! The settings of payment-service.

use crate::provider::{PaymentProvider, StubProvider};
use clap::{Args, Parser};
use contracts::Money;
use runtime::config::{BadSetting, Common, Postgres};
use std::sync::Arc;

/// Charges orders, and gives back what was charged for orders that end.
#[derive(Clone, Debug, Parser)]
#[command(name = "payment-service", version)]
pub struct Settings {
    /// Kafka brokers, as host:port separated by commas
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", value_name = "KAFKA_BOOTSTRAP_SERVERS")]
    pub kafka_bootstrap_servers: String,
    /// Port of the HTTP API
    #[arg(long, env = "HTTP_PORT", value_name = "HTTP_PORT", default_value = "8081")]
    pub http_port: u16,
    /// Where the service's own database is
    #[command(flatten)]
    pub postgres: Postgres,
    /// The payment provider
    #[command(flatten)]
    pub payment: Payment,
    /// What every service takes
    #[command(flatten)]
    pub common: Common,
}

/// The payment provider's settings.
#[derive(Args, Clone, Debug)]
pub struct Payment {
    /// The stub provider declines this customer
    #[arg(
        long,
        env = "PAYMENT_STUB_FAIL_CUSTOMER_ID",
        value_name = "PAYMENT_STUB_FAIL_CUSTOMER_ID",
        default_value = "fail-payment"
    )]
    pub payment_stub_fail_customer_id: String,
    /// The stub provider declines larger amounts; 0 is off
    #[arg(
        long,
        env = "PAYMENT_STUB_FAIL_ABOVE_AMOUNT",
        value_name = "PAYMENT_STUB_FAIL_ABOVE_AMOUNT",
        default_value = "0"
    )]
    pub payment_stub_fail_above_amount: String,
}

impl Payment {
    /// The provider as it is set.
    pub fn provider(&self) -> Result<Arc<dyn PaymentProvider>, BadSetting> {
        let bad = |why: String| BadSetting::new("PAYMENT_STUB_FAIL_ABOVE_AMOUNT", why);
        let text = &self.payment_stub_fail_above_amount;
        let number: serde_json::Number = text.parse().map_err(|_| bad(format!("{text:?} is not an amount")))?;
        let limit = Money::from_number(&number).map_err(|why| bad(format!("{text} {why}")))?;
        if limit < Money::ZERO {
            return Err(bad(format!("{text} is negative; 0 is off")));
        }
        Ok(Arc::new(StubProvider {
            declined_customer: self.payment_stub_fail_customer_id.clone(),
            declined_above: (limit > Money::ZERO).then_some(limit),
        }))
    }
}
