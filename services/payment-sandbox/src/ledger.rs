//! The rules of the books, pure: what a request under an idempotency key is answered.

use contracts::{Money, Timestamp};
use std::collections::{BTreeSet, HashMap};
use strum::{EnumString, IntoStaticStr, VariantArray};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, VariantArray, IntoStaticStr, EnumString)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// Take money.
    Charge,
    /// Give back what was taken.
    Refund,
}

/// What became of it, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr, EnumString)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// A charge: the money was taken.
    Charged,
    /// A charge: it was not, and will not be.
    Declined,
    /// A refund: the money was given back.
    Refunded,
    /// A refund: it was not, and will not be.
    Refused,
}

/// A request to move money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Which way.
    pub kind: Kind,
    /// The idempotency key, one for each kind.
    pub key: String,
    /// Whose money.
    pub customer_id: String,
    /// How much; more than nothing.
    pub amount: Money,
    /// ISO 4217.
    pub currency: String,
    /// The caller's name of what is paid for. A refund bears that of its charge.
    pub reference: String,
}

/// A line of the books: the first request of a key, with its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The request.
    pub transfer: Transfer,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was declined or refused.
    pub reason: Option<String>,
    /// How often the key was asked for this.
    pub asked: i64,
    /// How often the key was asked for something else.
    pub conflicts: i64,
    /// When it was first asked for.
    pub at: Timestamp,
}

/// Which charges are declined.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Those of this customer.
    pub declined_customer: String,
    /// Those of larger amounts, if this is set.
    pub declined_above: Option<Money>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its outcome, with the reason where there is one.
    Settled {
        /// What became of it.
        outcome: Outcome,
        /// Why it was declined or refused.
        reason: Option<String>,
        /// Whether the key was asked before.
        replayed: bool,
    },
    /// The key was asked for something else before. Nothing was done.
    Conflict,
}

/// The part of the books that a batch of requests needs: every entry under their keys and references.
#[derive(Clone, Debug, Default)]
pub struct Book {
    entries: Vec<Entry>,
    places: HashMap<(Kind, String), usize>,
    changed: BTreeSet<usize>,
}

impl Book {
    /// With these entries, in the order of the books.
    pub fn new(entries: Vec<Entry>) -> Self {
        let key = |entry: &Entry| (entry.transfer.kind, entry.transfer.key.clone());
        let places = entries.iter().enumerate().map(|(place, entry)| (key(entry), place)).collect();
        Book { entries, places, changed: BTreeSet::new() }
    }

    /// Answers a request. The first outcome of a key is its outcome for ever.
    pub fn take(&mut self, terms: &Terms, transfer: Transfer, at: Timestamp) -> Answer {
        if let Some(&place) = self.places.get(&(transfer.kind, transfer.key.clone())) {
            self.changed.insert(place);
            let entry = &mut self.entries[place];
            if entry.transfer != transfer {
                entry.conflicts += 1;
                return Answer::Conflict;
            }
            entry.asked += 1;
            return Answer::Settled { outcome: entry.outcome, reason: entry.reason.clone(), replayed: true };
        }
        let decided = match transfer.kind {
            Kind::Charge => terms.declines(&transfer).map_or(Ok(Outcome::Charged), |why| Err((Outcome::Declined, why))),
            Kind::Refund => self.refuses(&transfer).map_or(Ok(Outcome::Refunded), |why| Err((Outcome::Refused, why))),
        };
        let (outcome, reason) = match decided {
            Ok(outcome) => (outcome, None),
            Err((outcome, why)) => (outcome, Some(why)),
        };
        let place = self.entries.len();
        self.places.insert((transfer.kind, transfer.key.clone()), place);
        self.changed.insert(place);
        self.entries.push(Entry { transfer, outcome, reason: reason.clone(), asked: 1, conflicts: 0, at });
        Answer::Settled { outcome, reason, replayed: false }
    }

    /// The entries that are new or were asked again, in the order of the books.
    pub fn changed(&self) -> impl Iterator<Item = &Entry> {
        self.changed.iter().map(|place| &self.entries[*place])
    }

    /// Why a refund is refused, if it is: there must be as much left of what was charged.
    fn refuses(&self, refund: &Transfer) -> Option<String> {
        let of_it = self.entries.iter().filter(|entry| {
            let theirs = &entry.transfer;
            theirs.reference == refund.reference
                && theirs.currency == refund.currency
                && theirs.customer_id == refund.customer_id
        });
        let (mut charged, mut given_back) = (0_i128, 0_i128);
        for entry in of_it {
            let amount = i128::from(entry.transfer.amount.ten_thousandths());
            match entry.outcome {
                Outcome::Charged => charged += amount,
                Outcome::Refunded => given_back += amount,
                Outcome::Declined | Outcome::Refused => {}
            }
        }
        let Transfer { reference, amount, currency, .. } = refund;
        if charged == 0 {
            return Some(format!("nothing was charged as {reference} in {currency} to this customer"));
        }
        let left = charged - given_back;
        (i128::from(amount.ten_thousandths()) > left)
            .then(|| format!("{amount} {currency} is more than is left of what was charged as {reference}"))
    }
}

impl Terms {
    /// Why a charge is declined, if it is.
    fn declines(&self, charge: &Transfer) -> Option<String> {
        let Transfer { customer_id, amount, currency, .. } = charge;
        if *customer_id == self.declined_customer {
            return Some(format!("the payment of customer {customer_id} was declined"));
        }
        let limit = self.declined_above.filter(|limit| amount > limit)?;
        Some(format!("{amount} {currency} is more than the limit of {limit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn transfer(kind: Kind, key: &str, amount: i64) -> Transfer {
        Transfer {
            kind,
            key: key.into(),
            customer_id: "cust-1".into(),
            amount: Money::from_ten_thousandths(amount),
            currency: "USD".into(),
            reference: "payment-1".into(),
        }
    }

    fn outcome(answer: Answer) -> (Outcome, bool) {
        match answer {
            Answer::Settled { outcome, replayed, .. } => (outcome, replayed),
            Answer::Conflict => panic!("a conflict"),
        }
    }

    #[test]
    fn the_first_outcome_of_a_key_is_final() {
        let mut book = Book::default();
        let strict = Terms { declined_customer: "cust-1".into(), declined_above: None };
        let charge = transfer(Kind::Charge, "a", 5);
        assert_eq!(outcome(book.take(&strict, charge.clone(), Timestamp(1))), (Outcome::Declined, false));
        assert_eq!(outcome(book.take(&Terms::default(), charge, Timestamp(2))), (Outcome::Declined, true));
        assert_eq!(book.take(&Terms::default(), transfer(Kind::Charge, "a", 6), Timestamp(3)), Answer::Conflict);
        let entry = book.changed().next().expect("an entry");
        assert_eq!((entry.asked, entry.conflicts, entry.at), (2, 1, Timestamp(1)));
    }

    #[test]
    fn a_charge_above_the_limit_is_declined() {
        let terms = Terms { declined_above: Some(Money::from_ten_thousandths(10)), ..Terms::default() };
        let mut book = Book::default();
        for (key, amount, expected) in [("a", 10, Outcome::Charged), ("b", 11, Outcome::Declined)] {
            let answer = book.take(&terms, transfer(Kind::Charge, key, amount), Timestamp(1));
            assert_eq!(outcome(answer).0, expected, "{amount}");
        }
    }

    #[test]
    fn a_refund_needs_its_charge() {
        let mut book = Book::default();
        let terms = Terms::default();
        let rows = [
            ("before the charge", transfer(Kind::Refund, "r0", 5), Outcome::Refused),
            ("the charge", transfer(Kind::Charge, "c", 10), Outcome::Charged),
            ("of more", transfer(Kind::Refund, "r1", 11), Outcome::Refused),
            (
                "of another currency",
                Transfer { currency: "EUR".into(), ..transfer(Kind::Refund, "r2", 5) },
                Outcome::Refused,
            ),
            ("of a part", transfer(Kind::Refund, "r3", 4), Outcome::Refunded),
            ("of the rest", transfer(Kind::Refund, "r4", 6), Outcome::Refunded),
            ("a second time", transfer(Kind::Refund, "r5", 6), Outcome::Refused),
        ];
        for (case, transfer, expected) in rows {
            assert_eq!(outcome(book.take(&terms, transfer, Timestamp(1))).0, expected, "{case}");
        }
    }

    proptest! {
        #[test]
        fn never_more_is_given_back_than_was_taken(
            asked in prop::collection::vec((any::<bool>(), 0..6_u8, 1..20_i64), 0..40),
        ) {
            let mut book = Book::default();
            for (charges, key, amount) in asked {
                let kind = if charges { Kind::Charge } else { Kind::Refund };
                book.take(&Terms::default(), transfer(kind, &key.to_string(), amount), Timestamp(1));
                let sum = |outcome: Outcome| -> i64 {
                    let of_it = book.entries.iter().filter(|entry| entry.outcome == outcome);
                    of_it.map(|entry| entry.transfer.amount.ten_thousandths()).sum()
                };
                prop_assert!(sum(Outcome::Refunded) <= sum(Outcome::Charged));
            }
        }
    }
}
