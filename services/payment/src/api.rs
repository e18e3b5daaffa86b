//! The HTTP API of payment-service.

mod view;

use crate::saga::{Input, PaymentSaga, Wish};
use crate::store::{Column, Entity, Model};
use contracts::OrderId;
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi, Tags};
use runtime::actors::Wiring;
use runtime::audit::{Entry, record_first};
use runtime::database::Database;
use runtime::http::{Caller, CorrelationId, JsonBody, MOST, Page, Refusal, Words, wish};
use runtime::saga::Instance;
use runtime::store::sql::{Table, before};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;
use view::{PaymentView, view};

/// The routes.
pub struct Api {
    database: Database,
    wiring: Arc<Wiring<PaymentSaga>>,
}

#[derive(Tags)]
enum Tag {
    /// What was charged and given back.
    Payments,
    /// For those who look after payments that do not settle by themselves.
    Operators,
}

/// What an operator says.
#[derive(Clone, Debug, Object, Deserialize)]
#[oai(example)]
struct Note {
    /// In the operator's words. 1 to 200 characters.
    note: Words,
}

impl Example for Note {
    fn example() -> Self {
        Note { note: "given back by bank transfer 4711".into() }
    }
}

impl Note {
    fn check(self) -> Result<String, Refusal> {
        self.note.check("/note")
    }
}

/// An operator's request that was taken on.
#[derive(ApiResponse)]
enum Accepted {
    /// It is committed, or it was before; so stands the payment now.
    #[oai(status = 202)]
    Accepted(Json<PaymentView>),
}

/// Payments.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
struct Payments {
    /// The payments that match: an order has at most one.
    payments: Vec<PaymentView>,
    /// Where the list goes on, if it does: the `cursor` of the next request.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

fn read(row: Model) -> Result<Instance<PaymentSaga>, Refusal> {
    PaymentSaga::read(row).map_err(Refusal::damaged)
}

#[OpenApi]
impl Api {
    /// The payments of an order, those that need attention, or all.
    ///
    /// Newest first.
    #[oai(path = "/api/payments", method = "get", tag = "Tag::Payments")]
    async fn list(
        &self,
        /// The order.
        #[oai(name = "orderId")]
        order_id: Query<Option<Uuid>>,
        /// Only payments that somebody has to look at.
        attention: Query<Option<bool>>,
        /// How many, from 1 to 100; 100, if it is not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u64>>,
        /// `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<Payments>, Refusal> {
        let attention = attention.0.unwrap_or(false);
        let page = Page::of(Some(limit.0.unwrap_or(MOST)), cursor.0.as_deref())?;
        let mut wanted = Entity::find().limit(page.limit + 1);
        let by_moment = attention || order_id.0.is_some();
        if by_moment {
            wanted = wanted.order_by_desc(Column::CreatedAt);
        }
        if let Some((at, order)) = page.behind {
            wanted = wanted.filter(match by_moment {
                true => before([Column::CreatedAt, Column::OrderId], [at.into(), order.into()]),
                false => Column::OrderId.lt(order),
            });
        }
        // An order's id begins with its time, and has an index whatever is asked.
        wanted = wanted.order_by_desc(Column::OrderId);
        if attention {
            wanted = wanted.filter(Column::Attention.is_not_null());
        }
        if let Some(order) = order_id.0 {
            wanted = wanted.filter(Column::OrderId.eq(order));
        }
        let mut rows = wanted.all(&self.database.queries).await?;
        let next_cursor = page.cut(&mut rows, |row| (row.created_at, row.order_id));
        let instances: Vec<_> = rows.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Json(Payments { payments: instances.into_iter().filter_map(view).collect(), next_cursor }))
    }

    /// Read a payment.
    #[oai(path = "/api/payments/:paymentId", method = "get", tag = "Tag::Payments")]
    async fn read(
        &self,
        /// The payment.
        #[oai(name = "paymentId")]
        payment_id: Path<String>,
    ) -> Result<Json<PaymentView>, Refusal> {
        let payment = self.find(&payment_id.0).await?;
        view(payment).map(Json).ok_or_else(|| unknown(&payment_id.0))
    }

    /// Ask the provider for a refund again, and now.
    ///
    /// Also after the provider has refused it. Possible while a refund is under way; 409 otherwise. Once the money is
    /// given back it changes nothing.
    #[oai(path = "/api/payments/:paymentId/refund/retry", method = "post", tag = "Tag::Operators")]
    async fn retry_refund(
        &self,
        caller: Data<&Caller>,
        /// The payment.
        #[oai(name = "paymentId")]
        payment_id: Path<String>,
        /// For the logs; without it the request gets a new UUID.
        #[oai(name = "X-Correlation-Id")]
        correlation_id: Header<Option<CorrelationId>>,
        /// W3C trace context.
        traceparent: Header<Option<String>>,
    ) -> Result<Accepted, Refusal> {
        self.take(&caller, &payment_id.0, Wish::RetryRefund, correlation_id.0, traceparent.0).await
    }

    /// Say that the money was given back by other means.
    ///
    /// The payment is REFUNDED and `payment.refunded` goes out, once; the provider is not asked any more. Possible
    /// while a refund of a charged payment is under way; 409 otherwise. Once the money is given back it changes nothing.
    #[oai(path = "/api/payments/:paymentId/refund/resolve", method = "post", tag = "Tag::Operators")]
    async fn resolve_refund(
        &self,
        caller: Data<&Caller>,
        /// The payment.
        #[oai(name = "paymentId")]
        payment_id: Path<String>,
        /// For the logs; without it the request gets a new UUID.
        #[oai(name = "X-Correlation-Id")]
        correlation_id: Header<Option<CorrelationId>>,
        /// W3C trace context.
        traceparent: Header<Option<String>>,
        note: JsonBody<Note>,
    ) -> Result<Accepted, Refusal> {
        let wish = Wish::ResolveRefund(note.0.check()?);
        self.take(&caller, &payment_id.0, wish, correlation_id.0, traceparent.0).await
    }

    /// Say that somebody has looked at it.
    ///
    /// At refund requests that were of something else than was charged (`REQUEST_REFUSED`), and for which no money was
    /// moved; or at money that may be back twice (`REFUNDED_TWICE`). 409 if the payment never needed it.
    #[oai(path = "/api/payments/:paymentId/attention/resolve", method = "post", tag = "Tag::Operators")]
    async fn acknowledge(
        &self,
        caller: Data<&Caller>,
        /// The payment.
        #[oai(name = "paymentId")]
        payment_id: Path<String>,
        /// For the logs; without it the request gets a new UUID.
        #[oai(name = "X-Correlation-Id")]
        correlation_id: Header<Option<CorrelationId>>,
        /// W3C trace context.
        traceparent: Header<Option<String>>,
        note: JsonBody<Note>,
    ) -> Result<Accepted, Refusal> {
        let wish = Wish::Acknowledge(note.0.check()?);
        self.take(&caller, &payment_id.0, wish, correlation_id.0, traceparent.0).await
    }
}

fn unknown(payment_id: &str) -> Refusal {
    Refusal::not_found(format!("there is no payment {payment_id}"))
}

/// The audit entry of a wish.
fn asked(payment_id: &str, order: OrderId, wish: &Wish) -> Entry {
    let (action, reason) = match wish {
        Wish::RetryRefund => ("payment.refund.retry", None),
        Wish::ResolveRefund(note) => ("payment.refund.resolve", Some(note.clone())),
        Wish::Acknowledge(note) => ("payment.attention.resolve", Some(note.clone())),
    };
    Entry { subject: format!("payment/{payment_id}"), action, detail: json!({"orderId": order}), reason }
}

impl Api {
    /// The routes of this service.
    pub fn new(database: Database, wiring: Arc<Wiring<PaymentSaga>>) -> Self {
        Api { database, wiring }
    }

    async fn find(&self, payment_id: &str) -> Result<Instance<PaymentSaga>, Refusal> {
        if payment_id.contains('\0') {
            // PostgreSQL has no such text.
            return Err(unknown(payment_id));
        }
        let row = Entity::find().filter(Column::PaymentId.eq(payment_id)).one(&self.database.queries).await?;
        row.map(read).transpose()?.ok_or_else(|| unknown(payment_id))
    }

    /// Gives an operator's wish to the payment. It is taken while the provider is away, too: that is when it is needed.
    ///
    /// It is in the audit first: a crash in between leaves an entry without a change, never a change without an entry.
    async fn take(
        &self,
        caller: &Caller,
        payment_id: &str,
        wanted: Wish,
        correlation_id: Option<CorrelationId>,
        traceparent: Option<String>,
    ) -> Result<Accepted, Refusal> {
        let found = self.find(payment_id).await?;
        let order: OrderId = found.order;
        view(found).ok_or_else(|| unknown(payment_id))?;
        let entry = asked(payment_id, order, &wanted);
        record_first(&self.database, caller, self.wiring.clock.now(), entry.clone()).await?;
        let (input, said) = (Input::Operator(wanted), (correlation_id, traceparent));
        match wish(&self.wiring, order, input, said, &format!("/api/payments/{payment_id}")).await? {
            Ok(instance) => view(Arc::unwrap_or_clone(instance))
                .map(|payment| Accepted::Accepted(Json(payment)))
                .ok_or_else(|| unknown(payment_id)),
            Err(why) => {
                let refused = Entry { detail: json!({"orderId": order, "refused": why.to_string()}), ..entry };
                record_first(&self.database, caller, self.wiring.clock.now(), refused).await?;
                Err(Refusal::conflict(format!("payment {payment_id}: {why}")))
            }
        }
    }
}
