//! Order-service alone, on Kafka and PostgreSQL.

use migrations::OrderMigrator;
use order_service::config::{self, Settings};
use runtime::program::{self, Stop};
use std::process::ExitCode;

fn main() -> ExitCode {
    program::run(serve)
}

async fn serve(settings: Settings, stop: Stop) -> anyhow::Result<()> {
    let ports = program::ports::<OrderMigrator, _>(&settings.alone, "order", &stop).await?;
    let service =
        order_service::start(ports, config::saga(&settings.alone.common), settings.orders.orders_under_way_limit)
            .await?;
    program::until_stopped(vec![service], "", &stop).await
}
