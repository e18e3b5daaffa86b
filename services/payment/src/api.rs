//! The HTTP API of payment-service.

use crate::saga::{Input, PaymentSaga, Stage, Wish};
use crate::store::{Column, Entity, Model};
use contracts::{OrderId, PaymentId, RefundId};
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi, Tags};
use runtime::actors::Wiring;
use runtime::actors::order::Outcome;
use runtime::audit::{Entry, record_first};
use runtime::database::Database;
use runtime::http::{Caller, CorrelationId, Fields, JsonAmount, JsonBody, MOST, Page, Refusal, Words};
use runtime::saga::{Caused, Instance, Named, Origin};
use runtime::store::sql::{Table, before};
use runtime::trace;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How long an operator's request waits for its commit: also behind a call of the provider.
const PATIENCE: Duration = Duration::from_secs(20);

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

/// How a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
enum PaymentStatus {
    /// The provider has not answered yet.
    Pending,
    /// The customer was charged.
    Confirmed,
    /// The customer was not charged, and will not be.
    Failed,
    /// The customer has the money back.
    Refunded,
}

/// A payment.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "Payment")]
struct PaymentView {
    /// The payment.
    payment_id: String,
    /// The order that is paid for.
    order_id: Uuid,
    /// Who pays.
    customer_id: String,
    /// How much.
    amount: JsonAmount,
    /// ISO 4217.
    currency: String,
    /// How it stands.
    status: PaymentStatus,
    /// Why it failed.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<String>,
    /// The refund, if one is due or done.
    #[oai(skip_serializing_if_is_none)]
    refund: Option<RefundView>,
    /// What somebody has to look at, in words.
    #[oai(skip_serializing_if_is_none)]
    attention: Option<String>,
    /// The same as codes: `CHARGE_WITHOUT_OUTCOME`, `REFUND_WITHOUT_OUTCOME`, `REFUND_REFUSED`, `REQUEST_REFUSED`.
    #[oai(skip_serializing_if_is_empty, default)]
    attention_reasons: Vec<String>,
    /// What somebody has looked at and resolved.
    #[oai(skip_serializing_if_is_none)]
    acknowledged: Option<AcknowledgedView>,
    /// The attempts at the provider that gave no outcome, while there is none.
    #[oai(skip_serializing_if_is_none)]
    attempts: Option<AttemptsView>,
    /// Ties together all that came of the order, over all services.
    correlation_id: String,
    /// ISO 8601, UTC.
    created_at: String,
    /// ISO 8601, UTC.
    updated_at: String,
}

/// A refund of all that was charged.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "Refund")]
struct RefundView {
    /// The refund.
    refund_id: String,
    /// Why.
    reason: String,
    /// How the money was given back by other means, in the words of who said so.
    #[oai(skip_serializing_if_is_none)]
    note: Option<String>,
}

/// Refund requests that were refused, and that somebody has looked at.
#[derive(Clone, Debug, Object)]
#[oai(rename = "Acknowledged")]
struct AcknowledgedView {
    /// What was wrong with them.
    what: String,
    /// What there was to say about it.
    note: String,
}

/// Attempts at the provider that gave no outcome.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "Attempts")]
struct AttemptsView {
    /// How many.
    count: u32,
    /// What was seen of the last one.
    last_error: String,
    /// Not before this moment is the next one. ISO 8601, UTC.
    next_at: String,
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
        let mut fields = Fields::default();
        fields.check_text(&self.note.0, "/note");
        fields.finish()?;
        Ok(self.note.0)
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

/// A payment as it is shown; none for orders that are known here but were never to be paid.
fn view(instance: Instance<PaymentSaga>) -> Option<PaymentView> {
    let Instance { order, state: payment, correlation_id, created_at, updated_at, .. } = instance;
    let status = match payment.stage {
        Stage::Unknown | Stage::RefundHeld | Stage::Closed => return None,
        Stage::Charging | Stage::ChargingToRefund => PaymentStatus::Pending,
        Stage::Confirmed | Stage::Refunding | Stage::RefundRefused => PaymentStatus::Confirmed,
        Stage::Failed => PaymentStatus::Failed,
        Stage::Refunded => PaymentStatus::Refunded,
    };
    let payment_id = PaymentId::of(order);
    let refund = payment.refund.map(|refund| RefundView {
        refund_id: refund.requested_as.unwrap_or_else(|| RefundId::of(&payment_id)).0,
        reason: refund.reason,
        note: refund.note,
    });
    let texts: Vec<&str> = payment.attention.values().map(String::as_str).collect();
    let (count, next_at) = (payment.attempts, payment.retry_at.to_string());
    let attempts = payment.last_error.map(|last_error| AttemptsView { count, last_error, next_at });
    Some(PaymentView {
        payment_id: payment_id.0,
        order_id: order.0,
        customer_id: payment.customer_id,
        amount: payment.amount.into(),
        currency: payment.currency,
        status,
        reason: payment.reason,
        refund,
        attention: (!texts.is_empty()).then(|| texts.join("; ")),
        attention_reasons: payment.attention.keys().map(|concern| concern.name().to_owned()).collect(),
        acknowledged: payment.acknowledged.map(|seen| AcknowledgedView { what: seen.what, note: seen.note }),
        attempts,
        correlation_id,
        created_at: created_at.to_string(),
        updated_at: updated_at.to_string(),
    })
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

    /// Say that refused refund requests were looked at.
    ///
    /// They were of something else than was charged, and no money was moved for them. Possible while the payment needs
    /// attention for `REQUEST_REFUSED`; 409 if it never did.
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
        wish: Wish,
        correlation_id: Option<CorrelationId>,
        traceparent: Option<String>,
    ) -> Result<Accepted, Refusal> {
        let found = self.find(payment_id).await?;
        let order: OrderId = found.order;
        view(found).ok_or_else(|| unknown(payment_id))?;
        let entry = asked(payment_id, order, &wish);
        record_first(&self.database, caller, self.wiring.clock.now(), entry.clone()).await?;
        let cause = Caused {
            origin: Origin::Here,
            id: Uuid::now_v7(),
            correlation_id: correlation_id.unwrap_or_default().0,
            traceparent: Some(trace::accept(traceparent.as_deref())),
            input: Input::Operator(wish),
            expected: None,
        };
        let in_doubt = || {
            let detail = format!("it is not known whether this was done; GET /api/payments/{payment_id} tells");
            Refusal::unavailable(detail)
        };
        let taken = tokio::time::timeout(PATIENCE, self.wiring.order(order, cause)).await;
        match taken.map_err(|_| in_doubt())?.map_err(|_| in_doubt())? {
            Outcome::Applied(instance) | Outcome::Nothing(_, instance) => view(Arc::unwrap_or_clone(instance))
                .map(|payment| Accepted::Accepted(Json(payment)))
                .ok_or_else(|| unknown(payment_id)),
            Outcome::Rejected(why) => {
                let refused = Entry { detail: json!({"orderId": order, "refused": why.to_string()}), ..entry };
                record_first(&self.database, caller, self.wiring.clock.now(), refused).await?;
                Err(Refusal::conflict(format!("payment {payment_id}: {why}")))
            }
            Outcome::Refused(why) => {
                tracing::error!(order_id = %order, why, "a payment could not be stored");
                Err(Refusal::unavailable("the payment could not be stored"))
            }
            Outcome::Unavailable => Err(in_doubt()),
        }
    }
}
