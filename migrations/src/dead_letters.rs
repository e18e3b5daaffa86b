//! The dead letters that every service keeps of its own consumer group.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, binary_null, text, text_null, uuid, uuid_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("dead_letters")
            .col(uuid("id").primary_key())
            .col(text("topic"))
            .col(big_integer("original_partition"))
            .col(big_integer("original_offset"))
            .col(binary_null("key"))
            .col(binary_null("value"))
            .col(text("headers"))
            .col(text("reason"))
            .col(big_integer("attempts"))
            .col(text("died_at"))
            .col(big_integer("redriven_before"))
            .col(big_integer("stored_at"))
            .col(text("state"))
            .col(big_integer("redrives"))
            .col(big_integer_null("redriven_at"))
            .col(big_integer_null("wanted_at"))
            .col(big_integer("pause_micros"))
            .col(uuid_null("batch"))
            .col(binary_null("new_key"))
            .col(binary_null("new_value"))
            .col(text_null("failure"))
            .take();
        manager.create_table(table).await?;
        let index = |name: &str| Index::create().name(name).table("dead_letters").to_owned();
        manager.create_index(index("dead_letters_newest").col("stored_at").col("id").take()).await?;
        manager.create_index(index("dead_letters_state").col("state").col("topic").take()).await?;
        // What is to be sent again: few, and looked for often.
        let wanted = Expr::col("wanted_at").is_not_null();
        manager.create_index(index("dead_letters_wanted").col("wanted_at").and_where(wanted).take()).await
    }
}
