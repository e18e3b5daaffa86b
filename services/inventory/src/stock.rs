//! The stock: what is on hand, and how much of it orders hold.

use crate::saga::{Event, Input, InventorySaga, Line, Stage};
use contracts::{MissingLine, Timestamp};
use runtime::audit::{Entry, record};
use runtime::database::Database;
use runtime::http::Caller;
use runtime::saga::Step;
use runtime::store::sql::{pages, upsert};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, OnConflict, Order};
use sea_orm::{ActiveValue::Set, ConnectionTrait, DatabaseTransaction, DbBackend, QueryOrder, QuerySelect};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// The largest amount of one product on hand, far from overflow.
pub const MAX_ON_HAND: i64 = 1_000_000_000_000;

/// A row of `stock`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "stock")]
pub struct Model {
    /// The product.
    #[sea_orm(primary_key, auto_increment = false)]
    pub product_id: String,
    /// Units in the house. Orders do not change it.
    pub on_hand: i64,
    /// Units that orders hold, never more than are on hand.
    pub reserved: i64,
}

/// None: stock refers to nothing.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Units that a further order can have.
    pub fn available(&self) -> i64 {
        self.on_hand - self.reserved
    }
}

/// Stock in memory, by product, while it is locked.
pub type Shelves = BTreeMap<String, Model>;

/// Takes all of these lines off the shelves, or none: then it says of what there is too little. Lines of one product
/// count together.
pub fn allocate(shelves: &mut Shelves, lines: &[Line]) -> Result<(), Vec<MissingLine>> {
    let needed = totals(lines);
    let available = |product: &str| shelves.get(product).map_or(0, Model::available);
    let missing: Vec<MissingLine> = needed
        .iter()
        .filter(|(product, quantity)| available(product) < **quantity)
        .map(|(product, quantity)| MissingLine {
            product_id: (*product).to_owned(),
            requested_quantity: *quantity,
            available_quantity: available(product),
        })
        .collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    change(shelves, &needed, 1);
    Ok(())
}

/// Puts these lines back.
pub fn release(shelves: &mut Shelves, lines: &[Line]) {
    change(shelves, &totals(lines), -1);
}

fn totals(lines: &[Line]) -> BTreeMap<&str, i64> {
    let mut totals = BTreeMap::new();
    for line in lines {
        *totals.entry(line.product_id.as_str()).or_insert(0) += line.quantity;
    }
    totals
}

fn change(shelves: &mut Shelves, totals: &BTreeMap<&str, i64>, sign: i64) {
    for (product, quantity) in totals {
        if let Some(shelf) = shelves.get_mut(*product) {
            shelf.reserved += sign * quantity;
        }
    }
}

/// Decides the steps that need the stock, and writes what they changed of it. Each product's row is locked once, in
/// the order of the products, whatever the number of orders in the batch.
pub async fn settle(
    saga: &InventorySaga,
    transaction: &DatabaseTransaction,
    steps: &mut [Step<InventorySaga>],
) -> Result<(), DbErr> {
    let products = products(steps);
    if products.is_empty() {
        return Ok(());
    }
    let before = lock(transaction, products).await?;
    let mut shelves = before.clone();
    decide(saga, &mut shelves, steps);
    let changed = shelves.into_iter().filter(|(product, shelf)| before.get(product) != Some(shelf));
    write_reserved(transaction, changed.map(|(_, shelf)| shelf).collect()).await
}

/// Whether a step needs the stock.
pub fn settles(step: &Step<InventorySaga>) -> bool {
    releases(step) || allocates(step)
}

fn releases(step: &Step<InventorySaga>) -> bool {
    step.events.iter().any(|event| matches!(event, Event::Released(_)))
}

fn allocates(step: &Step<InventorySaga>) -> bool {
    step.next.state.stage == Stage::Allocating
}

/// The products whose stock these steps need.
pub fn products(steps: &[Step<InventorySaga>]) -> BTreeSet<String> {
    let needing = steps.iter().filter(|step| settles(step));
    needing.flat_map(|step| step.next.state.lines.iter().map(|line| line.product_id.clone())).collect()
}

/// Decides the steps that need the stock, which is locked: first what is released, then what is held.
pub fn decide(saga: &InventorySaga, shelves: &mut Shelves, steps: &mut [Step<InventorySaga>]) {
    for step in steps.iter().filter(|step| releases(step)) {
        release(shelves, &step.next.state.lines);
    }
    for step in steps.iter_mut().filter(|step| allocates(step)) {
        let input = match allocate(shelves, &step.next.state.lines) {
            Ok(()) => Input::StockSuffices,
            Err(missing) => Input::StockShort(missing),
        };
        step.follow(saga, &input);
    }
}

/// The rows of these products, locked until the transaction ends.
async fn lock(transaction: &DatabaseTransaction, products: BTreeSet<String>) -> Result<Shelves, DbErr> {
    let products: Vec<String> = products.into_iter().collect();
    let mut shelves = Shelves::new();
    // In the order of their bytes, as the pages are: by the database's collation, two replicas could wait for each other.
    let is_postgres = transaction.get_database_backend() == DbBackend::Postgres;
    let by_bytes = Expr::cust(if is_postgres { "product_id COLLATE \"C\"" } else { "product_id" });
    for page in pages(products) {
        let rows = Entity::find()
            .filter(Column::ProductId.is_in(page))
            .order_by(by_bytes.clone(), Order::Asc)
            // SQLite has no such lock; there the transaction is the only writer from its first moment.
            .lock_exclusive()
            .all(transaction)
            .await?;
        shelves.extend(rows.into_iter().map(|row| (row.product_id.clone(), row)));
    }
    Ok(shelves)
}

/// Writes what is reserved of products whose rows are locked.
async fn write_reserved(transaction: &DatabaseTransaction, rows: Vec<Model>) -> Result<(), DbErr> {
    upsert::<Entity>(transaction, rows, &[Column::ProductId], &[Column::Reserved]).await
}

/// Writes the stock that a system begins with, if there is none at all.
pub async fn write_initial(database: &Database, stock: &[(String, i64)]) -> Result<(), DbErr> {
    let transaction = database.begin().await?;
    if !stock.is_empty() && Entity::find().one(&transaction).await?.is_none() {
        // A replica that starts at the same moment adds the same.
        add(&transaction, stock.iter().cloned()).await?;
    }
    transaction.commit().await
}

/// Adds products that are not there yet; those that are keep what they have.
async fn add(
    transaction: &DatabaseTransaction,
    products: impl IntoIterator<Item = (String, i64)>,
) -> Result<(), DbErr> {
    let rows = products.into_iter().map(|(product_id, on_hand)| ActiveModel {
        product_id: Set(product_id),
        on_hand: Set(on_hand),
        reserved: Set(0),
    });
    let keep = OnConflict::column(Column::ProductId).do_nothing().to_owned();
    Entity::insert_many(rows).on_conflict(keep).exec_without_returning(transaction).await?;
    Ok(())
}

/// Why the stock of a product was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Unchanged {
    /// It is not known.
    #[error("there is no stock of {0}")]
    Unknown(String),
    /// More is held than would be left, or more would be on hand than can be counted.
    #[error("{on_hand} on hand is not possible: it must be from {reserved}, which orders hold, to {MAX_ON_HAND}")]
    Impossible {
        /// What would be on hand.
        on_hand: i64,
        /// What orders hold.
        reserved: i64,
    },
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// A change of what is on hand of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// To so many, also of a product that is new.
    Set(i64),
    /// By so many more, or fewer.
    Adjust(i64),
}

/// Who changes the stock, when, and why.
#[derive(Clone, Debug)]
pub struct Author {
    /// Who.
    pub caller: Caller,
    /// When.
    pub at: Timestamp,
    /// Why, in the caller's words.
    pub reason: Option<String>,
}

/// Changes what is on hand of a product, and notes who did. Not to be cut off: see [`Database::begin`].
pub async fn change_on_hand(
    database: &Database,
    product_id: String,
    change: Change,
    author: Author,
) -> Result<Model, Unchanged> {
    let transaction = database.begin().await?;
    if let Change::Set(_) = change {
        // A product that is new gets its row first, so that there is something to lock.
        add(&transaction, [(product_id.clone(), 0)]).await?;
    }
    let row = lock(&transaction, BTreeSet::from([product_id.clone()])).await?.remove(&product_id);
    let before = row.as_ref().map_or(0, |row| row.on_hand);
    let changed = changed(row, product_id, change)?;
    let by_id = Entity::update_many().filter(Column::ProductId.eq(&changed.product_id));
    by_id.col_expr(Column::OnHand, Expr::val(changed.on_hand)).exec(&transaction).await?;
    let entry = Entry {
        subject: format!("stock/{}", changed.product_id),
        action: match change {
            Change::Set(_) => "stock.set",
            Change::Adjust(_) => "stock.adjust",
        },
        detail: json!({"before": before, "onHand": changed.on_hand}),
        reason: author.reason,
    };
    record(&transaction, &author.caller, author.at, entry).await?;
    transaction.commit().await?;
    Ok(changed)
}

fn changed(row: Option<Model>, product_id: String, change: Change) -> Result<Model, Unchanged> {
    let reserved = row.as_ref().map_or(0, |row| row.reserved);
    let on_hand = match (change, row) {
        (Change::Set(on_hand), _) => on_hand,
        (Change::Adjust(delta), Some(row)) => row.on_hand.saturating_add(delta),
        (Change::Adjust(_), None) => return Err(Unchanged::Unknown(product_id)),
    };
    if !(reserved..=MAX_ON_HAND).contains(&on_hand) {
        return Err(Unchanged::Impossible { on_hand, reserved });
    }
    Ok(Model { product_id, on_hand, reserved })
}

#[cfg(test)]
mod tests;
