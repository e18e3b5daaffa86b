use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseFromParameter, ParseResult, Type};
use std::borrow::Cow;

/// What ties together all that comes of one request. Routes get only those that [`is_correlation_id`] takes, since the
/// edge refuses others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorrelationId(pub String);

/// The longest one, in characters.
pub(super) const LONGEST: usize = 200;

/// Whether a caller's own can be kept: 1 to 200 visible ASCII characters, with spaces only inside.
pub(super) fn is_correlation_id(text: &str) -> bool {
    let is_visible = |byte| matches!(byte, b' '..=b'~');
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_visible) && text.trim_ascii() == text
}

impl Type for CorrelationId {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "correlation id".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        // An empty header counts as none.
        let pattern = Some("^([!-~]([ -~]*[!-~])?)?$".to_owned());
        let max_length = Some(LONGEST);
        MetaSchemaRef::Inline(Box::new(MetaSchema { pattern, max_length, ..MetaSchema::new("string") }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromParameter for CorrelationId {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        Ok(CorrelationId(text.to_owned()))
    }
}
