use crate::saga_table::{due_index, saga_table};
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, json_binary, text, uuid};

crate::migrator! {
    /// The schema of notification-service.
    NotificationMigrator: crate::outbox::Migration, Notices, Notifications, crate::dead_letters::Migration, crate::audit_log::Migration
}

struct Notices;

impl MigrationName for Notices {
    fn name(&self) -> &'static str {
        "m20261122_000001_notices"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Notices {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(saga_table("notices").col(json_binary("notices")).take()).await?;
        manager.create_index(due_index("notices")).await
    }
}

struct Notifications;

impl MigrationName for Notifications {
    fn name(&self) -> &'static str {
        "m20261122_000002_notifications"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Notifications {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("notifications")
            .col(uuid("order_id"))
            .col(text("occasion"))
            .col(text("channel"))
            .col(uuid("notification_id"))
            .col(text("customer_id"))
            .col(text("text"))
            .col(text("status"))
            .col(big_integer("created_at"))
            .col(big_integer_null("sent_at"))
            .primary_key(Index::create().col("order_id").col("occasion").col("channel"))
            .take();
        manager.create_table(table).await
    }
}
