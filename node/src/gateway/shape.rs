//! What a body must look like beyond what the derived readers see: an object is an object, and what is given is given.
//!
//! The readers that serde derives take an array for an object, member by member, and `null` for what is left out. The
//! document does neither, and a caller that means something else by it is better told than understood.

use core::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A JSON object that is read as a `T`; never an array.
#[derive(Debug, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Map<T>(PhantomData<T>);
        impl<'de, T: DeserializeOwned> Visitor<'de> for Map<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        from.deserialize_map(Map(PhantomData)).map(Self)
    }
}

/// What may be left out and may not be `null`.
pub fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// An integer from 0 on as JSON Schema has it: a number without a fraction, however it is written (`1000.0`, `1e3`).
pub fn integer<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    struct Integer;
    impl Visitor<'_> for Integer {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an integer from 0 on")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<u64, E> {
            /// Beyond 2^53 the number that arrives need not be the one that was written.
            const EXACT: f64 = 9_007_199_254_740_992.0;
            if number.fract() == 0.0 && (0.0..=EXACT).contains(&number) {
                Ok(number as u64)
            } else {
                Err(E::invalid_value(serde::de::Unexpected::Float(number), &self))
            }
        }
    }
    from.deserialize_u64(Integer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        #[serde(default, deserialize_with = "given")]
        subject: Option<String>,
        #[serde(default, deserialize_with = "integer")]
        deadline_ms: Option<u64>,
        #[serde(default)]
        items: Vec<Object<Item>>,
    }

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        item: String,
    }

    fn read(text: &str) -> Result<Asked, String> {
        serde_json::from_str(text).map(|Object(asked)| asked).map_err(|e| e.to_string())
    }

    #[test]
    fn an_array_is_no_object_and_null_is_no_value() {
        assert_eq!(read("{}"), Ok(Asked { subject: None, deadline_ms: None, items: Vec::new() }));
        assert_eq!(read(r#"{"items":[{"item":"CF"}]}"#).unwrap().items[0].0.item, "CF");
        for bad in [
            r#"["9132",1000,[]]"#,
            r#"{"items":[["CF"]]}"#,
            r#"{"subject":null}"#,
            r#"{"deadline_ms":null}"#,
            r#"{"items":null}"#,
            r#"{"subject":"a","subject":"b"}"#,
            r#"{"surprise":1}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_integer_is_one_however_it_is_written() {
        for text in ["1000", "1000.0", "1e3", "1.0E+3"] {
            assert_eq!(
                read(&format!(r#"{{"deadline_ms":{text}}}"#)).unwrap().deadline_ms,
                Some(1000),
                "{text}"
            );
        }
        for text in ["1000.5", "-1", "-1.0", "1e300", "1e400", "\"1000\"", "true", "99999999999999999999999"]
        {
            assert!(read(&format!(r#"{{"deadline_ms":{text}}}"#)).is_err(), "{text}");
        }
    }
}
