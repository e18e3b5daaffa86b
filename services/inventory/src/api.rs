//! The HTTP API of inventory-service.

use crate::saga::{InventorySaga, Stage};
use crate::stock::{self, Author, Change, MAX_ON_HAND, Unchanged, change_on_hand};
use crate::store;
use contracts::ReservationId;
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi, Tags};
use runtime::clock::Clock;
use runtime::database::{Database, uncancelled};
use runtime::http::{Caller, FieldFault, Fields, JsonBody, Refusal, Words};
use runtime::saga::Instance;
use runtime::store::sql::Table;
use sea_orm::{EntityTrait, QueryOrder};
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// The routes.
pub struct Api {
    database: Database,
    clock: Arc<dyn Clock>,
    /// The turn of who changes what is on hand.
    changing: Arc<Semaphore>,
}

#[derive(Tags)]
enum Tag {
    /// What there is.
    Stock,
    /// What orders hold.
    Reservations,
}

/// The stock of one product.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "Stock")]
struct StockView {
    /// The product.
    product_id: String,
    /// Units in the house. Orders do not change it.
    on_hand: i64,
    /// Units that orders hold.
    reserved: i64,
    /// Units that a further order can have.
    available: i64,
}

impl From<stock::Model> for StockView {
    fn from(row: stock::Model) -> Self {
        let available = row.available();
        StockView { product_id: row.product_id, on_hand: row.on_hand, reserved: row.reserved, available }
    }
}

/// The stock of every product.
#[derive(Clone, Debug, Object)]
struct StockList {
    /// By product.
    stock: Vec<StockView>,
}

/// What is on hand of a product from now on.
#[derive(Clone, Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct NewOnHand {
    /// Units, from what orders hold to 1000000000000.
    #[oai(validator(minimum(value = "0"), maximum(value = "1000000000000")))]
    on_hand: i64,
    /// Why. 1 to 200 characters.
    #[oai(nullable)]
    #[serde(default)]
    reason: Option<Words>,
}

impl Example for NewOnHand {
    fn example() -> Self {
        NewOnHand { on_hand: 500, reason: Some("counted".into()) }
    }
}

/// A change of what is on hand.
#[derive(Clone, Debug, Object, Deserialize)]
#[oai(example)]
struct Adjustment {
    /// Units that came, or (negative) went; not 0.
    #[oai(validator(minimum(value = "-1000000000000"), maximum(value = "1000000000000")))]
    delta: i64,
    /// Why.
    reason: Words,
}

impl Example for Adjustment {
    fn example() -> Self {
        Adjustment { delta: -3, reason: "broken in the house".into() }
    }
}

/// How a reservation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
enum ReservationStatus {
    /// Every line is held.
    Reserved,
    /// What was held is free again.
    Released,
    /// Nothing is held, since not everything could be.
    Failed,
}

/// One line of a reservation.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
struct ReservationLine {
    /// The product.
    product_id: String,
    /// How many.
    quantity: i64,
}

/// What an order holds, held, or could not have.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "Reservation")]
struct ReservationView {
    /// The reservation.
    reservation_id: String,
    /// The order.
    order_id: Uuid,
    /// How it stands.
    status: ReservationStatus,
    /// What the order needs.
    items: Vec<ReservationLine>,
    /// Why it failed or was released.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<String>,
    /// Ties together all that came of the order, over all services.
    correlation_id: String,
    /// ISO 8601, UTC.
    created_at: String,
    /// ISO 8601, UTC.
    updated_at: String,
}

/// Reservations.
#[derive(Clone, Debug, Object)]
struct Reservations {
    /// The reservations that match: an order has at most one.
    reservations: Vec<ReservationView>,
}

/// A reservation as it is shown; none for orders that are known here but have not come to the stock.
fn view(row: store::Model) -> Result<Option<ReservationView>, Refusal> {
    let Instance { order, state: reservation, correlation_id, created_at, updated_at, .. } =
        InventorySaga::read(row).map_err(Refusal::damaged)?;
    let status = match reservation.stage {
        Stage::Unknown | Stage::AwaitingPayment | Stage::AwaitingOrder | Stage::Allocating | Stage::Closed => {
            return Ok(None);
        }
        Stage::Reserved => ReservationStatus::Reserved,
        Stage::Released => ReservationStatus::Released,
        Stage::Failed => ReservationStatus::Failed,
    };
    let lines = reservation.lines.into_iter();
    Ok(Some(ReservationView {
        reservation_id: ReservationId::of(order).0,
        order_id: order.0,
        status,
        items: lines.map(|line| ReservationLine { product_id: line.product_id, quantity: line.quantity }).collect(),
        reason: reservation.reason,
        correlation_id,
        created_at: created_at.to_string(),
        updated_at: updated_at.to_string(),
    }))
}

#[OpenApi]
impl Api {
    /// The stock of every product.
    #[oai(path = "/api/stock", method = "get", tag = "Tag::Stock")]
    async fn list_stock(&self) -> Result<Json<StockList>, Refusal> {
        let rows = stock::Entity::find().order_by_asc(stock::Column::ProductId).all(&self.database.queries).await?;
        Ok(Json(StockList { stock: rows.into_iter().map(StockView::from).collect() }))
    }

    /// The stock of one product.
    #[oai(path = "/api/stock/:productId", method = "get", tag = "Tag::Stock")]
    async fn read_stock(
        &self,
        /// The product.
        #[oai(name = "productId")]
        product_id: Path<Words>,
    ) -> Result<Json<StockView>, Refusal> {
        let product_id = product_id.0.check("productId")?;
        let row = stock::Entity::find_by_id(product_id.clone()).one(&self.database.queries).await?;
        let row = row.ok_or(Unchanged::Unknown(product_id))?;
        Ok(Json(row.into()))
    }

    /// Set what is on hand of a product, also of one that is new.
    ///
    /// Who did is in the audit, with the reason, as all changes of the product: `GET /api/audit?subject=stock/P1`.
    #[oai(path = "/api/stock/:productId", method = "put", tag = "Tag::Stock")]
    async fn set_stock(
        &self,
        caller: Data<&Caller>,
        /// The product.
        #[oai(name = "productId")]
        product_id: Path<Words>,
        body: JsonBody<NewOnHand>,
    ) -> Result<Json<StockView>, Refusal> {
        let NewOnHand { on_hand, reason } = body.0;
        let mut fields = Fields::default();
        fields.check_text(&product_id.0.0, "productId");
        fields.check_range(on_hand, 0..=MAX_ON_HAND, "/onHand");
        let reason = fields.check_words(reason, "/reason");
        fields.finish()?;
        self.change(product_id.0.0, Change::Set(on_hand), &caller, reason).await
    }

    /// Change what is on hand of a product, with a reason.
    ///
    /// Who did is in the audit, as all changes of the product: `GET /api/audit?subject=stock/P1`.
    #[oai(path = "/api/stock/:productId/adjustments", method = "post", tag = "Tag::Stock")]
    async fn adjust_stock(
        &self,
        caller: Data<&Caller>,
        /// The product.
        #[oai(name = "productId")]
        product_id: Path<Words>,
        body: JsonBody<Adjustment>,
    ) -> Result<Json<StockView>, Refusal> {
        let (delta, reason) = (body.0.delta, body.0.reason.0);
        let mut fields = Fields::default();
        fields.check_text(&product_id.0.0, "productId");
        fields.check_text(&reason, "/reason");
        let within = (-MAX_ON_HAND..=MAX_ON_HAND).contains(&delta);
        fields.check(
            delta != 0 && within,
            "/delta",
            FieldFault::OutOfRange,
            format!("must not be 0, nor beyond {MAX_ON_HAND}"),
        );
        fields.finish()?;
        self.change(product_id.0.0, Change::Adjust(delta), &caller, Some(reason)).await
    }

    /// What an order holds.
    #[oai(path = "/api/reservations", method = "get", tag = "Tag::Reservations")]
    async fn list_reservations(
        &self,
        /// The order.
        #[oai(name = "orderId")]
        order_id: Query<Uuid>,
    ) -> Result<Json<Reservations>, Refusal> {
        let row = store::Entity::find_by_id(order_id.0).one(&self.database.queries).await?;
        let reservations = row.map(view).transpose()?.flatten().into_iter().collect();
        Ok(Json(Reservations { reservations }))
    }
}

impl Api {
    /// The routes of this service.
    pub fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Api { database, clock, changing: Arc::new(Semaphore::new(1)) }
    }

    async fn change(
        &self,
        product_id: String,
        change: Change,
        caller: &Caller,
        reason: Option<String>,
    ) -> Result<Json<StockView>, Refusal> {
        let author = Author { caller: caller.clone(), at: self.clock.now(), reason };
        // One after the other, so that however many there are the journal finds a connection. The turn is the change's,
        // which goes on when its caller has gone.
        let turn = Arc::clone(&self.changing).acquire_owned().await;
        let database = self.database.clone();
        let changed = uncancelled(async move {
            let _turn = turn;
            change_on_hand(&database, product_id, change, author).await
        });
        Ok(Json(changed.await?.into()))
    }
}

impl From<Unchanged> for Refusal {
    fn from(why: Unchanged) -> Self {
        match why {
            Unchanged::Unknown(_) => Refusal::not_found(why.to_string()),
            Unchanged::Impossible { .. } => Refusal::conflict(why.to_string()),
            Unchanged::Database(error) => error.into(),
        }
    }
}
