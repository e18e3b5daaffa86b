//! The books as they are shown.

use crate::ledger::Entry;
use crate::store::Sum;
use contracts::{Amount, Money};
use poem_openapi::Object;
use runtime::http::JsonAmount;
use runtime::saga::Named;
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// A line of the books.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", rename = "Entry")]
pub(super) struct EntryView {
    /// Its place in the books.
    pub(super) sequence: i64,
    /// `CHARGE` or `REFUND`.
    pub(super) kind: String,
    /// The idempotency key.
    pub(super) key: String,
    /// Whose money.
    pub(super) customer_id: String,
    /// How much.
    pub(super) amount: JsonAmount,
    /// ISO 4217.
    pub(super) currency: String,
    /// The caller's name of what is paid for.
    pub(super) reference: String,
    /// `CHARGED` or `DECLINED`, `REFUNDED` or `REFUSED`.
    pub(super) outcome: String,
    /// Why it was declined or refused.
    #[oai(skip_serializing_if_is_none)]
    pub(super) reason: Option<String>,
    /// How often the key was asked for this.
    pub(super) asked: i64,
    /// How often the key was asked for something else, and refused.
    pub(super) conflicts: i64,
    /// When it was first asked for. ISO 8601, UTC.
    pub(super) created_at: String,
}

impl From<(i64, Entry)> for EntryView {
    fn from((sequence, entry): (i64, Entry)) -> Self {
        let Entry { transfer, outcome, reason, asked, conflicts, at } = entry;
        EntryView {
            sequence,
            kind: transfer.kind.name().to_owned(),
            key: transfer.key,
            customer_id: transfer.customer_id,
            amount: transfer.amount.into(),
            currency: transfer.currency,
            reference: transfer.reference,
            outcome: outcome.name().to_owned(),
            reason,
            asked,
            conflicts,
            created_at: at.to_string(),
        }
    }
}

/// A page of the books.
#[derive(Clone, Debug, Object)]
pub(super) struct Page {
    /// The entries, oldest first.
    pub(super) entries: Vec<EntryView>,
    /// Where the next page begins; not there on the last one.
    #[oai(skip_serializing_if_is_none)]
    pub(super) next: Option<i64>,
}

/// The money of one currency.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct CurrencyTotals {
    /// ISO 4217.
    pub(super) currency: String,
    /// What was taken.
    pub(super) captured: JsonAmount,
    /// What was given back.
    pub(super) refunded: JsonAmount,
}

/// The books summed up.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct Totals {
    /// What was taken, whatever the currency.
    pub(super) captured: JsonAmount,
    /// What was given back, whatever the currency.
    pub(super) refunded: JsonAmount,
    /// Charges that took money.
    pub(super) charges: i64,
    /// Charges that were declined.
    pub(super) declined: i64,
    /// Refunds that gave money back.
    pub(super) refunds: i64,
    /// Refunds that were refused: nothing, or no longer as much, was there to be given back.
    pub(super) refused: i64,
    /// Requests that repeated an earlier one and got its answer.
    pub(super) repeats: i64,
    /// Requests under the key of another one, which were refused.
    pub(super) duplicates_refused: i64,
    /// The money by currency.
    pub(super) currencies: Vec<CurrencyTotals>,
}

/// So many whole units and so many ten-thousandths.
#[derive(Clone, Copy, Debug, Default)]
struct Pile(i128);

impl Pile {
    fn add(&mut self, sum: &Sum) {
        self.0 += i128::from(sum.units) * 10_000 + i128::from(sum.ten_thousandths);
    }

    /// The pile as a number, also where it is more than one amount can be.
    fn amount(self) -> JsonAmount {
        let decimal = Decimal::from_i128_with_scale(self.0, 4).normalize();
        JsonAmount(match Money::from_decimal(decimal) {
            Ok(money) => Amount::Exact(money),
            Err(_) => Amount::Impossible(decimal.to_string().parse().expect("a decimal is a JSON number")),
        })
    }
}

impl From<Vec<Sum>> for Totals {
    fn from(sums: Vec<Sum>) -> Self {
        let count = |outcome: &str| sums.iter().filter(|sum| sum.outcome == outcome).map(|sum| sum.entries).sum();
        let (mut captured, mut refunded) = (Pile::default(), Pile::default());
        let mut currencies: BTreeMap<&str, (Pile, Pile)> = BTreeMap::new();
        for sum in &sums {
            let currency = currencies.entry(&sum.currency).or_default();
            match sum.outcome.as_str() {
                "CHARGED" => {
                    captured.add(sum);
                    currency.0.add(sum);
                }
                "REFUNDED" => {
                    refunded.add(sum);
                    currency.1.add(sum);
                }
                _ => {}
            }
        }
        let of = |(currency, (captured, refunded)): (&str, (Pile, Pile))| CurrencyTotals {
            currency: currency.to_owned(),
            captured: captured.amount(),
            refunded: refunded.amount(),
        };
        Totals {
            captured: captured.amount(),
            refunded: refunded.amount(),
            charges: count("CHARGED"),
            declined: count("DECLINED"),
            refunds: count("REFUNDED"),
            refused: count("REFUSED"),
            repeats: sums.iter().map(|sum| sum.repeats).sum(),
            duplicates_refused: sums.iter().map(|sum| sum.conflicts).sum(),
            currencies: currencies.into_iter().map(of).collect(),
        }
    }
}
