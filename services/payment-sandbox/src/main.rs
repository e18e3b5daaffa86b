//! payment-sandbox: a payment provider to try things out on.

use payment_sandbox::config::Settings;
use runtime::program::{self, Stop};
use std::process::ExitCode;

fn main() -> ExitCode {
    match runtime::config::parse::<Settings>() {
        Ok(settings) => program::run(|stop| serve(settings, stop)),
        Err(code) => code,
    }
}

async fn serve(settings: Settings, stop: Stop) -> anyhow::Result<()> {
    let metrics = program::telemetry(&settings.common)?;
    let sandbox = payment_sandbox::start(&settings, Some(metrics), &stop).await?;
    program::until_stopped(vec![sandbox], "", &stop).await
}
