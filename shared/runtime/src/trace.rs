//! W3C trace context, as text: <https://www.w3.org/TR/trace-context/#traceparent-header>.

use uuid::Uuid;

/// The request's own `traceparent` if it has a valid one, else the beginning of a new trace.
pub fn accept(header: Option<&str>) -> String {
    match header.filter(|text| is_valid(text)) {
        Some(text) => text.to_owned(),
        None => {
            let random = Uuid::new_v4();
            format!("00-{}-{}-01", random.simple(), span_of(random))
        }
    }
}

/// The same trace with a span of its own for one event: a function of the event's id, so that a repetition of the
/// event carries the same.
pub fn child(traceparent: &str, event: Uuid) -> String {
    let parts: Vec<&str> = traceparent.split('-').collect();
    match parts.as_slice() {
        [version, trace, _, flags] if is_valid(traceparent) => format!("{version}-{trace}-{}-{flags}", span_of(event)),
        _ => format!("00-{}-{}-01", event.simple(), span_of(event)),
    }
}

fn span_of(id: Uuid) -> String {
    // The last eight bytes: of a version 5 UUID they are never all zero, since they hold the variant.
    format!("{:016x}", id.as_u64_pair().1)
}

fn is_valid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let nonzero = |part: &str| part.bytes().any(|b| b != b'0');
    matches!(parts.as_slice(), ["00", trace, span, flags]
        if hex(trace, 32) && nonzero(trace) && hex(span, 16) && nonzero(span) && hex(flags, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_header_is_kept_and_any_other_replaced() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(accept(Some(valid)), valid);
        for bad in ["", "00-0-0-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "garbage"] {
            let fresh = accept(Some(bad));
            assert!(is_valid(&fresh), "{bad} gave {fresh}");
        }
    }

    #[test]
    fn a_child_stays_in_its_trace() {
        let child = child("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Uuid::from_u128(7));
        assert_eq!(child, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-01");
    }
}
