//! The settings of payment-service.

use crate::provider::http::HttpProvider;
use crate::provider::stub::StubProvider;
use crate::provider::{PaymentProvider, Provider};
use clap::{Args, Parser};
use runtime::config::{Alone, BadSetting, amount_limit};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Charges orders, and gives back what was charged for orders that end.
#[derive(Clone, Debug, Parser)]
#[command(name = "payment-service", version)]
pub struct Settings {
    /// The payment provider
    #[command(flatten)]
    pub payment: Payment,
    /// What every service takes that runs alone
    #[command(flatten)]
    pub alone: Alone<8081>,
}

/// The payment provider's settings.
#[derive(Args, Clone, Debug)]
pub struct Payment {
    /// The stub provider declines this customer
    #[arg(long, env, default_value = "fail-payment")]
    pub payment_stub_fail_customer_id: String,
    /// The stub provider declines larger amounts; 0 is off
    #[arg(long, env, default_value = "0")]
    pub payment_stub_fail_above_amount: String,
    /// The provider, as http://host:port [default: a stub that moves nothing]
    #[arg(long, env, hide_env_values = true)]
    pub payment_provider_url: Option<String>,
    /// How long an answer of the provider is waited for, in milliseconds
    #[arg(long, env,
          default_value = "5000", value_parser = clap::value_parser!(u64).range(1..=15_000))]
    pub payment_provider_timeout_ms: u64,
}

impl Payment {
    /// The provider as it is set.
    pub fn provider(&self) -> Result<Provider, BadSetting> {
        // Looked at also where it is not used: a wrong setting is not to wait for the day on which it is.
        let declined_above = amount_limit("PAYMENT_STUB_FAIL_ABOVE_AMOUNT", &self.payment_stub_fail_above_amount)?;
        let adapter: Arc<dyn PaymentProvider> = match &self.payment_provider_url {
            Some(url) => Arc::new(http_provider(url)?),
            None => {
                Arc::new(StubProvider { declined_customer: self.payment_stub_fail_customer_id.clone(), declined_above })
            }
        };
        Ok(Provider { adapter, time_limit: Duration::from_millis(self.payment_provider_timeout_ms) })
    }
}

fn http_provider(text: &str) -> Result<HttpProvider, BadSetting> {
    // The URL may hold a password, so it is not repeated.
    let bad = |problem: &str| BadSetting::new("PAYMENT_PROVIDER_URL", problem);
    let url: Url = text.parse().map_err(|_| bad("must be http://host:port"))?;
    match url.scheme() {
        "http" if url.has_host() && url.query().is_none() && url.fragment().is_none() => {
            HttpProvider::new(&url).map_err(|error| bad(&format!("no client can be made for it: {error}")))
        }
        "https" => Err(bad("must be http://host:port; for a provider behind TLS, that of a proxy which speaks it")),
        _ => Err(bad("must be http://host:port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_address_is_refused_by_name() {
        for good in ["http://localhost:8090", "http://user:password@sandbox/pay/"] {
            assert!(http_provider(good).is_ok(), "{good}");
        }
        for wrong in ["localhost:8090", "https://localhost", "ftp://localhost", "http://", "http://host?a=b", ""] {
            let bad = http_provider(wrong).expect_err(wrong);
            assert_eq!(bad.setting, "PAYMENT_PROVIDER_URL", "{wrong}");
        }
    }
}
