//! What is answered about one order.

use super::ask::Ask;
use super::view::{Acknowledgement, OrderStatus, OrderView, etag};
use crate::saga::OrderSaga;
use poem_openapi::ApiResponse;
use poem_openapi::payload::Json;
use runtime::saga::Instance;

/// A cancellation that was taken on.
#[derive(ApiResponse)]
pub(super) enum Accepted {
    /// It is committed; what comes of it can be read at `Location`.
    #[oai(status = 202)]
    Accepted(
        Json<Acknowledgement>,
        /// Where the order can be read.
        #[oai(header = "Location")]
        String,
        /// The request's own, or a new one. All events of an order carry that of the request that placed it.
        #[oai(header = "X-Correlation-Id")]
        String,
        /// `true`, if this is the answer to an earlier request with the same `Idempotency-Key`.
        #[oai(header = "Idempotency-Replayed")]
        Option<String>,
    ),
}

/// An order that was taken on.
#[derive(ApiResponse)]
pub(super) enum Placed {
    /// It is committed; what comes of it can be read at `Location`.
    #[oai(status = 202)]
    Accepted(
        Json<Acknowledgement>,
        /// Where the order can be read.
        #[oai(header = "Location")]
        String,
        /// The request's own, or a new one. All events of an order carry that of the request that placed it.
        #[oai(header = "X-Correlation-Id")]
        String,
        /// `wait=N`, if the answer was held back as the header Prefer wished, and the order was not final in time.
        #[oai(header = "Preference-Applied")]
        Option<String>,
        /// `true`, if an earlier request with the same `Idempotency-Key` placed it.
        #[oai(header = "Idempotency-Replayed")]
        Option<String>,
    ),
    /// It is final, as the header Prefer wished to wait for.
    #[oai(status = 200)]
    Final(
        Json<Box<OrderView>>,
        /// Where the order can be read.
        #[oai(header = "Location")]
        String,
        /// The request's own, or a new one. All events of an order carry that of the request that placed it.
        #[oai(header = "X-Correlation-Id")]
        String,
        /// `wait=N`.
        #[oai(header = "Preference-Applied")]
        Option<String>,
        /// `true`, if an earlier request with the same `Idempotency-Key` placed it.
        #[oai(header = "Idempotency-Replayed")]
        Option<String>,
        /// Names this version of the order, for `If-Match`.
        #[oai(header = "ETag")]
        String,
    ),
}

/// An order that was found.
#[derive(ApiResponse)]
pub(super) enum Found {
    /// It has not changed since the version that the caller has.
    #[oai(status = 304)]
    Unchanged(
        /// Names that version.
        #[oai(header = "ETag")]
        String,
    ),
    /// How it stands.
    #[oai(status = 200)]
    Found(
        Json<Box<OrderView>>,
        /// Names this version of the order, for `If-Match`.
        #[oai(header = "ETag")]
        String,
        /// `wait=N`, if the answer was held back as the header Prefer wished.
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
}

fn location(ask: &Ask) -> String {
    format!("/api/orders/{}", ask.order)
}

fn acknowledgement(ask: &Ask, status: OrderStatus) -> Json<Acknowledgement> {
    Json(Acknowledgement { order_id: ask.order.0, status, correlation_id: ask.correlation_id.clone() })
}

fn told(replayed: bool) -> Option<String> {
    replayed.then(|| "true".to_owned())
}

impl Accepted {
    /// The answer to this request.
    pub(super) fn of(ask: Ask, status: OrderStatus, replayed: bool) -> Self {
        Accepted::Accepted(acknowledgement(&ask, status), location(&ask), ask.correlation_id, told(replayed))
    }
}

impl Placed {
    /// The answer to this request: the order, if it was waited for and `ended`.
    pub(super) fn of(ask: Ask, ended: Option<Instance<OrderSaga>>, applied: Option<String>, replayed: bool) -> Self {
        let (location, replayed) = (location(&ask), told(replayed));
        match ended {
            Some(order) => {
                let etag = etag(order.version);
                Placed::Final(Json(Box::new(order.into())), location, ask.correlation_id, applied, replayed, etag)
            }
            None => {
                let acknowledgement = acknowledgement(&ask, OrderStatus::Pending);
                Placed::Accepted(acknowledgement, location, ask.correlation_id, applied, replayed)
            }
        }
    }
}
