//! Texts in headers. The documents tell their form, and who takes them checks it: poem-openapi would compile a pattern anew
//! for each request.

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseFromParameter, ParseResult, Type};
use std::borrow::Cow;
use std::marker::PhantomData;

/// A form of text.
pub trait Form: Send + Sync {
    /// Its name.
    const NAME: &'static str;
    /// The shortest, if none is no text at all.
    const SHORTEST: Option<usize>;
    /// The longest, in characters.
    const LONGEST: usize;
    /// What it matches, as a regular expression.
    const PATTERN: &'static str;
}

/// A text that the documents say is of this form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text<F>(pub String, PhantomData<F>);

/// What ties together all that comes of one request. Routes get only those that [`is_correlation_id`] takes, since the
/// edge refuses others.
pub type CorrelationId = Text<CorrelationForm>;

/// The form of a correlation id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorrelationForm;

impl Form for CorrelationForm {
    const NAME: &'static str = "correlation id";
    // An empty header counts as none.
    const SHORTEST: Option<usize> = None;
    const LONGEST: usize = 200;
    const PATTERN: &'static str = "^([!-~]([ -~]*[!-~])?)?$";
}

/// Whether a caller's own can be kept: 1 to 200 visible ASCII characters, with spaces only inside.
pub(super) fn is_correlation_id(text: &str) -> bool {
    let is_visible = |byte| matches!(byte, b' '..=b'~');
    (1..=CorrelationForm::LONGEST).contains(&text.len()) && text.bytes().all(is_visible) && text.trim_ascii() == text
}

impl<F: Form> Type for Text<F> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        F::NAME.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let (min_length, max_length, pattern) = (F::SHORTEST, Some(F::LONGEST), Some(F::PATTERN.to_owned()));
        MetaSchemaRef::Inline(Box::new(MetaSchema { min_length, max_length, pattern, ..MetaSchema::new("string") }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<F: Form> ParseFromParameter for Text<F> {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        Ok(Text(text.to_owned(), PhantomData))
    }
}
