//! The settings of payment-sandbox.

use crate::ledger::Terms;
use clap::Parser;
use runtime::config::{BadSetting, Common, amount_limit, given};
use std::path::PathBuf;

/// A payment provider to try things out on: it keeps books, moves no money, and goes wrong on demand.
#[derive(Clone, Debug, Parser)]
#[command(name = "payment-sandbox", version)]
pub struct Settings {
    /// Port of the HTTP API
    #[arg(long, env, default_value = "8090")]
    pub http_port: u16,
    /// SQLite file of the books; made where there is none
    #[arg(long, env = "SANDBOX_LEDGER", value_name = "FILE", default_value = "./data/sandbox.sqlite")]
    pub ledger: PathBuf,
    /// What chance decides about faults is a function of this number
    #[arg(long, env = "SANDBOX_SEED", value_name = "SEED", default_value = "0")]
    pub seed: u64,
    /// Charges of this customer are declined
    #[arg(long, env, default_value = "fail-payment")]
    pub payment_stub_fail_customer_id: String,
    /// Charges of larger amounts are declined; 0 is off
    #[arg(long, env, default_value = "0")]
    pub payment_stub_fail_above_amount: String,
    /// What every program takes; those about Kafka mean nothing here
    #[command(flatten)]
    pub common: Common,
}

impl Settings {
    /// The settings of a sandbox that is not configured, on any free port: for tests.
    pub fn bare(ledger: PathBuf) -> Self {
        Settings { ledger, ..given(&["--http-port", "0"]).expect("every default is a value") }
    }

    /// Which charges are declined.
    pub fn terms(&self) -> Result<Terms, BadSetting> {
        Ok(Terms {
            declined_customer: self.payment_stub_fail_customer_id.clone(),
            declined_above: amount_limit("PAYMENT_STUB_FAIL_ABOVE_AMOUNT", &self.payment_stub_fail_above_amount)?,
        })
    }
}
