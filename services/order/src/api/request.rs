//! What callers send.

use super::amount;
use crate::saga::Details;
use contracts::{Contact, Money, OrderLine, is_iso4217, object};
use poem_openapi::Object;
use poem_openapi::types::Example;
use runtime::http::{FieldFault, Fields, Form, JsonAmount, Refusal, Text, Words};
use serde::Deserialize;
use url::Url;

/// Lines of one order.
const MAX_LINES: usize = 500;

/// An order to be placed.
#[derive(Clone, Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewOrder {
    /// Who orders. 1 to 200 characters.
    customer_id: Words,
    /// What is charged: at least 0.01, and at least the sum of the lines (it may hold shipping or tax).
    total_amount: JsonAmount,
    /// An alphabetic code of ISO 4217.
    #[oai(validator(pattern = "^[A-Z]{3}$"))]
    currency: String,
    /// What is ordered. 1 to 500 lines; lines of one product count together.
    #[oai(validator(min_items = 1, max_items = 500))]
    #[serde(deserialize_with = "object::list")]
    items: Vec<NewLine>,
    /// How to reach the customer, beside the log of notification-service.
    #[oai(nullable, skip_serializing_if_is_none)]
    #[serde(default, deserialize_with = "object::optional")]
    contact: Option<ContactView>,
}

/// How to reach a customer about an order.
#[derive(Clone, Debug, PartialEq, Eq, Object, Deserialize)]
#[oai(rename_all = "camelCase", rename = "Contact", skip_serializing_if_is_none, nullable_all)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContactView {
    /// An address for mail. At most 254 characters.
    #[oai(validator(max_length = 254, pattern = r"^[^\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f]+$"))]
    email: Option<String>,
    /// Where to post signed messages to: an `http` or `https` URL of at most 2000 characters.
    #[oai(validator(max_length = 2000))]
    webhook_url: Option<String>,
}

impl From<Contact> for ContactView {
    fn from(Contact { email, webhook_url }: Contact) -> Self {
        ContactView { email, webhook_url }
    }
}

impl ContactView {
    fn check(self, fields: &mut Fields) -> Option<Contact> {
        if let Some(email) = &self.email {
            fields.check(
                email.len() <= Contact::MAX_EMAIL,
                "/contact/email",
                FieldFault::TooLong,
                "must have at most 254 characters",
            );
            let parts = email.rsplit_once('@').filter(|(local, domain)| !local.is_empty() && !domain.is_empty());
            let is_address = parts.is_some() && !email.chars().any(|c| c.is_whitespace() || c.is_control());
            fields.check(
                is_address,
                "/contact/email",
                FieldFault::Invalid,
                "must be an address, such as name@example.org",
            );
        }
        if let Some(text) = &self.webhook_url {
            let fits = text.len() <= Contact::MAX_WEBHOOK_URL;
            fields.check(fits, "/contact/webhookUrl", FieldFault::TooLong, "must have at most 2000 characters");
            let is_url = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            let is_url = is_url && !text.chars().any(char::is_control);
            fields.check(is_url, "/contact/webhookUrl", FieldFault::Invalid, "must be an http or https URL");
        }
        let ContactView { email, webhook_url } = self;
        (email.is_some() || webhook_url.is_some()).then_some(Contact { email, webhook_url })
    }
}

/// One line of an order.
#[derive(Clone, Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", rename = "OrderLine")]
#[serde(rename_all = "camelCase")]
pub(super) struct NewLine {
    /// The product. 1 to 200 characters.
    product_id: Words,
    /// How many, from 1 to 1000000000.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000000")))]
    quantity: i64,
    /// The price of one, 0 or more.
    unit_price: JsonAmount,
}

impl Example for NewOrder {
    fn example() -> Self {
        let line = NewLine { product_id: "P1".into(), quantity: 2, unit_price: amount(499_900) };
        NewOrder {
            customer_id: "cust-1".into(),
            total_amount: amount(999_900),
            currency: "USD".into(),
            items: vec![line],
            contact: None,
        }
    }
}

impl NewOrder {
    /// The order, or every field that is at fault.
    pub(super) fn check(self) -> Result<Details, Refusal> {
        let mut fields = Fields::default();
        fields.check_text(&self.customer_id.0, "/customerId");
        fields.check(
            is_iso4217(&self.currency),
            "/currency",
            FieldFault::Invalid,
            "must be a three-letter code of ISO 4217, such as USD",
        );
        let lines = self.items.len();
        fields.check(lines > 0, "/items", FieldFault::Empty, "must not be empty");
        fields.check(lines <= MAX_LINES, "/items", FieldFault::TooLong, format!("must have at most {MAX_LINES} lines"));
        let mut sum = 0_i128;
        for (i, line) in self.items.iter().enumerate() {
            fields.check_text(&line.product_id.0, &format!("/items/{i}/productId"));
            let quantities = 1..=contracts::MAX_QUANTITY;
            let deliverable = quantities.contains(&line.quantity);
            fields.check_range(line.quantity, quantities, format!("/items/{i}/quantity"));
            let price = line.unit_price.money();
            let pointer = format!("/items/{i}/unitPrice");
            match price {
                Ok(price) => {
                    fields.check(price >= Money::ZERO, pointer, FieldFault::OutOfRange, "must not be negative");
                    if deliverable {
                        sum += i128::from(price.ten_thousandths()) * i128::from(line.quantity);
                    }
                }
                Err(why) => fields.check(false, pointer, FieldFault::OutOfRange, why),
            }
        }
        let total = self.total_amount.money();
        match &total {
            Ok(total) => {
                fields.check(
                    total.ten_thousandths() >= 100,
                    "/totalAmount",
                    FieldFault::OutOfRange,
                    "must be at least 0.01",
                );
                let covers = i128::from(total.ten_thousandths()) >= sum;
                fields.check(
                    covers,
                    "/totalAmount",
                    FieldFault::OutOfRange,
                    "must not be less than the sum of the lines",
                );
            }
            Err(why) => fields.check(false, "/totalAmount", FieldFault::OutOfRange, why),
        }
        let contact = self.contact.and_then(|contact| contact.check(&mut fields));
        fields.finish()?;
        let line = |line: NewLine| OrderLine {
            product_id: line.product_id.0,
            quantity: line.quantity,
            unit_price: line.unit_price.0,
        };
        Ok(Details {
            customer_id: self.customer_id.0,
            total: total.unwrap_or_default(),
            currency: self.currency,
            lines: self.items.into_iter().map(line).collect(),
            contact,
        })
    }
}

/// Why an order is called off.
#[derive(Clone, Debug, Default, Object, Deserialize)]
#[oai(example)]
pub(super) struct Cancellation {
    /// In the caller's words. 1 to 200 characters.
    #[oai(nullable)]
    #[serde(default)]
    reason: Option<Words>,
}

impl Example for Cancellation {
    fn example() -> Self {
        Cancellation { reason: Some("ordered twice".into()) }
    }
}

impl Cancellation {
    /// The reason, also if none was given.
    pub(super) fn check(cancellation: Option<Self>) -> Result<String, Refusal> {
        let mut fields = Fields::default();
        let reason = fields.check_words(cancellation.and_then(|body| body.reason), "/reason");
        fields.finish()?;
        Ok(reason.unwrap_or_else(|| "cancelled on request".into()))
    }
}

/// Characters of an idempotency key.
const KEY_LIMIT: usize = 255;

/// The header as it may be.
pub(super) type IdempotencyKey = Text<KeyForm>;

/// The form of the header: its key has quotes around it, or not.
pub(super) struct KeyForm;

impl Form for KeyForm {
    const NAME: &'static str = "idempotency key";
    const SHORTEST: Option<usize> = Some(1);
    const LONGEST: usize = KEY_LIMIT + 2;
    const PATTERN: &'static str = "^[!-~]([ -~]*[!-~])?$";
}

/// The key in a header: a quoted string, as the IETF's draft has it, or bare, as most clients send it.
pub(super) fn key(header: &str) -> Result<&str, Refusal> {
    let bare = header.trim();
    let key = bare.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(bare);
    let mut fields = Fields::default();
    let is_fine = (1..=KEY_LIMIT).contains(&key.len()) && key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    fields.check(
        is_fine,
        "Idempotency-Key",
        FieldFault::Invalid,
        format!("must be 1 to {KEY_LIMIT} visible ASCII characters"),
    );
    fields.finish()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn a_key_is_the_same_quoted_and_bare() {
        let found = |header: &str| key(header).map(str::to_owned).ok();
        assert_eq!(found("\"8e03978e\""), found(" 8e03978e "));
        assert_eq!(found("a key"), Some("a key".into()));
        assert_eq!(found("\"\""), None);
        assert_eq!(found(""), None);
        assert_eq!(found("schlüssel"), None);
        assert_eq!(found(&"k".repeat(255)).map(|key| key.len()), Some(255));
        assert_eq!(found(&"k".repeat(256)), None);
    }
}
