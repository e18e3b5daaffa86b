//! Notification-service alone, on Kafka and PostgreSQL.

use migrations::NotificationMigrator;
use notification_service::config::Settings;
use runtime::program::{self, Stop};
use std::process::ExitCode;

fn main() -> ExitCode {
    program::run(serve)
}

async fn serve(settings: Settings, stop: Stop) -> anyhow::Result<()> {
    let ways = settings.notify.ways()?;
    let ports = program::ports::<NotificationMigrator, _>(&settings.alone, "notification", &stop).await?;
    let service = notification_service::start(ports, ways).await?;
    program::until_stopped(vec![service], "", &stop).await
}
