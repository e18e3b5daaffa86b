use iso_currency::Currency;

/// Whether this is an alphabetic code of ISO 4217: three capital letters, on the list.
pub fn is_iso4217(code: &str) -> bool {
    Currency::from_code(code).is_some_and(|currency| currency.code() == code)
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_listed_codes_in_capitals() {
        for (code, listed) in [("USD", true), ("EUR", true), ("usd", false), ("ZZZ", false), ("US", false), ("", false)]
        {
            assert_eq!(super::is_iso4217(code), listed, "{code}");
        }
    }
}
