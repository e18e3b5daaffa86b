//! The rules of faults as they are given and shown.

use crate::faults::{Fault, Rule};
use crate::ledger::Kind;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};
use runtime::http::{FieldFault, Fields};
use serde::Deserialize;
use std::time::Duration;

/// Which requests go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(super) enum On {
    /// Charges.
    Charge,
    /// Refunds.
    Refund,
    /// Both.
    Any,
}

/// How a request goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(super) enum FaultKind {
    /// It is done, and answered after `delayMs`.
    TimeoutAfter,
    /// It is not done, and answered 504 after `delayMs`.
    TimeoutBefore,
    /// It is not done, and answered 500.
    Error500,
    /// It is not done, and answered 429 with `Retry-After: 1`.
    TooMany,
    /// After `delayMs` it is done and answered.
    Slow,
}

/// Which requests go wrong, and how. Of several rules the first that fires decides.
#[derive(Clone, Debug, Object, Deserialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
pub(super) struct FaultRule {
    /// Which requests.
    pub(super) on: On,
    /// How.
    pub(super) fault: FaultKind,
    /// How many of a hundred, from 0 to 100; all, if it is not given.
    #[serde(default)]
    #[oai(skip_serializing_if_is_none)]
    pub(super) probability: Option<u8>,
    /// No more than so many, if it is given.
    #[serde(default)]
    #[oai(skip_serializing_if_is_none)]
    pub(super) times: Option<u32>,
    /// For how long, in milliseconds, up to 600000; 10000, if it is not given.
    #[serde(default)]
    #[oai(skip_serializing_if_is_none)]
    pub(super) delay_ms: Option<u64>,
    /// Only the requests of this customer, if it is given.
    #[serde(default)]
    #[oai(skip_serializing_if_is_none)]
    pub(super) customer_id: Option<String>,
    /// How many it was so far.
    #[serde(skip)]
    #[oai(read_only, default)]
    pub(super) fired: u32,
}

impl Example for FaultRule {
    fn example() -> Self {
        FaultRule {
            on: On::Charge,
            fault: FaultKind::TimeoutAfter,
            probability: Some(10),
            times: None,
            delay_ms: Some(10_000),
            customer_id: None,
            fired: 0,
        }
    }
}

/// A delay beyond the patience of payment-service, which is 5 seconds unless it is set.
const DELAY_MS: u64 = 10_000;
const MAX_DELAY_MS: u64 = 600_000;

impl FaultRule {
    pub(super) fn check(self, place: usize, fields: &mut Fields) -> Rule {
        let percent = self.probability.unwrap_or(100);
        fields.check_range(percent, 0..=100, format!("/{place}/probability"));
        let delay = self.delay_ms.unwrap_or(DELAY_MS);
        fields.check(
            delay <= MAX_DELAY_MS,
            format!("/{place}/delayMs"),
            FieldFault::OutOfRange,
            format!("must be at most {MAX_DELAY_MS}"),
        );
        let delay = Duration::from_millis(delay);
        Rule {
            on: match self.on {
                On::Charge => Some(Kind::Charge),
                On::Refund => Some(Kind::Refund),
                On::Any => None,
            },
            customer_id: self.customer_id,
            fault: match self.fault {
                FaultKind::TimeoutAfter => Fault::TimeoutAfter(delay),
                FaultKind::TimeoutBefore => Fault::TimeoutBefore(delay),
                FaultKind::Error500 => Fault::Error500,
                FaultKind::TooMany => Fault::TooMany,
                FaultKind::Slow => Fault::Slow(delay),
            },
            percent,
            times: self.times,
            fired: 0,
        }
    }
}

impl From<Rule> for FaultRule {
    fn from(rule: Rule) -> Self {
        let (fault, delay) = match rule.fault {
            Fault::TimeoutAfter(delay) => (FaultKind::TimeoutAfter, Some(delay)),
            Fault::TimeoutBefore(delay) => (FaultKind::TimeoutBefore, Some(delay)),
            Fault::Error500 => (FaultKind::Error500, None),
            Fault::TooMany => (FaultKind::TooMany, None),
            Fault::Slow(delay) => (FaultKind::Slow, Some(delay)),
        };
        FaultRule {
            on: match rule.on {
                Some(Kind::Charge) => On::Charge,
                Some(Kind::Refund) => On::Refund,
                None => On::Any,
            },
            fault,
            probability: Some(rule.percent),
            times: rule.times,
            delay_ms: delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            customer_id: rule.customer_id,
            fired: rule.fired,
        }
    }
}
