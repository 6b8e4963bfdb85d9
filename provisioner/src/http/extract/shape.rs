// SPDX-License-Identifier: Apache-2.0
//! Whether JSON has the shape of what it was understood as.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, Serialize};
use serde_json::Value;

/// Refuses JSON with an array where `understood` has an object; the words name the field.
pub(super) fn same<T: Serialize>(understood: &T, sent: &[u8]) -> Result<(), String> {
    // What was just read can be written; where it cannot, it is not compared with anything.
    let understood = serde_json::to_value(understood).map_err(|error| error.to_string())?;
    let mut json = serde_json::Deserializer::from_slice(sent);
    Like {
        understood: &understood,
        place: "",
    }
    .deserialize(&mut json)
    .map_err(|error| error.to_string())
}

/// The fields, at any depth, that a `T` does not have.
pub(super) fn unknown<T: DeserializeOwned>(sent: &[u8]) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut json = serde_json::Deserializer::from_slice(sent);
    // It was understood before: only what was passed over is asked for here.
    let _ = serde_ignored::deserialize::<_, _, T>(&mut json, |path| unknown.push(path.to_string()));
    unknown
}

/// Reads a value that was understood as this one. Nothing is kept of it: it may be large.
struct Like<'a> {
    understood: &'a Value,
    place: &'a str,
}

impl<'de> DeserializeSeed<'de> for Like<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.understood {
            Value::Object(_) | Value::Array(_) => deserializer.deserialize_any(self),
            _ => deserializer.deserialize_ignored_any(IgnoredAny).map(drop),
        }
    }
}

impl<'de> Visitor<'de> for Like<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.understood, self.place) {
            (Value::Object(_), "") => f.write_str("an object"),
            (Value::Object(_), place) => write!(f, "an object for {place}"),
            _ => f.write_str("a value"),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let understood = self.understood.get(&key).unwrap_or(&Value::Null);
            map.next_value_seed(Like {
                understood,
                place: &key,
            })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Value::Array(understood) = self.understood else {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        };
        let mut understood = understood.iter();
        while list
            .next_element_seed(Like {
                understood: understood.next().unwrap_or(&Value::Null),
                place: self.place,
            })?
            .is_some()
        {}
        Ok(())
    }

    // An enum may be written as a word, a number or nothing where it is understood as an object.
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use provisioner_api::{Approve, Event, Inventory, NodeEvent, Register};
    use serde_json::json;

    use super::*;

    fn fits<T: DeserializeOwned + Serialize>(sent: &Value) -> Result<(), String> {
        let bytes = serde_json::to_vec(sent).unwrap();
        let understood: T = serde_json::from_slice(&bytes).unwrap();
        same(&understood, &bytes)
    }

    #[test]
    fn an_array_is_no_object_at_any_depth() {
        assert!(fits::<Approve>(&json!([])).unwrap_err().contains("object"));
        assert!(fits::<Approve>(&json!(["compute"])).is_err());
        let event = |event: Value| json!({"boot_id": "b", "sequence": 1, "event": event});
        assert!(fits::<NodeEvent>(&event(json!({"kind": "checked", "findings": ["x"]}))).is_ok());
        let told = serde_json::to_value(Event::Rebooting).unwrap();
        assert!(fits::<NodeEvent>(&event(told)).is_ok());
        let refused = fits::<NodeEvent>(&event(json!(["rebooting"]))).unwrap_err();
        assert!(refused.contains("event"), "{refused}");
        let inventory = serde_json::to_value(Inventory::default()).unwrap();
        let mut register = json!({"boot_id": "b", "life": "ram", "version": "1", "inventory": inventory, "newer": [1]});
        assert!(fits::<Register>(&register).is_ok(), "a newer node says more");
        register["inventory"]["smbios"] = json!(vec![Value::Null; 12]);
        assert!(fits::<Register>(&register).is_err());
    }

    #[test]
    fn what_is_not_known_is_named_with_its_place() {
        let mut inventory = serde_json::to_value(Inventory::default()).unwrap();
        inventory["rtc"]["dsk"] = json!(1);
        inventory["x"] = json!({});
        let sent = serde_json::to_vec(&inventory).unwrap();
        assert_eq!(unknown::<Inventory>(&sent), ["rtc.dsk", "x"]);
    }
}
