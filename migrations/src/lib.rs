//! The schema of every database: one migrator per service, for PostgreSQL and SQLite alike.
//!
//! Moments are microseconds since 1970 and amounts are ten-thousandths, both as 64-bit integers: exact on both
//! databases, and comparable on both.

mod audit_log;
mod autovacuum;
mod dead_letters;
mod event_log;
mod inventory;
mod notification;
mod order;
mod outbox;
mod payment;
mod saga_table;
mod sandbox;

pub use event_log::EventLogMigrator;
pub use inventory::InventoryMigrator;
pub use notification::NotificationMigrator;
pub use order::OrderMigrator;
pub use payment::PaymentMigrator;
pub use sandbox::SandboxMigrator;

/// A migrator with these migrations, in this order.
macro_rules! migrator {
    ($(#[$doc:meta])* $name:ident: $($migration:expr),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        #[sea_orm_migration::async_trait::async_trait]
        impl sea_orm_migration::MigratorTrait for $name {
            fn migrations() -> Vec<Box<dyn sea_orm_migration::MigrationTrait>> {
                vec![$(Box::new($migration)),+]
            }
        }
    };
}
use migrator;
