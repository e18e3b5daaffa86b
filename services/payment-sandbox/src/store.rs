//! The ledger as rows. An answer is given only after its entry is committed.

use crate::ledger::{Answer, Book, Entry, Kind, Outcome, Terms, Transfer};
use async_trait::async_trait;
use contracts::{Money, Timestamp};
use runtime::actors::group_commit::Batch;
use runtime::clock::Clock;
use runtime::database::Database;
use runtime::saga::Named;
use runtime::store::StoreError;
use runtime::store::sql::{padded, pages};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{Condition, FromQueryResult, QueryOrder, QuerySelect};
use std::sync::Arc;

/// A row of `entries`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "entries")]
pub struct Model {
    /// Its place in the books.
    #[sea_orm(primary_key)]
    pub sequence: i64,
    /// A [`Kind`], by name. Unique together with the key.
    pub kind: String,
    /// The idempotency key.
    pub key: String,
    /// Whose money.
    pub customer_id: String,
    /// Ten-thousandths.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// What is paid for.
    pub reference: String,
    /// An [`Outcome`], by name.
    pub outcome: String,
    /// Why it was declined or refused.
    pub reason: Option<String>,
    /// How often the key was asked for this.
    pub asked: i64,
    /// How often the key was asked for something else.
    pub conflicts: i64,
    /// When it was first asked for, in microseconds since 1970.
    pub created_at: i64,
}

/// None: entries refer to nothing.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    fn read(self) -> Result<Entry, StoreError> {
        let damaged = |message: String| StoreError { message, transient: false, damaged: false };
        Ok(Entry {
            transfer: Transfer {
                kind: Kind::named(&self.kind).map_err(damaged)?,
                key: self.key,
                customer_id: self.customer_id,
                amount: Money::from_ten_thousandths(self.amount),
                currency: self.currency,
                reference: self.reference,
            },
            outcome: Outcome::named(&self.outcome).map_err(damaged)?,
            reason: self.reason,
            asked: self.asked,
            conflicts: self.conflicts,
            at: Timestamp(self.created_at),
        })
    }
}

fn row_of(entry: &Entry) -> ActiveModel {
    let Entry { transfer, outcome, reason, asked, conflicts, at } = entry.clone();
    ActiveModel {
        sequence: NotSet,
        kind: Set(transfer.kind.name().to_owned()),
        key: Set(transfer.key),
        customer_id: Set(transfer.customer_id),
        amount: Set(transfer.amount.ten_thousandths()),
        currency: Set(transfer.currency),
        reference: Set(transfer.reference),
        outcome: Set(outcome.name().to_owned()),
        reason: Set(reason),
        asked: Set(asked),
        conflicts: Set(conflicts),
        created_at: Set(at.0),
    }
}

/// The ledger.
pub struct Ledger {
    /// Where it is kept.
    pub database: Database,
    /// Which charges are declined.
    pub terms: Terms,
    /// For the moment of an entry.
    pub clock: Arc<dyn Clock>,
}

/// What was asked of one currency with one outcome, summed up.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct Sum {
    /// An [`Outcome`], by name.
    pub outcome: String,
    /// ISO 4217.
    pub currency: String,
    /// Entries.
    pub entries: i64,
    /// Of their amounts, the whole units.
    pub units: i64,
    /// Of their amounts, the ten-thousandths behind the point. Apart from the units, since the sum of many large
    /// amounts is beyond 64 bits of ten-thousandths.
    pub ten_thousandths: i64,
    /// Requests that repeated an earlier one.
    pub repeats: i64,
    /// Requests under the key of another one.
    pub conflicts: i64,
}

impl Ledger {
    /// Entries in the order of the books, behind this place.
    pub async fn entries(&self, after: i64, limit: u64) -> Result<Vec<(i64, Entry)>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Sequence.gt(after))
            .order_by_asc(Column::Sequence)
            .limit(limit)
            .all(&self.database.read)
            .await?;
        rows.into_iter().map(|row| Ok((row.sequence, row.read()?))).collect()
    }

    /// The books summed up.
    pub async fn sums(&self) -> Result<Vec<Sum>, StoreError> {
        let sums = Entity::find()
            .select_only()
            .columns([Column::Outcome, Column::Currency])
            .column_as(Expr::cust("COUNT(*)"), "entries")
            .column_as(Expr::cust("SUM(amount / 10000)"), "units")
            .column_as(Expr::cust("SUM(amount % 10000)"), "ten_thousandths")
            .column_as(Expr::cust("SUM(asked - 1)"), "repeats")
            .column_as(Expr::cust("SUM(conflicts)"), "conflicts")
            .group_by(Column::Outcome)
            .group_by(Column::Currency)
            .into_model::<Sum>()
            .all(&self.database.read)
            .await?;
        Ok(sums)
    }

    async fn settle(&self, transfers: Vec<Transfer>) -> Result<Vec<Answer>, StoreError> {
        let transaction = self.database.begin().await?;
        let keys = padded(transfers.iter().map(|transfer| transfer.key.clone()).collect());
        let references: Vec<String> =
            transfers.iter().filter(|t| t.kind == Kind::Refund).map(|t| t.reference.clone()).collect();
        let wanted = Condition::any()
            .add(Column::Key.is_in(keys))
            .add_option((!references.is_empty()).then(|| Column::Reference.is_in(padded(references))));
        let rows = Entity::find().filter(wanted).order_by_asc(Column::Sequence).all(&transaction).await?;
        let mut book = Book::new(rows.into_iter().map(Model::read).collect::<Result<_, _>>()?);
        let now = self.clock.now();
        let answers = transfers.into_iter().map(|transfer| book.take(&self.terms, transfer, now)).collect();
        let rows: Vec<ActiveModel> = book.changed().map(row_of).collect();
        let again = OnConflict::columns([Column::Key, Column::Kind])
            .update_columns([Column::Asked, Column::Conflicts])
            .to_owned();
        for page in pages(rows) {
            let insert = Entity::insert_many(page).on_conflict(again.clone());
            insert.exec_without_returning(&transaction).await?;
        }
        transaction.commit().await?;
        Ok(answers)
    }
}

/// Settles many requests in one transaction.
#[async_trait]
impl Batch for Ledger {
    type Item = Transfer;
    type Answer = Result<Answer, StoreError>;
    const LIMIT: usize = 500;

    async fn run(&self, transfers: Vec<Transfer>) -> Vec<Result<Answer, StoreError>> {
        let count = transfers.len();
        match self.settle(transfers).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            // Who asks again under the same key learns what was committed, if anything was.
            Err(error) => vec![Err(error); count],
        }
    }
}
