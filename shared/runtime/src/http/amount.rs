use contracts::{Amount, Money};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;

/// An amount in a body: a JSON number, read and written exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonAmount(pub Amount);

impl From<Money> for JsonAmount {
    fn from(money: Money) -> Self {
        JsonAmount(Amount::Exact(money))
    }
}

impl JsonAmount {
    /// The amount as money, or what is wrong with it.
    pub fn money(&self) -> Result<Money, String> {
        match &self.0 {
            Amount::Exact(money) => Ok(*money),
            Amount::Impossible(number) => match Money::from_number(number) {
                Ok(money) => Ok(money),
                Err(why) => Err(why.to_string()),
            },
        }
    }
}

impl Type for JsonAmount {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "amount".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let mut schema = MetaSchema::new("number");
        schema.description = Some("An exact decimal with at most 4 places, up to 922337203685477.5807.");
        MetaSchemaRef::Inline(Box::new(schema))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for JsonAmount {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        serde_json::from_value(value.unwrap_or_default()).map_err(ParseError::custom)
    }
}

impl ToJSON for JsonAmount {
    fn to_json(&self) -> Option<Value> {
        Some(match &self.0 {
            Amount::Exact(money) => Value::Number(money.to_number()),
            Amount::Impossible(number) => Value::Number(number.clone()),
        })
    }
}
