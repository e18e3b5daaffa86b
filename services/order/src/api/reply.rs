//! What is answered about one order.

use super::ask::Ask;
use super::view::{Acknowledgement, OrderStatus, OrderView};
use poem_openapi::ApiResponse;
use poem_openapi::payload::Json;

/// A request that was taken on.
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
        /// `wait=N`, if the answer was held back as the header Prefer wished.
        #[oai(header = "Preference-Applied")]
        Option<String>,
        /// `true`, if this is the answer to an earlier request with the same `Idempotency-Key`.
        #[oai(header = "Idempotency-Replayed")]
        Option<String>,
    ),
}

/// An order that was found.
#[derive(ApiResponse)]
pub(super) enum Found {
    /// How it stands.
    #[oai(status = 200)]
    Found(
        Json<OrderView>,
        /// Names this version of the order, for `If-Match`.
        #[oai(header = "ETag")]
        String,
        /// `wait=N`, if the answer was held back as the header Prefer wished.
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
}

/// The answer to this request.
pub(super) fn accepted(ask: Ask, status: OrderStatus, applied: Option<String>, replayed: bool) -> Accepted {
    let Ask { order, correlation_id, .. } = ask;
    let acknowledgement = Acknowledgement { order_id: order.0, status, correlation_id: correlation_id.clone() };
    let location = format!("/api/orders/{order}");
    Accepted::Accepted(Json(acknowledgement), location, correlation_id, applied, replayed.then(|| "true".to_owned()))
}
