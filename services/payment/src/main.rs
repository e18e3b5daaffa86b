//! Payment-service alone, on Kafka and PostgreSQL.

use migrations::PaymentMigrator;
use payment_service::config::Settings;
use runtime::program::{self, Stop};
use std::process::ExitCode;

fn main() -> ExitCode {
    program::run(serve)
}

async fn serve(settings: Settings, stop: Stop) -> anyhow::Result<()> {
    let provider = settings.payment.provider()?;
    let ports = program::ports::<PaymentMigrator, _>(&settings.alone, "payment", &stop).await?;
    let service = payment_service::start(ports, provider).await?;
    program::until_stopped(vec![service], "", &stop).await
}
