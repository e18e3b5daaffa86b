//! The HTTP API of payment-sandbox.

mod books;
mod rules;

use crate::faults::{Fault, Faults};
use crate::ledger::{Answer, Kind, Transfer};
use crate::store::Ledger;
use books::{EntryView, Page, Totals};
use contracts::{Money, is_iso4217};
use poem::http::StatusCode;
use poem_openapi::param::{Header, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi, Tags};
use rules::FaultRule;
use runtime::actors::address::Address;
use runtime::actors::group_commit::Request;
use runtime::http::{FieldFault, Fields, JsonAmount, JsonBody, Problem, Refusal};
use runtime::saga::Named;
use runtime::store::StoreError;
use serde::Deserialize;
use std::sync::Arc;

/// The routes.
pub struct Api {
    ledger: Arc<Ledger>,
    writer: Address<Request<Ledger>>,
    faults: Faults,
}

#[derive(Tags)]
enum Tag {
    /// Taking money and giving it back.
    Transfers,
    /// What was done.
    Books,
    /// What is to go wrong.
    Faults,
}

/// A request to move money.
#[derive(Clone, Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", rename = "Transfer", example)]
#[serde(rename_all = "camelCase")]
struct NewTransfer {
    /// Whose money. 1 to 200 characters.
    customer_id: String,
    /// How much; more than nothing.
    amount: JsonAmount,
    /// An alphabetic code of ISO 4217.
    currency: String,
    /// The caller's name of what is paid for; a refund bears that of its charge. 1 to 200 characters.
    reference: String,
}

impl Example for NewTransfer {
    fn example() -> Self {
        NewTransfer {
            customer_id: "cust-1".into(),
            amount: Money::from_ten_thousandths(999_900).into(),
            currency: "USD".into(),
            reference: "payment-1".into(),
        }
    }
}

impl NewTransfer {
    fn check(self, kind: Kind, key: Option<String>) -> Result<Transfer, Refusal> {
        let key = read_key(key)?;
        let mut fields = Fields::default();
        fields.check_text(&self.customer_id, "/customerId");
        fields.check(
            is_iso4217(&self.currency),
            "/currency",
            FieldFault::Invalid,
            "must be a three-letter code of ISO 4217, such as USD",
        );
        fields.check_text(&self.reference, "/reference");
        let amount = self.amount.0.positive();
        if let Err(why) = &amount {
            fields.check(false, "/amount", FieldFault::OutOfRange, why.as_str());
        }
        fields.finish()?;
        let NewTransfer { customer_id, currency, reference, .. } = self;
        Ok(Transfer { kind, key, customer_id, amount: amount.unwrap_or_default(), currency, reference })
    }
}

/// The header `Idempotency-Key`: a string of RFC 8941, in quotes, or the bare text.
fn read_key(header: Option<String>) -> Result<String, Refusal> {
    let text = header.unwrap_or_default();
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let key = inner.map_or(text.clone(), |inner| inner.replace("\\\"", "\"").replace("\\\\", "\\"));
    if (1..=255).contains(&key.chars().count()) {
        return Ok(key);
    }
    let detail = "must be given, with 1 to 255 characters".to_owned();
    let problem = Problem::new(StatusCode::BAD_REQUEST, format!("the header Idempotency-Key {detail}"));
    Err(Refusal::Malformed(Json(problem.blaming("Idempotency-Key", FieldFault::Invalid, detail))))
}

/// What became of a transfer, for ever.
#[derive(Clone, Debug, Object)]
struct Settled {
    /// `CHARGED` or `DECLINED`, `REFUNDED` or `REFUSED`.
    status: String,
    /// Why it was declined or refused.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<String>,
}

/// The answer to a request to move money.
#[derive(ApiResponse)]
enum TransferResponse {
    /// The outcome of the key.
    #[oai(status = 200)]
    Settled(
        Json<Settled>,
        /// `true` if the key was asked before.
        #[oai(header = "Idempotency-Replayed")]
        Option<String>,
    ),
    /// A fault on demand: nothing was done.
    #[oai(status = 500, content_type = "application/problem+json")]
    Broken(Json<Box<Problem>>),
    /// A fault on demand: nothing was done, and that was said late.
    #[oai(status = 504, content_type = "application/problem+json")]
    TimedOut(Json<Box<Problem>>),
}

#[OpenApi]
impl Api {
    /// Take money.
    ///
    /// The first outcome of a key is its outcome for ever, a decline included: ask again, and it is given again.
    #[oai(path = "/v1/charges", method = "post", tag = "Tag::Transfers")]
    async fn charge(
        &self,
        /// The caller's name of this request, with 1 to 255 characters, bare or in quotes. It must be given.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        transfer: JsonBody<NewTransfer>,
    ) -> Result<TransferResponse, Refusal> {
        self.answer(transfer.0.check(Kind::Charge, key.0)?).await
    }

    /// Give back what was taken.
    ///
    /// Refused, for ever, without a charge of this reference, customer and currency of which as much is left.
    #[oai(path = "/v1/refunds", method = "post", tag = "Tag::Transfers")]
    async fn refund(
        &self,
        /// The caller's name of this request, with 1 to 255 characters, bare or in quotes. It must be given.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        transfer: JsonBody<NewTransfer>,
    ) -> Result<TransferResponse, Refusal> {
        self.answer(transfer.0.check(Kind::Refund, key.0)?).await
    }

    /// Every entry of the books, oldest first.
    #[oai(path = "/v1/ledger", method = "get", tag = "Tag::Books")]
    async fn ledger(
        &self,
        /// How many entries, from 1 to 1000; 100, if it is not given.
        limit: Query<Option<u64>>,
        /// Only those behind this place.
        after: Query<Option<i64>>,
    ) -> Result<Json<Page>, Refusal> {
        let limit = limit.0.unwrap_or(100);
        let mut fields = Fields::default();
        fields.check_range(limit, 1..=1_000, "limit");
        fields.finish()?;
        // One more than asked for tells whether there is a next page.
        let mut entries = self.ledger.entries(after.0.unwrap_or(0), limit + 1).await?;
        let shown = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = entries.len() > shown;
        entries.truncate(shown);
        let next = entries.last().filter(|_| more).map(|(sequence, _)| *sequence);
        Ok(Json(Page { entries: entries.into_iter().map(EntryView::from).collect(), next }))
    }

    /// The books summed up.
    #[oai(path = "/v1/totals", method = "get", tag = "Tag::Books")]
    async fn totals(&self) -> Result<Json<Totals>, Refusal> {
        Ok(Json(self.ledger.sums().await?.into()))
    }

    /// The rules in force, with how often each has fired.
    #[oai(path = "/v1/faults", method = "get", tag = "Tag::Faults")]
    async fn faults(&self) -> Json<Vec<FaultRule>> {
        Json(self.faults.rules().into_iter().map(FaultRule::from).collect())
    }

    /// Put these rules in place of those before.
    #[oai(path = "/v1/faults", method = "put", tag = "Tag::Faults")]
    async fn set_faults(&self, rules: JsonBody<Vec<FaultRule>>) -> Result<Json<Vec<FaultRule>>, Refusal> {
        let mut fields = Fields::default();
        let rules = rules.0.into_iter().enumerate().map(|(place, rule)| rule.check(place, &mut fields)).collect();
        fields.finish()?;
        self.faults.set(rules);
        Ok(self.faults().await)
    }

    /// Take every rule away.
    #[oai(path = "/v1/faults", method = "delete", tag = "Tag::Faults")]
    async fn clear_faults(&self) -> Json<Vec<FaultRule>> {
        self.faults.set(Vec::new());
        self.faults().await
    }
}

impl Api {
    /// Over these books; `writer` is the actor that settles requests in them.
    pub fn new(ledger: Arc<Ledger>, writer: Address<Request<Ledger>>, faults: Faults) -> Self {
        Api { ledger, writer, faults }
    }

    async fn answer(&self, transfer: Transfer) -> Result<TransferResponse, Refusal> {
        let problem = |status: StatusCode| Json(Problem::new(status, "a fault on demand; nothing was done"));
        match self.faults.draw(transfer.kind, &transfer.customer_id) {
            None => self.settle(transfer).await,
            Some(Fault::Slow(delay)) => {
                tokio::time::sleep(delay).await;
                self.settle(transfer).await
            }
            Some(Fault::TimeoutAfter(delay)) => {
                let settled = self.settle(transfer).await;
                tokio::time::sleep(delay).await;
                settled
            }
            Some(Fault::TimeoutBefore(delay)) => {
                tokio::time::sleep(delay).await;
                Ok(TransferResponse::TimedOut(problem(StatusCode::GATEWAY_TIMEOUT)))
            }
            Some(Fault::Error500) => Ok(TransferResponse::Broken(problem(StatusCode::INTERNAL_SERVER_ERROR))),
            Some(Fault::TooMany) => Err(Refusal::TooMany(problem(StatusCode::TOO_MANY_REQUESTS), 1)),
        }
    }

    /// Has it settled by the actor, which goes on also when the caller does not wait.
    async fn settle(&self, transfer: Transfer) -> Result<TransferResponse, Refusal> {
        let unknown = || Refusal::unavailable("it is not known whether this was done; ask again under the same key");
        let key = transfer.key.clone();
        let answer = self.writer.call(|reply| Request::Do(transfer, reply)).await.map_err(|_| unknown())?;
        match answer.inspect_err(|error: &StoreError| tracing::error!(%error, "the ledger does not answer")) {
            Ok(Answer::Settled { outcome, reason, replayed }) => {
                let settled = Settled { status: outcome.name().to_owned(), reason };
                Ok(TransferResponse::Settled(Json(settled), replayed.then(|| "true".to_owned())))
            }
            Ok(Answer::Conflict) => {
                Err(Refusal::key_reused(format!("the key {key} was given to another request before")))
            }
            Err(_) => Err(unknown()),
        }
    }
}
