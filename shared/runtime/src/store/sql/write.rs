//! Many rows in one statement, on PostgreSQL and on SQLite.
//!
//! PostgreSQL gets each column as one array: a statement has a few parameters whatever the number of rows, so that it
//! is built, sent, and planned in next to no time. SQLite, which has no arrays, gets pages of rows. Both texts are put
//! together here: sea-query walks through every value of every row, again for each batch (decision 10).

use super::{PAGE, Table, outbox, padded, pages};
use crate::saga::Outgoing;
use crate::store::OutboxKey;
use crate::trace;
use sea_orm::sea_query::{ArrayType, ColumnType, ValueType};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, IdenStatic, IntoActiveModel,
    Iterable, ModelTrait, QueryResult, Statement, Value,
};
use std::collections::HashSet;
use uuid::Uuid;

/// A table whose rows are written whole.
pub trait Rows: EntityTrait<Model: IntoActiveModel<Self::ActiveModel>> {}

impl<E: EntityTrait<Model: IntoActiveModel<E::ActiveModel>>> Rows for E {}

/// The parameters of a statement.
struct Parameters {
    backend: DbBackend,
    values: Vec<Value>,
}

impl Parameters {
    fn of(backend: DbBackend) -> Self {
        Parameters { backend, values: Vec::new() }
    }

    /// Adds rows, at least one, and returns `INSERT INTO table (...) ...`, which can go on.
    fn insert<E: Rows>(&mut self, rows: Vec<E::Model>) -> String {
        let rows: Vec<E::ActiveModel> = rows.into_iter().map(IntoActiveModel::into_active_model).collect();
        let columns: Vec<E::Column> = E::Column::iter().collect();
        let names: Vec<String> = columns.iter().map(|column| format!("\"{}\"", column.as_str())).collect();
        // OR FAIL: SQLite need not note what a statement changed to take it back, since an error ends the transaction.
        let (insert, rows) = match self.backend == DbBackend::Postgres {
            true => ("INSERT", self.arrays(&columns, &names, rows)),
            false => ("INSERT OR FAIL", self.rows(&columns, rows)),
        };
        format!("{insert} INTO {} ({}) {rows}", table::<E>(), names.join(", "))
    }

    /// `VALUES (...), (...)`
    fn rows<A: ActiveModelTrait>(
        &mut self,
        columns: &[<A::Entity as EntityTrait>::Column],
        mut rows: Vec<A>,
    ) -> String {
        self.values.reserve(rows.len() * columns.len());
        for row in &mut rows {
            self.values.extend(columns.iter().filter_map(|column| row.take(*column).into_value()));
        }
        places(rows.len(), columns.len())
    }

    /// `SELECT ... FROM (SELECT unnest(...) AS ..., ...) AS rows`: in the list of what is selected, PostgreSQL takes all
    /// arrays apart side by side; as a table, it would first write each of them out, row by row.
    fn arrays<A: ActiveModelTrait>(
        &mut self,
        columns: &[<A::Entity as EntityTrait>::Column],
        names: &[String],
        mut rows: Vec<A>,
    ) -> String {
        let (mut selected, mut arrays) = (vec![], vec![]);
        for (column, name) in columns.iter().zip(names) {
            let mut values: Vec<Value> = rows.iter_mut().filter_map(|row| row.take(*column).into_value()).collect();
            let Some(null) = values.first().map(Value::as_null) else { continue };
            let kind = null.array_type();
            let is_null: Vec<bool> = values.iter().map(|value| *value == null).collect();
            // What is text here may be JSON there.
            let cast = if *column.def().get_column_type() == ColumnType::JsonBinary { "::jsonb" } else { "" };
            if is_null.contains(&true) {
                // sea-query's arrays hold no nulls, so these come beside them.
                for (value, _) in values.iter_mut().zip(&is_null).filter(|(_, is_null)| **is_null) {
                    *value = null.dummy_value();
                }
                let alias = format!("\"{} is null\"", column.as_str());
                let is_null = self.array(ArrayType::Bool, is_null.into_iter().map(Value::from).collect());
                arrays.push(format!("unnest({is_null}) AS {alias}"));
                selected.push(format!("CASE WHEN {alias} THEN NULL ELSE {name}{cast} END"));
            } else {
                selected.push(format!("{name}{cast}"));
            }
            arrays.push(format!("unnest({}) AS {name}", self.array(kind, values)));
        }
        format!("SELECT {} FROM (SELECT {}) AS rows", selected.join(", "), arrays.join(", "))
    }

    /// Adds an array, and returns what it is called.
    fn array(&mut self, kind: ArrayType, values: Vec<Value>) -> String {
        self.values.push(Value::Array(kind, Some(Box::new(values))));
        format!("${}", self.values.len())
    }

    /// `INSERT ... ON CONFLICT ...`, over the rows whose version is the one before.
    fn upsert_states<S: Table>(&mut self, states: Vec<<S::Entity as EntityTrait>::Model>) -> String {
        let (id, version) = (S::ORDER_ID.as_str(), S::VERSION.as_str());
        let stays = |column: &str| column == id || S::FIXED.iter().any(|fixed| fixed.as_str() == column);
        let others = <S::Entity as EntityTrait>::Column::iter().filter(|column| !stays(column.as_str()));
        let (insert, update) = (self.insert::<S::Entity>(states), overwrite(&[S::ORDER_ID], others));
        format!("{insert} {update} WHERE {}.\"{version}\" = excluded.\"{version}\" - 1", table::<S::Entity>())
    }

    fn statement(self, sql: String) -> Statement {
        Statement::from_sql_and_values(self.backend, sql, self.values)
    }
}

/// `VALUES (?, ?), (?, ?)`: places for so many rows of so many columns.
fn places(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    format!("VALUES {row}{}", format!(", {row}").repeat(rows.saturating_sub(1)))
}

fn table<E: EntityTrait>() -> String {
    format!("\"{}\"", E::default().table_name())
}

/// `ON CONFLICT (...) DO UPDATE SET ...`
fn overwrite<C: IdenStatic>(key: &[C], columns: impl Iterator<Item = C>) -> String {
    let key: Vec<String> = key.iter().map(|column| format!("\"{}\"", column.as_str())).collect();
    let set: Vec<String> = columns.map(|column| format!("\"{0}\" = excluded.\"{0}\"", column.as_str())).collect();
    format!("ON CONFLICT ({}) DO UPDATE SET {}", key.join(", "), set.join(", "))
}

/// Inserts rows.
pub async fn insert<E: Rows>(transaction: &impl ConnectionTrait, rows: Vec<E::Model>) -> Result<(), DbErr> {
    insert_and::<E>(transaction, rows, "").await
}

/// Writes rows; of those whose `key` is there, these `columns`.
pub async fn upsert<E: Rows>(
    transaction: &impl ConnectionTrait,
    rows: Vec<E::Model>,
    key: &[E::Column],
    columns: &[E::Column],
) -> Result<(), DbErr> {
    insert_and::<E>(transaction, rows, &overwrite(key, columns.iter().copied())).await
}

async fn insert_and<E: Rows>(
    transaction: &impl ConnectionTrait,
    rows: Vec<E::Model>,
    on_conflict: &str,
) -> Result<(), DbErr> {
    let backend = transaction.get_database_backend();
    // A statement for PostgreSQL holds as many rows as there are.
    let pages = match backend == DbBackend::Postgres && !rows.is_empty() {
        true => vec![rows],
        false => pages(rows).collect(),
    };
    for page in pages {
        let mut parameters = Parameters::of(backend);
        let sql = format!("{} {on_conflict}", parameters.insert::<E>(page));
        transaction.execute_raw(parameters.statement(sql)).await?;
    }
    Ok(())
}

/// What is to be told of the orders that were written. On SQLite it costs a row each to tell who they were; PostgreSQL
/// always tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    HowMany,
    Who,
}

/// Writes the rows of orders whose stored version is the one before theirs, and the rows of the outbox of these orders
/// alone; deletes what was sent. Returns the orders that were written, or none if some were not and it is not known who.
pub(super) async fn write<S: Table>(
    connection: &impl ConnectionTrait,
    states: Vec<<S::Entity as EntityTrait>::Model>,
    outgoing: impl Iterator<Item = &Outgoing>,
    sent: &[OutboxKey],
    told: Told,
) -> Result<Option<HashSet<Uuid>>, DbErr> {
    if connection.get_database_backend() == DbBackend::Postgres {
        return match postgres::<S>(states, outgoing.map(row).collect(), sent) {
            Some(statement) => ids(&connection.query_all_raw(statement).await?).map(Some),
            None => Ok(Some(HashSet::new())),
        };
    }
    let Some(written) = write_states::<S>(connection, states, told).await? else { return Ok(None) };
    let rows: Vec<outbox::Model> = outgoing.filter(|row| written.contains(&row.order.0)).map(row).collect();
    insert::<outbox::Entity>(connection, rows).await?;
    delete_sent(connection, sent).await?;
    Ok(Some(written))
}

fn row(row: &Outgoing) -> outbox::Model {
    outbox::Model {
        order_id: row.order.0,
        version: row.version,
        n: row.n,
        topic: row.event_type.topic().to_owned(),
        event_type: row.event_type.name().to_owned(),
        value: row.value.clone(),
        correlation_id: row.correlation_id.clone(),
        traceparent: trace::written(row.traceparent),
        created_at: row.at.0,
    }
}

fn ids(rows: &[QueryResult]) -> Result<HashSet<Uuid>, DbErr> {
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// Everything as one statement, which is a transaction by itself; none if there is nothing to do.
fn postgres<S: Table>(
    states: Vec<<S::Entity as EntityTrait>::Model>,
    outgoing: Vec<outbox::Model>,
    sent: &[OutboxKey],
) -> Option<Statement> {
    let mut parameters = Parameters::of(DbBackend::Postgres);
    let mut parts = Vec::new();
    let mut result = "SELECT NULL::uuid WHERE false";
    if !states.is_empty() {
        let upsert = parameters.upsert_states::<S>(states);
        parts.push(format!("written AS ({upsert} RETURNING \"{}\" AS id)", S::ORDER_ID.as_str()));
        result = "SELECT id FROM written";
    }
    if !outgoing.is_empty() {
        let insert = parameters.insert::<outbox::Entity>(outgoing);
        parts.push(format!("said AS ({insert} WHERE order_id IN (SELECT id FROM written))"));
    }
    if !sent.is_empty() {
        let orders = parameters.array(ArrayType::Uuid, sent.iter().map(|(order, ..)| order.0.into()).collect());
        let versions =
            parameters.array(ArrayType::BigInt, sent.iter().map(|(_, version, _)| (*version).into()).collect());
        let ns = parameters.array(ArrayType::SmallInt, sent.iter().map(|(.., n)| (*n).into()).collect());
        // The first condition finds rows by the index, the second says which of an order's. IS TRUE keeps it a filter with
        // a table of hashes; as a join, each row of the array would search, and sort, the whole array again.
        let of_orders = format!("order_id = ANY({orders})");
        let which = format!("((order_id, version, n) IN (SELECT * FROM unnest({orders}, {versions}, {ns}))) IS TRUE");
        parts.push(format!("gone AS (DELETE FROM outbox WHERE {of_orders} AND {which})"));
    }
    (!parts.is_empty()).then(|| parameters.statement(format!("WITH {} {result}", parts.join(", "))))
}

/// On SQLite: upserts the rows; returns the orders whose version was the one before.
async fn write_states<S: Table>(
    connection: &impl ConnectionTrait,
    states: Vec<<S::Entity as EntityTrait>::Model>,
    told: Told,
) -> Result<Option<HashSet<Uuid>>, DbErr> {
    let mut written = HashSet::new();
    for page in pages(states) {
        let orders = page.iter().map(|row| row.get(S::ORDER_ID));
        let orders: HashSet<Uuid> = orders.filter_map(|value| <Uuid as ValueType>::try_from(value).ok()).collect();
        let mut parameters = Parameters::of(DbBackend::Sqlite);
        let upsert = parameters.upsert_states::<S>(page);
        if told == Told::Who {
            let upsert = parameters.statement(format!("{upsert} RETURNING \"{}\"", S::ORDER_ID.as_str()));
            written.extend(ids(&connection.query_all_raw(upsert).await?)?);
        } else if connection.execute_raw(parameters.statement(upsert)).await?.rows_affected() == orders.len() as u64 {
            written.extend(orders);
        } else {
            return Ok(None);
        }
    }
    Ok(Some(written))
}

/// On SQLite.
async fn delete_sent(connection: &impl ConnectionTrait, sent: &[OutboxKey]) -> Result<(), DbErr> {
    for page in sent.chunks(PAGE) {
        let keys = padded(page.to_vec());
        let sql = format!("DELETE FROM outbox WHERE (order_id, version, n) IN ({})", places(keys.len(), 3));
        let values = keys.into_iter().flat_map(|(order, version, n)| [order.0.into(), version.into(), n.into()]);
        connection.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)).await?;
    }
    Ok(())
}
