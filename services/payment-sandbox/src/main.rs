//! payment-sandbox: a payment provider to try things out on.

use payment_sandbox::config::Settings;
use runtime::program::{self, Stop};
use std::process::ExitCode;

fn main() -> ExitCode {
    program::run(serve)
}

async fn serve(settings: Settings, stop: Stop) -> anyhow::Result<()> {
    let metrics = program::telemetry(&settings.common)?;
    let sandbox = payment_sandbox::start(&settings, Some(metrics), &stop).await?;
    program::until_stopped(vec![sandbox], "", &stop).await
}
