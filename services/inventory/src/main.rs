//! Inventory-service alone, on Kafka and PostgreSQL.

use inventory_service::config::{self, Settings};
use migrations::InventoryMigrator;
use runtime::program::{self, Stop};
use std::process::ExitCode;

fn main() -> ExitCode {
    program::run(serve)
}

async fn serve(settings: Settings, stop: Stop) -> anyhow::Result<()> {
    let stock = settings.inventory.initial_stock(&[])?;
    let ports = program::ports::<InventoryMigrator, _>(&settings.alone, "inventory", &stop).await?;
    let service = inventory_service::start(ports, config::saga(&settings.alone.common), &stock).await?;
    program::until_stopped(vec![service], "", &stop).await
}
