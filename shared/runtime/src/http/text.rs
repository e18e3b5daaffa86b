//! Texts of a form that the documents tell, and that who takes them checks: poem-openapi would compile a pattern anew for
//! each request.

use super::{Fields, Refusal};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type};
use serde::Deserialize;
use serde_json::Value;
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Text<F>(pub String, PhantomData<F>);

impl<F> From<&str> for Text<F> {
    fn from(text: &str) -> Self {
        Text(text.to_owned(), PhantomData)
    }
}

/// What people write, or a name. [`Fields::check_text`] checks it.
pub type Words = Text<WordsForm>;

/// The form of words: not blank, not too long, no control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WordsForm;

impl Words {
    /// The text; 422 if it is none that people and databases can take.
    pub fn check(self, pointer: &str) -> Result<String, Refusal> {
        let mut fields = Fields::default();
        fields.check_text(&self.0, pointer);
        fields.finish().map(|()| self.0)
    }
}

impl Form for WordsForm {
    const NAME: &'static str = "words";
    const SHORTEST: Option<usize> = Some(1);
    const LONGEST: usize = 200;
    const PATTERN: &'static str = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$";
}

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
        Ok(text.into())
    }
}

impl<F: Form> ParseFromJSON for Text<F> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let text = String::parse_from_json(value).map_err(ParseError::propagate)?;
        Ok(Text(text, PhantomData))
    }
}

impl<F: Form> ToJSON for Text<F> {
    fn to_json(&self) -> Option<Value> {
        self.0.to_json()
    }
}
