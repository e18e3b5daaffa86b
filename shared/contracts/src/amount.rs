//! Money, exactly: never a binary float, neither in memory nor on the wire.

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Number;
use std::fmt;
use std::str::FromStr;

/// An exact amount of money in ten-thousandths of the currency's unit, from
/// -922337203685477.5808 to 922337203685477.5807.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

/// Why a number is not [`Money`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMoney {
    /// More decimal places than money has.
    #[error("has more than 4 decimal places")]
    TooManyPlaces,
    /// Beyond what 64 bits of ten-thousandths hold.
    #[error("is beyond 922337203685477.5807")]
    OutOfRange,
}

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(0);
    /// The largest amount.
    pub const MAX: Money = Money(i64::MAX);
    const SCALE: u32 = 4;
    const UNIT: i64 = 10_i64.pow(Self::SCALE);

    /// From a count of ten-thousandths, the form in which the databases store it.
    pub const fn from_ten_thousandths(value: i64) -> Self {
        Money(value)
    }

    /// The count of ten-thousandths.
    pub const fn ten_thousandths(self) -> i64 {
        self.0
    }

    /// From a decimal, if it is exactly representable.
    pub fn from_decimal(value: Decimal) -> Result<Self, NotMoney> {
        let value = value.normalize();
        if value.scale() > Self::SCALE {
            return Err(NotMoney::TooManyPlaces);
        }
        let scale_up = 10_i128.pow(Self::SCALE - value.scale());
        value
            .mantissa()
            .checked_mul(scale_up)
            .and_then(|units| i64::try_from(units).ok())
            .map(Money)
            .ok_or(NotMoney::OutOfRange)
    }

    /// The same amount as a decimal without trailing zeros.
    pub fn to_decimal(self) -> Decimal {
        Decimal::from_i128_with_scale(i128::from(self.0), Self::SCALE).normalize()
    }

    /// From the text of a JSON number, exponents included.
    pub fn from_number(number: &Number) -> Result<Self, NotMoney> {
        let text = number.as_str();
        match decimal(text) {
            Ok(decimal) => Self::from_decimal(decimal),
            // Beyond the 28 digits of a decimal: either far too large, or far too fine.
            Err(rust_decimal::Error::Underflow) => Err(NotMoney::TooManyPlaces),
            Err(_) if text.contains("e-") || text.contains("E-") => Err(NotMoney::TooManyPlaces),
            Err(_) => Err(NotMoney::OutOfRange),
        }
    }

    /// The same amount as a JSON number.
    pub fn to_number(self) -> Number {
        match self.0 % Self::UNIT {
            0 => Number::from(self.0 / Self::UNIT),
            _ => Number::from_str(&self.to_string()).expect("a decimal is a JSON number"),
        }
    }
}

/// The text of a JSON number as a decimal, exactly, if 28 digits hold it.
fn decimal(text: &str) -> Result<Decimal, rust_decimal::Error> {
    let (digits, exponent) =
        text.split_once(['e', 'E']).map_or((text, None), |(digits, exponent)| (digits, Some(exponent)));
    // Zeros behind the last place say nothing, however many they are.
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    };
    // With an exponent at once, what is beyond 28 digits would be rounded.
    let decimal = Decimal::from_str_exact(digits)?;
    match exponent {
        Some(exponent) if !decimal.is_zero() => {
            Decimal::from_scientific(&format!("{}e{exponent}", decimal.normalize()))
        }
        Some(_) | None => Ok(decimal),
    }
}

/// Reads a whole number; for `deserialize_with`. `2.0` is one to JSON Schema, too. One beyond 64 bits is the last of them:
/// it parses, and is impossible, and is so answered in the saga.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = Number::deserialize(deserializer)?;
    let text = number.as_str();
    if let Ok(whole) = text.parse() {
        return Ok(whole);
    }
    let last = if text.starts_with('-') { i64::MIN } else { i64::MAX };
    match decimal(text).map(|decimal| decimal.normalize()) {
        Ok(decimal) if decimal.scale() == 0 => Ok(i64::try_from(decimal.mantissa()).unwrap_or(last)),
        Err(error) if error != rust_decimal::Error::Underflow && !text.contains(['.', '-']) => Ok(last),
        Ok(_) | Err(_) => Err(serde::de::Error::custom(format_args!("{number} is no whole number"))),
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) =
            (self.0.unsigned_abs() / Self::UNIT.unsigned_abs(), self.0.unsigned_abs() % Self::UNIT.unsigned_abs());
        let sign = if self.0 < 0 { "-" } else { "" };
        match part {
            0 => write!(f, "{sign}{whole}"),
            part => f.write_str(format!("{sign}{whole}.{part:04}").trim_end_matches('0')),
        }
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_number().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Number::deserialize(deserializer)?;
        Money::from_number(&number).map_err(|why| serde::de::Error::custom(format_args!("the amount {number} {why}")))
    }
}

/// An amount as it came over the wire.
///
/// A foreign service may send a number that is no [`Money`]. That is an impossible value and not an unreadable
/// message, so it is kept as it was written and answered in the saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Amount {
    /// An amount we can work with.
    Exact(Money),
    /// Any other JSON number, as it was written.
    Impossible(Number),
}

impl Amount {
    /// The amount, if it is money and more than nothing.
    pub fn positive(&self) -> Result<Money, String> {
        match self {
            Amount::Exact(money) if *money > Money::ZERO => Ok(*money),
            Amount::Exact(money) => Err(format!("the amount {money} is not positive")),
            Amount::Impossible(number) => match Money::from_number(number) {
                Ok(_) => Err(format!("the amount {number} was not read as money")),
                Err(why) => Err(format!("the amount {number} {why}")),
            },
        }
    }
}

impl From<Money> for Amount {
    fn from(money: Money) -> Self {
        Amount::Exact(money)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Amount::Exact(money) => money.serialize(serializer),
            Amount::Impossible(number) => number.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Number::deserialize(deserializer)?;
        Ok(match Money::from_number(&number) {
            Ok(money) => Amount::Exact(money),
            Err(_) => Amount::Impossible(number),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly_or_refused() {
        let rows: &[(&str, Result<i64, NotMoney>)] = &[
            ("99.99", Ok(999_900)),
            ("0", Ok(0)),
            ("-1", Ok(-10_000)),
            ("1e2", Ok(1_000_000)),
            ("9.999E1", Ok(999_900)),
            ("0.0001", Ok(1)),
            ("1.50000000", Ok(15_000)),
            ("99.9900000000000000000000000000000000", Ok(999_900)),
            ("12345678901234.5678", Ok(123_456_789_012_345_678)),
            ("922337203685477.5807", Ok(i64::MAX)),
            ("922337203685477.5808", Err(NotMoney::OutOfRange)),
            ("9223372036854775808", Err(NotMoney::OutOfRange)),
            ("1e400", Err(NotMoney::OutOfRange)),
            ("0.00001", Err(NotMoney::TooManyPlaces)),
            ("1e-400", Err(NotMoney::TooManyPlaces)),
            ("0.00000000000000000000000000000000000001", Err(NotMoney::TooManyPlaces)),
            ("99.9900000000000000000000000000000001e0", Err(NotMoney::TooManyPlaces)),
            ("0.00000000000000000000000000000000000001e38", Err(NotMoney::TooManyPlaces)),
            ("0e400", Ok(0)),
            ("0.0e-30", Ok(0)),
        ];
        for (text, expected) in rows {
            let number: Number = serde_json::from_str(text).unwrap();
            assert_eq!(Money::from_number(&number).map(Money::ten_thousandths), *expected, "{text}");
        }
    }

    #[test]
    fn an_impossible_amount_goes_out_as_it_came_in() {
        for text in ["99.99", "1e400", "-5", "0.00001"] {
            let amount: Amount = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&amount).unwrap(), text.replace("1e400", "1e+400"));
        }
    }

    #[test]
    fn whole_numbers_are_read_however_they_are_written() {
        let rows = [
            ("2", Some(2)),
            ("-2", Some(-2)),
            ("2.0", Some(2)),
            ("2.00000000000000000000000000000000000", Some(2)),
            ("2e3", Some(2_000)),
            ("20e-1", Some(2)),
            ("100000000000000000000", Some(i64::MAX)),
            ("-100000000000000000000", Some(i64::MIN)),
            ("100000000000000000000000000000000000", Some(i64::MAX)),
            ("1e400", Some(i64::MAX)),
            ("1.5", None),
            ("1e-400", None),
            ("\"2\"", None),
            ("null", None),
        ];
        for (text, expected) in rows {
            assert_eq!(whole(&mut serde_json::Deserializer::from_str(text)).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_string_is_not_an_amount() {
        assert!(serde_json::from_str::<Amount>("\"99.99\"").is_err());
    }
}
