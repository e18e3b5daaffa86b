use crate::autovacuum::AnalyzeLess;
use crate::saga_table::{due_index, saga_table};
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, json_binary, text, text_null, uuid};

crate::migrator! {
    /// The schema of notification-service.
    NotificationMigrator: crate::outbox::Migration, Notices, Notifications, Deliveries, GivenUp, crate::dead_letters::Migration, crate::audit_log::Migration, AnalyzeLess(&["notices", "notifications"])
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

/// How the deliveries of a notice went, and the indexes by which notices are listed and found.
struct Deliveries;

impl MigrationName for Deliveries {
    fn name(&self) -> &'static str {
        "m20261122_000003_deliveries"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Deliveries {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // One at a time, since SQLite adds no two columns in one statement.
        for column in [
            text_null("recipient"),
            big_integer("attempts").default(0).take(),
            text_null("last_error"),
            big_integer_null("next_at"),
        ] {
            manager.alter_table(Table::alter().table("notifications").add_column(column).take()).await?;
        }
        let table = Table::create()
            .table("deliveries")
            .col(uuid("notification_id"))
            .col(big_integer("n"))
            .col(big_integer("at"))
            .col(text_null("error"))
            .primary_key(Index::create().col("notification_id").col("n"))
            .take();
        manager.create_table(table).await?;
        let index = |name: &str, columns: &[&'static str]| {
            let mut index = Index::create().name(name).table("notifications").take();
            columns.iter().for_each(|column| {
                index.col(*column);
            });
            index
        };
        manager.create_index(index("notifications_by_time", &["created_at", "notification_id"])).await?;
        manager.create_index(index("notifications_by_id", &["notification_id"])).await
    }
}

/// The index by which given up notices are counted: small, since few are.
struct GivenUp;

impl MigrationName for GivenUp {
    fn name(&self) -> &'static str {
        "m20261123_000004_given_up"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for GivenUp {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let given_up = Index::create()
            .name("notifications_given_up")
            .table("notifications")
            .col("created_at")
            .and_where(Expr::col("status").eq("FAILED"))
            .take();
        manager.create_index(given_up).await
    }
}
