//! Where a payment stands, and what each event makes of it.

use super::Event;
use contracts::{Amount, Contact, Money, OrderId, PaymentId, RefundId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use strum::{EnumString, IntoStaticStr, VariantArray};

/// How far a payment has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, VariantArray, IntoStaticStr, EnumString)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Stage {
    /// Never heard of.
    #[default]
    Unknown,
    /// A refund was asked for before the order was heard of.
    RefundHeld,
    /// The order was closed before it was heard of. It will not be charged.
    Closed,
    /// The charge is under way.
    Charging,
    /// The charge is under way, and is to be given back once it is through.
    ChargingToRefund,
    /// Charged.
    Confirmed,
    /// Not charged, and never will be.
    Failed,
    /// Charged; the refund is under way.
    Refunding,
    /// Charged; the refund is due, and the provider has refused it. Somebody has to see to it.
    RefundRefused,
    /// Charged and given back.
    Refunded,
}

/// Why somebody has to look at a payment.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, VariantArray, IntoStaticStr, EnumString,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Concern {
    /// The provider keeps giving no outcome of the charge.
    ChargeWithoutOutcome,
    /// The provider keeps giving no outcome of the refund.
    RefundWithoutOutcome,
    /// The provider has refused the refund.
    RefundRefused,
    /// The provider has given back what somebody had already given back by other means.
    RefundedTwice,
    /// A refund was asked for that is not of what was charged. It was not made.
    RequestRefused,
}

impl Concern {
    /// Whether it is over when somebody has looked at it, and not by itself.
    pub fn is_for_people(self) -> bool {
        match self {
            Concern::RefundedTwice | Concern::RequestRefused => true,
            Concern::ChargeWithoutOutcome | Concern::RefundWithoutOutcome | Concern::RefundRefused => false,
        }
    }
}

/// A refund, due or done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The name that whoever asked first gave it; without one it is named after the payment.
    pub requested_as: Option<RefundId>,
    /// Why, for people.
    pub reason: String,
    /// How the money was given back by other means, in the words of who did it.
    pub note: Option<String>,
}

/// A `payment.refund.requested`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundRequest {
    /// Of which order.
    pub order_id: OrderId,
    /// What to call it.
    pub refund_id: RefundId,
    /// Of which payment.
    pub payment_id: PaymentId,
    /// How much.
    pub amount: Amount,
    /// ISO 4217.
    pub currency: String,
    /// Why, for people.
    pub reason: String,
}

/// What somebody has looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// What there was to look at.
    pub what: String,
    /// What there was to say about it.
    pub note: String,
}

/// Where a payment stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payment {
    /// How far it has come.
    pub stage: Stage,
    /// Who pays.
    pub customer_id: String,
    /// How much; zero while unknown, and where an impossible amount was refused.
    pub amount: Money,
    /// ISO 4217.
    pub currency: String,
    /// How to reach who pays; kept for the news of a refund.
    pub contact: Option<Contact>,
    /// Why it was not charged, or why the order was closed.
    pub reason: Option<String>,
    /// The refund that is due or done.
    pub refund: Option<Refund>,
    /// Requests that came before their order, which tells whether they are right. No two ask for the same.
    pub held: Vec<RefundRequest>,
    /// How often the provider has given no outcome of what it was last asked for.
    pub attempts: u32,
    /// What was seen of the last of these attempts.
    pub last_error: Option<String>,
    /// The provider is not asked before this moment.
    pub retry_at: Timestamp,
    /// What somebody has to look at, in words.
    pub attention: BTreeMap<Concern, String>,
    /// What somebody has looked at.
    pub acknowledged: Option<Acknowledged>,
}

impl Payment {
    /// The payment after this event.
    pub(super) fn after(self, event: &Event) -> Payment {
        match event {
            Event::ChargeIntended { customer_id, amount, currency, contact } => Payment {
                stage: Stage::Charging,
                customer_id: customer_id.clone(),
                amount: *amount,
                currency: currency.clone(),
                contact: contact.clone(),
                held: Vec::new(),
                ..self
            },
            Event::Confirmed => self.settled(Stage::Confirmed, &[Concern::ChargeWithoutOutcome]),
            Event::Failed { customer_id, amount, currency, reason } => Payment {
                customer_id: customer_id.clone(),
                amount: match amount {
                    Amount::Exact(money) => *money,
                    Amount::Impossible(_) => Money::ZERO,
                },
                currency: currency.clone(),
                reason: Some(reason.clone()),
                refund: None,
                held: Vec::new(),
                ..self.settled(Stage::Failed, &[Concern::ChargeWithoutOutcome])
            },
            Event::Closed(reason) => {
                Payment { stage: Stage::Closed, reason: Some(reason.clone()), held: Vec::new(), ..self }
            }
            Event::RefundHeld(request) => {
                let held = self.held.iter().chain([request]).cloned().collect();
                Payment { stage: Stage::RefundHeld, held, ..self }
            }
            Event::RefundDue(refund) => {
                Payment { stage: Stage::ChargingToRefund, refund: Some(refund.clone()), ..self }
            }
            Event::RefundIntended(refund) => Payment { stage: Stage::Refunding, refund: Some(refund.clone()), ..self },
            Event::RefundNamed(id) => {
                let refund = self.refund.map(|refund| Refund { requested_as: Some(id.clone()), ..refund });
                Payment { refund, ..self }
            }
            Event::RefundRefused => self.settled(Stage::RefundRefused, &[Concern::RefundWithoutOutcome]),
            Event::RefundNoted(note) => {
                let refund = self.refund.map(|refund| Refund { note: Some(note.clone()), ..refund });
                Payment { refund, ..self }
            }
            Event::Refunded => self.settled(Stage::Refunded, &[Concern::RefundWithoutOutcome, Concern::RefundRefused]),
            Event::Postponed { error, retry_at } => Payment {
                attempts: self.attempts.saturating_add(1),
                last_error: Some(error.clone()),
                retry_at: *retry_at,
                ..self
            },
            Event::Hastened => Payment {
                stage: if self.stage == Stage::RefundRefused { Stage::Refunding } else { self.stage },
                retry_at: Timestamp::default(),
                ..self
            },
            Event::AttentionNeeded(concern, what) => self.concerned(*concern, what),
            Event::Acknowledged(note) => self.acknowledged(note),
        }
    }

    /// The provider has given an outcome, and these concerns are over.
    fn settled(mut self, stage: Stage, over: &[Concern]) -> Payment {
        self.attention.retain(|concern, _| !over.contains(concern));
        Payment { stage, attempts: 0, last_error: None, retry_at: Timestamp::default(), ..self }
    }

    fn concerned(mut self, concern: Concern, what: &str) -> Payment {
        match (self.attention.get_mut(&concern), concern) {
            // Several wrong requests are several things to look at.
            (Some(before), Concern::RequestRefused) => {
                before.push_str("; ");
                before.push_str(what);
            }
            (Some(_) | None, _) => {
                self.attention.insert(concern, what.to_owned());
            }
        }
        self
    }

    fn acknowledged(self, note: &str) -> Payment {
        let joined = |before: &str, now: &str| format!("{before}; {now}");
        let (seen, attention): (BTreeMap<_, _>, _) = self.attention.into_iter().partition(|(of, _)| of.is_for_people());
        let what = seen.into_values().collect::<Vec<_>>().join("; ");
        let acknowledged = match self.acknowledged {
            Some(before) => Acknowledged { what: joined(&before.what, &what), note: joined(&before.note, note) },
            None => Acknowledged { what, note: note.to_owned() },
        };
        Payment { acknowledged: Some(acknowledged), attention, ..self }
    }
}
