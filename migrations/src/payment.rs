use crate::autovacuum::AnalyzeLess;
use crate::saga_table::{due_index, saga_table};
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, json_binary_null, text, text_null};

crate::migrator! {
    /// The schema of payment-service.
    PaymentMigrator: crate::outbox::Migration, Payments, Contact, crate::dead_letters::Migration, crate::audit_log::Migration, AnalyzeLess(&["payments"])
}

struct Payments;

impl MigrationName for Payments {
    fn name(&self) -> &'static str {
        "m20261122_000001_payments"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Payments {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = saga_table("payments")
            .col(text("payment_id").unique_key())
            .col(text("stage"))
            .col(text("customer_id"))
            .col(big_integer("amount"))
            .col(text("currency"))
            .col(text_null("reason"))
            .col(text_null("refund_requested_as"))
            .col(text_null("refund_reason"))
            .col(text_null("refund_note"))
            .col(json_binary_null("held_request"))
            .col(big_integer("attempts"))
            .col(text_null("last_error"))
            .col(big_integer("retry_at"))
            .col(json_binary_null("attention"))
            .col(text_null("acknowledged"))
            .col(text_null("acknowledged_note"))
            .take();
        manager.create_table(table).await?;
        // For the list of what needs attention, newest first: small, since few payments do.
        let attention = Index::create()
            .name("payments_attention")
            .table("payments")
            .col("created_at")
            .and_where(Expr::col("attention").is_not_null())
            .take();
        manager.create_index(attention).await?;
        manager.create_index(due_index("payments")).await
    }
}

/// How to reach who pays, for the news of a refund. A program that does not know the column leaves it null.
struct Contact;

impl MigrationName for Contact {
    fn name(&self) -> &'static str {
        "m20261122_000002_contact"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Contact {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter().table("payments").add_column(json_binary_null("contact")).take();
        manager.alter_table(table).await
    }
}
