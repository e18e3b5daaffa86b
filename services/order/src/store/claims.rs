//! Idempotency keys: a request that comes twice is one request.
//!
//! Before an order is placed under a key, the key is claimed for the order's id, once and for good: a unique row decides
//! races, over replicas too. Whoever comes with the same key gets the same id, and gives the same order to the same actor,
//! which takes it once. So the claim and the order need not be one transaction: a claim whose order is not there is one
//! whose request was cut off, and the next one with the key finishes it. The reply is made from the claim and the order.

use async_trait::async_trait;
use contracts::{OrderId, Timestamp};
use runtime::actors::group_commit::Batch;
use runtime::clock::Clock;
use runtime::database::Database;
use runtime::store::StoreError;
use runtime::store::sql::padded;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{OnConflict, Order, Query};
use sea_orm::{DbErr, IntoActiveModel};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// How long a claim is kept at least, in milliseconds: longer than any client tries again.
const KEPT: i64 = 48 * 3_600_000;
/// How often it is looked for claims that are older, in milliseconds.
const PURGE_EVERY: i64 = 600_000;
/// So many of them go at a time: callers wait meanwhile.
const PURGED: u64 = 1_000;

/// A row of `claims`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "claims")]
pub struct Model {
    /// A function of the caller, the operation and the key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub claim_id: Uuid,
    /// Who claims.
    pub caller: String,
    /// For what.
    pub operation: String,
    /// The key.
    pub key: String,
    /// SHA-256 of what was asked.
    pub fingerprint: Vec<u8>,
    /// The order that it is about.
    pub order_id: Uuid,
    /// The first request.
    pub request_id: Uuid,
    /// Of the first request.
    pub correlation_id: String,
    /// Microseconds since 1970.
    pub created_at: i64,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A claim to be made.
pub struct Claim {
    /// Who claims.
    pub caller: String,
    /// For what.
    pub operation: String,
    /// The key.
    pub key: String,
    /// What is asked, in a form that is the same whenever the same is asked.
    pub asked: Vec<u8>,
    /// The order that it is about, if the key is new.
    pub order: OrderId,
    /// The request that makes it.
    pub request: Uuid,
    /// Of the request.
    pub correlation_id: String,
}

impl Claim {
    fn row(&self, at: Timestamp) -> Model {
        let mut id = Sha256::new();
        for part in [&self.caller, &self.operation, &self.key] {
            id.update((part.len() as u64).to_be_bytes());
            id.update(part);
        }
        let mut first = [0; 16];
        first.copy_from_slice(&id.finalize()[..16]);
        Model {
            claim_id: uuid::Builder::from_custom_bytes(first).into_uuid(),
            caller: self.caller.clone(),
            operation: self.operation.clone(),
            key: self.key.clone(),
            fingerprint: Sha256::digest(&self.asked).to_vec(),
            order_id: self.order.0,
            request_id: self.request,
            correlation_id: self.correlation_id.clone(),
            created_at: at.0,
        }
    }

    /// The claim that stands under this key, if there is one.
    pub async fn standing(&self, database: &Database) -> Result<Option<Standing>, StoreError> {
        let asked = self.row(Timestamp::default());
        let first = Entity::find_by_id(asked.claim_id).one(&database.queries).await?;
        Ok(first.map(|first| Standing { same: first.fingerprint == asked.fingerprint, row: first }))
    }
}

/// A claim that stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// As it was made first.
    pub row: Model,
    /// Whether the same was asked then.
    pub same: bool,
}

/// Makes claims, many in one transaction.
pub struct Claims {
    /// Where they are kept.
    pub database: Database,
    /// How old they are.
    pub clock: Arc<dyn Clock>,
    /// When those that are too old last went, in microseconds since 1970.
    purged_at: AtomicI64,
}

impl Claims {
    /// Kept in this database.
    pub fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Claims { database, clock, purged_at: AtomicI64::new(0) }
    }

    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Standing>, DbErr> {
        let now = self.clock.now();
        let asked: Vec<Model> = claims.iter().map(|claim| claim.row(now)).collect();
        // Of the same key, the first in the batch.
        let mut firsts: Vec<&Model> = asked.iter().collect();
        firsts.sort_by_key(|row| row.claim_id);
        firsts.dedup_by_key(|row| row.claim_id);
        let rows = firsts.into_iter().cloned().map(Model::into_active_model);
        let ignore = OnConflict::column(Column::ClaimId).do_nothing().to_owned();
        Entity::insert_many(rows).on_conflict(ignore).exec_without_returning(self.database.writer()).await?;
        let ids = padded(asked.iter().map(|row| row.claim_id).collect());
        let stored = Entity::find().filter(Column::ClaimId.is_in(ids)).all(self.database.writer()).await?;
        let stored: HashMap<Uuid, Model> = stored.into_iter().map(|row| (row.claim_id, row)).collect();
        let standing = |row: Model| match stored.get(&row.claim_id) {
            Some(first) => Ok(Standing { same: first.fingerprint == row.fingerprint, row: first.clone() }),
            None => Err(DbErr::RecordNotFound("a claim that was just made".into())),
        };
        asked.into_iter().map(standing).collect()
    }

    /// Forgets claims that no client comes back to, the oldest first: behind every batch while there are many, and else
    /// now and then.
    async fn purge(&self) {
        let now = self.clock.now();
        if now < Timestamp(self.purged_at.load(Ordering::Relaxed)).plus_millis(PURGE_EVERY) {
            return;
        }
        let mut oldest = Query::select();
        oldest.column(Column::ClaimId).from(Entity).and_where(Column::CreatedAt.lt(now.plus_millis(-KEPT).0));
        oldest.order_by(Column::CreatedAt, Order::Asc).limit(PURGED);
        let old = Entity::delete_many().filter(Column::ClaimId.in_subquery(oldest));
        let purged = match old.exec(self.database.writer()).await {
            Ok(done) => done.rows_affected,
            Err(error) => {
                tracing::warn!(%error, "old idempotency keys are not purged; trying again later");
                0
            }
        };
        if purged < PURGED {
            self.purged_at.store(now.0, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl Batch for Claims {
    type Item = Claim;
    type Answer = Result<Standing, StoreError>;
    const LIMIT: usize = 500;

    async fn run(&self, claims: Vec<Claim>) -> Vec<Self::Answer> {
        let claimed = match self.claim(&claims).await {
            Ok(claimed) => claimed.into_iter().map(Ok).collect(),
            Err(error) => {
                let error = StoreError::from(error);
                claims.iter().map(|_| Err(error.clone())).collect()
            }
        };
        self.purge().await;
        claimed
    }
}
