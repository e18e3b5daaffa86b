//! What people did, in every service.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, json_binary, text, text_null, uuid};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("audit_log")
            .col(uuid("id").primary_key())
            .col(big_integer("at"))
            .col(text("actor"))
            .col(text("action"))
            .col(text("subject"))
            .col(json_binary("detail"))
            .col(text_null("reason"))
            .take();
        manager.create_table(table).await?;
        let index = |name: &str| Index::create().name(name).table("audit_log").to_owned();
        manager.create_index(index("audit_log_newest").col("at").col("id").take()).await?;
        manager.create_index(index("audit_log_subject").col("subject").col("at").col("id").take()).await?;
        manager.create_index(index("audit_log_actor").col("actor").col("at").col("id").take()).await
    }
}
