//! What requests about dead letters say.

use super::super::problem::FieldFault;
use super::{Fields, Refusal, Words, filter};
use crate::dead_letters::store::Model;
use crate::dead_letters::store::wishes::{Correction, Many};
use contracts::{Decoded, decode};
use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Deserialize;
use std::num::NonZeroU32;

/// The most letters of one request.
const MOST: u64 = 1_000;
/// The most letters of one second.
const FASTEST: u32 = 1_000;

/// How a dead letter is to be sent again.
#[derive(Clone, Debug, Default, Object, Deserialize)]
#[oai(example)]
#[serde(default)]
pub(super) struct Redrive {
    /// In place of the message's value: the whole corrected message, as text. Without it the value goes as it was.
    #[oai(nullable)]
    payload: Option<String>,
    /// In place of the message's key: the orderId. Without it the key goes as it was.
    #[oai(nullable)]
    key: Option<String>,
    /// Why. 1 to 200 characters.
    #[oai(nullable)]
    reason: Option<Words>,
    /// Also if it was sent again too often, or discarded, or if the correction cannot be read either.
    #[oai(default)]
    force: bool,
}

impl Example for Redrive {
    fn example() -> Self {
        Redrive { reason: Some("the deployment that left fields out is rolled back".into()), ..Redrive::default() }
    }
}

impl Redrive {
    pub(super) fn check(self, letter: &Model) -> Result<Correction, Refusal> {
        let Redrive { payload, key, reason, force } = self;
        let mut fields = Fields::default();
        let reason = fields.check_words(reason, "/reason");
        // A correction that would only die again helps nobody.
        if !force && (payload.is_some() || key.is_some()) {
            let new_key = key.as_deref().map(str::as_bytes).or(letter.key.as_deref());
            let value = payload.as_deref().map(str::as_bytes).or(letter.value.as_deref());
            let wrong = match decode(&letter.topic, new_key, value) {
                Ok(Decoded::Event(_)) => None,
                Ok(Decoded::UnknownType(name)) => Some(format!("{name} is no type of event on {}", letter.topic)),
                Err(bad) => Some(bad.to_string()),
            };
            let pointer = if payload.is_some() { "/payload" } else { "/key" };
            fields.check(wrong.is_none(), pointer, FieldFault::Invalid, wrong.unwrap_or_default());
        }
        fields.finish()?;
        Ok(Correction { value: payload, key, reason, force })
    }
}

/// Which dead letters are to be sent again, and how fast.
#[derive(Clone, Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
pub(super) struct RedriveMany {
    /// Only of this topic.
    #[oai(nullable)]
    topic: Option<Words>,
    /// Only those whose reason contains this, in whatever case.
    #[oai(nullable)]
    reason: Option<Words>,
    /// Only say which these are.
    #[oai(default)]
    #[serde(default)]
    pub(super) dry_run: bool,
    /// How many in a second, from 1 to 1000; 10, if it is not given.
    #[oai(nullable, validator(minimum(value = "1"), maximum(value = "1000")))]
    rate_per_second: Option<u32>,
    /// How many at most, from 1 to 1000; 1000, if it is not given.
    #[oai(nullable, validator(minimum(value = "1"), maximum(value = "1000")))]
    limit: Option<u64>,
    /// Why they are sent again. 1 to 200 characters.
    #[oai(nullable)]
    note: Option<Words>,
}

impl Example for RedriveMany {
    fn example() -> Self {
        RedriveMany {
            topic: Some("payment.confirmed".into()),
            reason: Some("missing field".into()),
            dry_run: true,
            rate_per_second: Some(10),
            limit: Some(100),
            note: None,
        }
    }
}

impl RedriveMany {
    pub(super) fn check(self) -> Result<Many, Refusal> {
        let filter = filter("/", self.topic, self.reason)?;
        let (limit, rate) = (self.limit.unwrap_or(MOST), self.rate_per_second.unwrap_or(10));
        let mut fields = Fields::default();
        fields.check_range(limit, 1..=MOST, "/limit");
        fields.check_range(rate, 1..=FASTEST, "/ratePerSecond");
        let note = fields.check_words(self.note, "/note");
        fields.finish()?;
        let per_second = NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN);
        Ok(Many { filter, limit, per_second, note })
    }
}

/// Why a dead letter is not needed.
#[derive(Clone, Debug, Object, Deserialize)]
#[oai(example)]
pub(super) struct Discard {
    /// In the words of who says so. 1 to 200 characters.
    reason: Words,
}

impl Example for Discard {
    fn example() -> Self {
        Discard { reason: "a test message".into() }
    }
}

impl Discard {
    pub(super) fn check(self) -> Result<String, Refusal> {
        self.reason.check("/reason")
    }
}
