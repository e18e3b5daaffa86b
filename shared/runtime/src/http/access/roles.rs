//! Which role may do what: all of it in one table.

use crate::http::Role;
use poem::http::Method;

/// The first row whose method and path are those of a request says which role it needs at least. `*` is any one
/// segment, and `**` any number of them. `GET` is `HEAD` too. Whose orders a customer sees is up to order-service.
const TABLE: &[(&str, &str, Role)] = &[
    ("POST", "/api/orders", Role::Customer),
    ("POST", "/api/orders/*/cancel", Role::Customer),
    ("GET", "/api/orders/**", Role::Customer),
    // What people have sent and what operators did is for operators.
    ("GET", "/api/dead-letters/**", Role::Operator),
    ("GET", "/api/audit/**", Role::Operator),
    ("GET", "/api/**", Role::Service),
    // All that changes stock, payments, notices, dead letters: and whatever nobody has thought of.
    ("*", "/**", Role::Operator),
];

/// The role that a request needs at least.
pub(super) fn needed(method: &Method, path: &str) -> Role {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let row = TABLE.iter().find(|(of, pattern, _)| (*of == "*" || *of == method) && fits(pattern, path));
    row.map_or(Role::Operator, |(_, _, role)| *role)
}

fn fits(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        match (expected, segments.next()) {
            ("**", _) => return true,
            ("*", Some(segment)) if !segment.is_empty() => {}
            (expected, Some(segment)) if expected == segment => {}
            (_, _) => return false,
        }
    }
    segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_needs_its_role() {
        use Role::{Customer, Operator, Service};
        let rows = [
            ("POST", "/api/orders", Customer),
            ("GET", "/api/orders", Customer),
            ("GET", "/api/orders/events", Customer),
            ("GET", "/api/orders/7", Customer),
            ("HEAD", "/api/orders/7", Customer),
            ("GET", "/api/orders/7/timeline", Customer),
            ("GET", "/api/orders/7/events", Customer),
            ("POST", "/api/orders/7/cancel", Customer),
            ("POST", "/api/orders/7/retry", Operator),
            ("POST", "/api/orders/7/resolve", Operator),
            ("POST", "/api/orders/7/cancel/again", Operator),
            ("POST", "/api/orders//cancel", Operator),
            ("DELETE", "/api/orders/7", Operator),
            ("GET", "/api/ordersandmore", Service),
            ("GET", "/api/payments", Service),
            ("GET", "/api/payments/7", Service),
            ("POST", "/api/payments/7/refund/retry", Operator),
            ("POST", "/api/payments/7/refund/resolve", Operator),
            ("POST", "/api/payments/7/attention/resolve", Operator),
            ("GET", "/api/dead-letters", Operator),
            ("GET", "/api/dead-letters/7", Operator),
            ("GET", "/api/audit", Operator),
            ("GET", "/api/stock", Service),
            ("GET", "/api/stock/P1", Service),
            ("PUT", "/api/stock/P1", Operator),
            ("POST", "/api/stock/P1/adjustments", Operator),
            ("GET", "/api/reservations", Service),
            ("GET", "/api/notifications", Service),
            ("POST", "/api/notifications/7/resend", Operator),
            ("POST", "/api/dead-letters/7/redrive", Operator),
            ("GET", "//api/stock", Operator),
            ("GET", "/API/stock", Operator),
            ("GET", "/%61pi/stock", Operator),
            ("GET", "/", Operator),
            ("get", "/api/stock", Operator),
            ("BREW", "/api/orders", Operator),
        ];
        for (method, path, role) in rows {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            assert_eq!(needed(&method, path), role, "{method} {path}");
        }
    }

    #[test]
    fn a_later_role_may_all_that_an_earlier_one_may() {
        assert!(Role::Customer < Role::Service && Role::Service < Role::Operator);
    }
}
