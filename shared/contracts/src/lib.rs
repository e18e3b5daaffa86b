//! What the services say to each other: topics, the envelope, the payloads, and the values in them.
//!
//! Everything here is pure. The wire is UTF-8 JSON, keyed by the order's id; see `docs/messages.md`.

mod amount;
mod contact;
mod currency;
mod id;
mod message;
pub mod object;
mod payload;
mod schema;
mod timestamp;

pub use amount::{Amount, Money, NotMoney};
pub use contact::Contact;
pub use currency::is_iso4217;
pub use id::{OrderId, PaymentId, RefundId, ReservationId, beside, event_id};
pub use message::{BadMessage, Decoded, Envelope, decode, encode};
pub use payload::*;
pub use timestamp::Timestamp;
