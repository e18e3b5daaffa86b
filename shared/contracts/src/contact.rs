use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// How to reach the customer of one order, beside the service's log. It comes with the order and travels on its events;
/// an order without one looks as if there were no such thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    /// An address for mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Where to post signed messages to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
}

impl Contact {
    /// The longest address, in bytes (RFC 5321).
    pub const MAX_EMAIL: usize = 254;
    /// The longest URL, in bytes.
    pub const MAX_WEBHOOK_URL: usize = 2_000;

    /// Whether it leads anywhere, and can be stored.
    fn is_of_use(&self) -> bool {
        let is_odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
        let fits = |text: &Option<String>, max| {
            text.as_deref().is_none_or(|text| text.len() <= max && !text.chars().any(is_odd))
        };
        (self.email.is_some() || self.webhook_url.is_some())
            && fits(&self.email, Self::MAX_EMAIL)
            && fits(&self.webhook_url, Self::MAX_WEBHOOK_URL)
    }
}

/// Reads a contact, or none where there is no usable one: no order is held up by a field that is an extra.
pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Contact>, D::Error> {
    let text = Box::<RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(text.get()).ok().filter(Contact::is_of_use))
}
