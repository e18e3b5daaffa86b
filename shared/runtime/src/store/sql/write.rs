//! Many rows in one statement, on PostgreSQL and on SQLite.
//!
//! PostgreSQL gets each column as one array: a statement has a few parameters whatever the number of rows, so that it
//! is built, sent, and planned in next to no time. SQLite gets pages of rows (`VALUES`), since it has no arrays.

use super::{PAGE, Table, outbox, padded, pages};
use crate::saga::Outgoing;
use crate::store::OutboxKey;
use sea_orm::sea_query::{ArrayType, Expr, ExprTrait, OnConflict, Query, ValueType};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ConnectionTrait, DbBackend, DbErr, EntityTrait, IdenStatic, IntoActiveModel,
    Iterable, QueryFilter, QueryResult, QueryTrait, Statement, Value,
};
use std::collections::HashSet;
use uuid::Uuid;

/// The parameters of a statement for PostgreSQL.
#[derive(Default)]
struct Parameters(Vec<Value>);

impl Parameters {
    /// Adds an array, and returns what it is called.
    fn array(&mut self, kind: ArrayType, values: Vec<Value>) -> String {
        self.0.push(Value::Array(kind, Some(Box::new(values))));
        format!("${}", self.0.len())
    }

    /// Adds rows, and returns `INSERT INTO table (...) SELECT ... FROM unnest(...)`, which can go on.
    fn insert<A: ActiveModelTrait>(&mut self, mut rows: Vec<A>) -> String {
        let (mut columns, mut selected, mut aliases, mut arrays) = (vec![], vec![], vec![], vec![]);
        for column in <A::Entity as EntityTrait>::Column::iter() {
            let name = column.as_str();
            let mut values: Vec<Value> = rows.iter_mut().filter_map(|row| row.take(column).into_value()).collect();
            let Some(kind) = values.first().map(Value::array_type) else { continue };
            let is_null: Vec<bool> = values.iter().map(|value| *value == value.as_null()).collect();
            columns.push(format!("\"{name}\""));
            aliases.push(format!("\"{name}\""));
            if is_null.contains(&true) {
                // sea-query's arrays hold no nulls, so these come beside them.
                for (value, _) in values.iter_mut().zip(&is_null).filter(|(_, is_null)| **is_null) {
                    *value = value.dummy_value();
                }
                arrays.push(self.array(kind, values));
                arrays.push(self.array(ArrayType::Bool, is_null.into_iter().map(Value::from).collect()));
                aliases.push(format!("\"{name} is null\""));
                selected.push(format!("CASE WHEN \"{name} is null\" THEN NULL ELSE \"{name}\" END"));
            } else {
                arrays.push(self.array(kind, values));
                selected.push(format!("\"{name}\""));
            }
        }
        let [columns, selected, aliases, arrays] = [columns, selected, aliases, arrays].map(|list| list.join(", "));
        let table = table::<A::Entity>();
        format!("INSERT INTO {table} ({columns}) SELECT {selected} FROM unnest({arrays}) AS rows ({aliases})")
    }

    fn statement(self, sql: String) -> Statement {
        Statement::from_sql_and_values(DbBackend::Postgres, sql, self.0)
    }
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

/// Writes rows; of those whose `key` is there, these `columns`.
pub async fn upsert<E>(
    connection: &impl ConnectionTrait,
    rows: Vec<E::Model>,
    key: &[E::Column],
    columns: &[E::Column],
) -> Result<(), DbErr>
where
    E: EntityTrait<Model: IntoActiveModel<E::ActiveModel>, ActiveModel: Send + Sync>,
{
    let rows: Vec<E::ActiveModel> = rows.into_iter().map(IntoActiveModel::into_active_model).collect();
    if connection.get_database_backend() == DbBackend::Postgres {
        if !rows.is_empty() {
            let mut parameters = Parameters::default();
            let sql = format!("{} {}", parameters.insert(rows), overwrite(key, columns.iter().copied()));
            connection.execute_raw(parameters.statement(sql)).await?;
        }
        return Ok(());
    }
    let overwrite = OnConflict::columns(key.iter().copied()).update_columns(columns.iter().copied()).to_owned();
    for page in pages(rows) {
        let insert = E::insert_many(page).on_conflict(overwrite.clone());
        insert.exec_without_returning(connection).await?;
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
    states: Vec<<S::Entity as EntityTrait>::ActiveModel>,
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
    let rows: Vec<outbox::ActiveModel> = outgoing.filter(|row| written.contains(&row.order.0)).map(row).collect();
    for page in pages(rows) {
        outbox::Entity::insert_many(page).exec_without_returning(connection).await?;
    }
    delete_sent(connection, sent).await?;
    Ok(Some(written))
}

fn row(row: &Outgoing) -> outbox::ActiveModel {
    outbox::ActiveModel {
        order_id: Set(row.order.0),
        version: Set(row.version),
        n: Set(row.n),
        topic: Set(row.event_type.topic().to_owned()),
        event_type: Set(row.event_type.name().to_owned()),
        value: Set(row.value.clone()),
        correlation_id: Set(row.correlation_id.clone()),
        traceparent: Set(row.traceparent.clone()),
        created_at: Set(row.at.0),
    }
}

fn ids(rows: &[QueryResult]) -> Result<HashSet<Uuid>, DbErr> {
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// Everything as one statement, which is a transaction by itself; none if there is nothing to do.
fn postgres<S: Table>(
    states: Vec<<S::Entity as EntityTrait>::ActiveModel>,
    outgoing: Vec<outbox::ActiveModel>,
    sent: &[OutboxKey],
) -> Option<Statement> {
    let mut parameters = Parameters::default();
    let mut parts = Vec::new();
    let mut result = "SELECT NULL::uuid WHERE false";
    if !states.is_empty() {
        let (id, version) = (S::ORDER_ID.as_str(), S::VERSION.as_str());
        let others = <S::Entity as EntityTrait>::Column::iter().filter(|column| column.as_str() != id);
        let (insert, update) = (parameters.insert(states), overwrite(&[S::ORDER_ID], others));
        let guard = format!("{}.\"{version}\" = excluded.\"{version}\" - 1", table::<S::Entity>());
        parts.push(format!("written AS ({insert} {update} WHERE {guard} RETURNING \"{id}\" AS id)"));
        result = "SELECT id FROM written";
    }
    if !outgoing.is_empty() {
        let insert = parameters.insert(outgoing);
        parts.push(format!("said AS ({insert} WHERE order_id IN (SELECT id FROM written))"));
    }
    if !sent.is_empty() {
        let orders = parameters.array(ArrayType::Uuid, sent.iter().map(|(order, ..)| order.0.into()).collect());
        let versions =
            parameters.array(ArrayType::BigInt, sent.iter().map(|(_, version, _)| (*version).into()).collect());
        let ns = parameters.array(ArrayType::SmallInt, sent.iter().map(|(.., n)| (*n).into()).collect());
        // The first condition finds rows by the index, the second says which of an order's.
        let of_orders = format!("order_id = ANY({orders})");
        let which = format!("(order_id, version, n) IN (SELECT * FROM unnest({orders}, {versions}, {ns}))");
        parts.push(format!("gone AS (DELETE FROM outbox WHERE {of_orders} AND {which})"));
    }
    (!parts.is_empty()).then(|| parameters.statement(format!("WITH {} {result}", parts.join(", "))))
}

/// Upserts the rows; returns the orders whose version was the one before.
async fn write_states<S: Table>(
    connection: &impl ConnectionTrait,
    states: Vec<<S::Entity as EntityTrait>::ActiveModel>,
    told: Told,
) -> Result<Option<HashSet<Uuid>>, DbErr> {
    let stored_version = Expr::col((S::Entity::default(), S::VERSION));
    let columns = <S::Entity as EntityTrait>::Column::iter().filter(|column| column.as_str() != S::ORDER_ID.as_str());
    let guard = stored_version.eq(Expr::cust("excluded.version - 1"));
    let upsert = OnConflict::column(S::ORDER_ID).update_columns(columns).action_and_where(guard).to_owned();
    let mut written = HashSet::new();
    for page in pages(states) {
        let orders = page.iter().filter_map(|row| row.get(S::ORDER_ID).into_value());
        let orders: HashSet<Uuid> = orders.filter_map(|value| <Uuid as ValueType>::try_from(value).ok()).collect();
        let mut insert = S::Entity::insert_many(page).on_conflict(upsert.clone()).into_query();
        if told == Told::Who {
            insert.returning(Query::returning().column(S::ORDER_ID));
            written.extend(ids(&connection.query_all(&insert).await?)?);
        } else if connection.execute(&insert).await?.rows_affected() == orders.len() as u64 {
            written.extend(orders);
        } else {
            return Ok(None);
        }
    }
    Ok(Some(written))
}

async fn delete_sent(connection: &impl ConnectionTrait, sent: &[OutboxKey]) -> Result<(), DbErr> {
    for page in sent.chunks(PAGE) {
        let keys = padded(page.iter().map(|(order, version, n)| (order.0, *version, *n)).collect());
        let key = [outbox::Column::OrderId, outbox::Column::Version, outbox::Column::N].map(Expr::col);
        let rows = Expr::tuple(key).in_tuples(keys);
        outbox::Entity::delete_many().filter(rows).exec(connection).await?;
    }
    Ok(())
}
