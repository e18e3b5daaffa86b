//! What the table of every saga has: one row per order.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, binary, text, uuid};

/// A table of this name with the columns that every saga has; add the saga's own.
pub(crate) fn saga_table(name: &'static str) -> TableCreateStatement {
    Table::create()
        .table(name)
        .col(uuid("order_id").primary_key())
        .col(big_integer("version"))
        .col(binary("applied"))
        .col(text("correlation_id"))
        .col(text("traceparent"))
        .col(big_integer_null("due_at"))
        .col(big_integer("created_at"))
        .col(big_integer("updated_at"))
        .take()
}

/// The index by which the timers find what is due: small, since most orders have nothing due.
pub(crate) fn due_index(table: &'static str) -> IndexCreateStatement {
    Index::create()
        .name(format!("{table}_due_at"))
        .table(table)
        .col("due_at")
        .and_where(Expr::col("due_at").is_not_null())
        .take()
}
