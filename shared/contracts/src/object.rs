//! Objects within a body: serde would also take their fields from an array, in their order.

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

/// Reads an object that may be null; for `deserialize_with`, beside `default`.
pub fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(body: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(body)?.map(|Object(object)| object))
}

/// Reads an array of objects; for `deserialize_with`.
pub fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(body: D) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Object<T>>::deserialize(body)?.into_iter().map(|Object(object)| object).collect())
}

struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(body: D) -> Result<Self, D::Error> {
        T::deserialize(AsMap(body)).map(Object)
    }
}

/// Gives a map, whatever is asked for.
struct AsMap<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for AsMap<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::{list, optional};
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only whether it is read counts")]
    struct Line {
        product: String,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only whether it is read counts")]
    struct Body {
        #[serde(default, deserialize_with = "optional")]
        first: Option<Line>,
        #[serde(default, deserialize_with = "list")]
        lines: Vec<Line>,
    }

    #[test]
    fn an_object_is_no_array() {
        let reads = |body: &str| serde_json::from_str::<Body>(body).is_ok();
        assert!(reads(r#"{"first":{"product":"P1"},"lines":[{"product":"P1"},{"product":"P2"}]}"#));
        assert!(reads(r#"{"first":null}"#));
        assert!(reads("{}"));
        assert!(!reads(r#"{"first":["P1"]}"#));
        assert!(!reads(r#"{"lines":[["P1"]]}"#));
        assert!(!reads(r#"{"lines":[null]}"#));
    }
}
