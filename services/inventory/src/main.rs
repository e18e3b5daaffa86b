//! Inventory-service alone, on Kafka and PostgreSQL.

use inventory_service::config::{self, Settings};
use migrations::InventoryMigrator;
use runtime::program::{self, Stop};
use std::process::ExitCode;

fn main() -> ExitCode {
    program::run(serve)
}

async fn serve(settings: Settings, stop: Stop) -> anyhow::Result<()> {
    let (setting, database) = settings.postgres.settings("inventory")?;
    let stock = settings.inventory.initial_stock(&[])?;
    let ports = program::ports::<InventoryMigrator>(
        &settings.common,
        settings.http_port,
        &settings.kafka_bootstrap_servers,
        (setting, &database),
        &stop,
    )
    .await?;
    let service = inventory_service::start(ports, config::saga(&settings.common), &stock).await?;
    program::until_stopped(vec![service], "", &stop).await
}
