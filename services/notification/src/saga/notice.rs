//! What a notice is: of what, by which way, to whom, and how far it has come.

use contracts::Money;
use runtime::saga::Named;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

/// What a customer is told of.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    VariantArray,
    IntoStaticStr,
    EnumString,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Occasion {
    /// The order is on its way.
    OrderConfirmed,
    /// The order failed.
    OrderFailed,
    /// The order was called off.
    OrderCancelled,
    /// The money is on its way back.
    PaymentRefunded,
}

/// A way to the customer.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    VariantArray,
    IntoStaticStr,
    EnumString,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Channel {
    /// The service's log, always.
    #[default]
    Log,
    /// A mail to the address that came with the order.
    Email,
    /// A signed message to the URL that came with the order.
    Webhook,
}

/// How far a notice has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, VariantArray, IntoStaticStr, EnumString)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It is to be sent.
    Pending,
    /// It was sent.
    Sent,
    /// It could not be sent, and is not tried any more. Somebody has to see to it.
    Failed,
    /// It was overtaken by a cancellation, and is not sent.
    Superseded,
}

/// What tells the notices of one order apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Of what.
    pub occasion: Occasion,
    /// By which way.
    pub channel: Channel,
}

/// What there is to say beside the occasion, where there is anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// How much was given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// ISO 4217.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

impl Details {
    fn is_empty(&self) -> bool {
        *self == Details::default()
    }
}

/// One notice of an order. What the log channel does not need is not stored for it; and rows that were stored when there
/// was no other channel read as notices of that one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Of what.
    pub occasion: Occasion,
    /// By which way.
    #[serde(default)]
    pub channel: Channel,
    /// How far it has come.
    pub status: Status,
    /// To whom.
    pub customer_id: String,
    /// What it says.
    pub text: String,
    /// Failed deliveries since it was last begun.
    pub attempts: u32,
    /// Not to be sent before this moment, in microseconds since 1970.
    pub retry_at: i64,
    /// The address or URL that the channel takes it to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub details: Details,
    /// When it was recorded, in microseconds since 1970.
    #[serde(default)]
    pub recorded_at: i64,
    /// Deliveries so far, failed or not, however often it was begun anew.
    #[serde(default)]
    pub deliveries: u32,
    /// What was seen of the last delivery, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Notice {
    /// What tells it apart.
    pub fn key(&self) -> Key {
        Key { occasion: self.occasion, channel: self.channel }
    }
}

/// An order's notices, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notices(pub Vec<Notice>);

impl Notices {
    /// The notice of this key, if there is one.
    pub fn get(&self, key: Key) -> Option<&Notice> {
        self.0.iter().find(|notice| notice.key() == key)
    }

    /// How far the notice of this key has come, if there is one.
    pub fn status(&self, key: Key) -> Option<Status> {
        self.get(key).map(|notice| notice.status)
    }

    /// Whether the customer is told of this by any way.
    pub fn tell_of(&self, occasion: Occasion) -> bool {
        self.0.iter().any(|notice| notice.occasion == occasion)
    }

    /// The notice that goes next: of those at the head of their channel the one that may go first. A channel that fails
    /// holds up no other, and in each the notices go in the order in which they came.
    pub(super) fn next(&self) -> Option<&Notice> {
        let head = |channel: &Channel| {
            let mut waiting = self.0.iter().enumerate().filter(|(_, notice)| notice.status == Status::Pending);
            waiting.find(|(_, notice)| notice.channel == *channel)
        };
        let heads = Channel::ALL.iter().filter_map(head);
        heads.min_by_key(|(place, notice)| (notice.retry_at, *place)).map(|(_, notice)| notice)
    }
}
