//! Plain data in a JSON column.

use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr};
use sea_orm::{ColIdx, QueryResult, TryGetError, TryGetable, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// JSON as text: a row is written far more often than it is read, and as `serde_json::Value` each of its words would be
/// an allocation, again for every copy that is made on the way to the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonText(String);

impl JsonText {
    /// This data.
    ///
    /// # Panics
    ///
    /// Data with keys that are no text, or with a serializer that fails, is no JSON.
    pub fn of(data: &impl Serialize) -> Self {
        JsonText(serde_json::to_string(data).expect("plain data is JSON"))
    }

    /// The data, or what is wrong with it.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_str(&self.0).map_err(|error| error.to_string())
    }
}

impl From<JsonText> for Value {
    fn from(json: JsonText) -> Self {
        json.0.into()
    }
}

impl TryGetable for JsonText {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        serde_json::Value::try_get_by(row, index).map(|json| JsonText(json.to_string()))
    }
}

impl ValueType for JsonText {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        <String as ValueType>::try_from(value).map(JsonText)
    }

    fn type_name() -> String {
        "JsonText".to_owned()
    }

    fn array_type() -> ArrayType {
        ArrayType::String
    }

    fn column_type() -> ColumnType {
        ColumnType::JsonBinary
    }
}

impl Nullable for JsonText {
    fn null() -> Value {
        String::null()
    }
}
