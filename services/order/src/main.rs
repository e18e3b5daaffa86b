//! Order-service alone, on Kafka and PostgreSQL.

use migrations::OrderMigrator;
use order_service::config::{self, Settings};
use runtime::program::{self, Stop};
use std::process::ExitCode;

fn main() -> ExitCode {
    program::run(serve)
}

async fn serve(settings: Settings, stop: Stop) -> anyhow::Result<()> {
    let (setting, database) = settings.postgres.settings("order")?;
    let ports = program::ports::<OrderMigrator>(
        &settings.common,
        settings.http_port,
        &settings.kafka_bootstrap_servers,
        (setting, &database),
        &stop,
    )
    .await?;
    let service =
        order_service::start(ports, config::saga(&settings.common), settings.orders.orders_under_way_limit).await?;
    program::until_stopped(vec![service], "", &stop).await
}
