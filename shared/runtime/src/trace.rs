//! W3C trace context (<https://www.w3.org/TR/trace-context/#traceparent-header>), and the spans that are told of it.
//!
//! The id of a span that belongs to an event is a function of the event's id. So a step that runs twice, on two sides of
//! a crash, continues the same trace with the same ids, and nothing but the context itself need be stored with a row.

pub mod span;

use std::fmt::{self, Write};
use uuid::Uuid;

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    trace: u128,
    span: u64,
    sampled: bool,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By way of UUIDs, whose digits are written many at a time: every step writes a few contexts.
        let (mut trace, mut span) = (Uuid::encode_buffer(), Uuid::encode_buffer());
        let trace = Uuid::from_u128(self.trace).simple().encode_lower(&mut trace);
        let span = Uuid::from_u128(self.span.into()).simple().encode_lower(&mut span);
        write!(f, "00-{trace}-{}-{:02x}", &span[16..], u8::from(self.sampled))
    }
}

impl From<Context> for String {
    fn from(context: Context) -> Self {
        // As long as it gets, so that it need not grow: every step writes a few.
        let mut text = String::with_capacity(55);
        write!(text, "{context}").expect("writing to a string cannot fail");
        text
    }
}

impl Context {
    /// The beginning of a new trace.
    pub fn fresh() -> Self {
        let trace = Uuid::new_v4();
        Context { trace: trace.as_u128(), span: span_of(trace), sampled: span::samples(trace.as_u64_pair().1) }
    }

    /// The context in this text, if it is a `traceparent` of version 00 that says anything.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let [Some("00"), Some(trace), Some(span), Some(flags), None] = [(); 5].map(|()| parts.next()) else {
            return None;
        };
        let is_hex = |part: &str, len: usize| {
            part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        if !(is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2)) {
            return None;
        }
        let (trace, span) = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(span, 16).ok()?);
        let flags = u8::from_str_radix(flags, 16).ok()?;
        (trace != 0 && span != 0).then_some(Context { trace, span, sampled: flags & 1 == 1 })
    }

    /// A span of its own in the trace of its parent, for what has this id; without a parent in a trace of its own, by
    /// the same id.
    pub fn child_of(parent: Option<Context>, id: Uuid) -> Self {
        match parent {
            Some(parent) => Context { span: span_of(id), ..parent },
            None => Context { trace: id.as_u128(), span: span_of(id), sampled: true },
        }
    }

    /// The trace's id, as it is written.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

/// The request's own `traceparent` if it has a valid one, else the beginning of a new trace.
pub fn accept(header: Option<&str>) -> Context {
    header.and_then(Context::read).unwrap_or_else(Context::fresh)
}

/// The trace's id, for log lines; empty if there is none.
pub fn id(context: Option<Context>) -> String {
    context.map(|context| context.trace_id()).unwrap_or_default()
}

/// The context as a row has it; empty if there is none.
pub fn written(context: Option<Context>) -> String {
    context.map(String::from).unwrap_or_default()
}

fn span_of(id: Uuid) -> u64 {
    // The last eight bytes: of a version 5 UUID they are never all zero, since they hold the variant.
    id.as_u64_pair().1
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_header_is_kept_and_any_other_replaced() {
        assert_eq!(accept(Some(VALID)).to_string(), VALID);
        for bad in ["", "00-0-0-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "garbage"] {
            let fresh = accept(Some(bad)).to_string();
            assert!(Context::read(&fresh).is_some(), "{bad} gave {fresh}");
        }
    }

    #[test]
    fn a_child_stays_in_its_trace_and_is_sampled_as_it_is() {
        let id = Uuid::from_u128(7);
        let child = Context::child_of(Context::read(VALID), id).to_string();
        assert_eq!(child, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-01");
        let unsampled = VALID.replace("-01", "-00");
        assert!(Context::child_of(Context::read(&unsampled), id).to_string().ends_with("-00"));
        let own = Context::child_of(None, id).to_string();
        assert_eq!(own, "00-00000000000000000000000000000007-0000000000000007-01");
    }
}
