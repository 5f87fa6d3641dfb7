// SPDX-License-Identifier: Apache-2.0
//! Values of the interface on the wire.
//!
//! What crosses the wire and means something beyond it is a type of [`code_mode_api`], which knows
//! no wire. How such a value is written and read stands in this crate, as implementations for
//! [`Wire`]; nobody outside needs to name it.

use std::fmt;

use code_mode_api::{CellId, SessionId};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::InvalidValue;

/// A value, or a reference to one, in its form on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire<T>(pub(crate) T);

/// `serialize_with` for a field whose type is one of the interface's.
pub(crate) fn serialize<T, S>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    S: Serializer,
    for<'a> Wire<&'a T>: Serialize,
{
    Wire(value).serialize(serializer)
}

/// Values that go into one array.
pub(crate) struct WireList<'a, T>(pub(crate) &'a [T]);

impl<T> Serialize for WireList<'_, T>
where
    for<'a> Wire<&'a T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Wire))
    }
}

impl<'de, T> Deserialize<'de> for Wire<Vec<T>>
where
    Wire<T>: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The standard library collects this in place.
        let values = Vec::<Wire<T>>::deserialize(deserializer)?;
        Ok(Self(values.into_iter().map(|Wire(value)| value).collect()))
    }
}

/// Reads and writes an identifier of the interface, which is a string that is not empty.
macro_rules! identifier {
    ($name:ident, $expecting:literal, $of:expr) => {
        impl Serialize for Wire<&$name> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0.as_str())
            }
        }

        impl<'de> Deserialize<'de> for Wire<$name> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor;

                impl Visitor<'_> for TextVisitor {
                    type Value = Wire<$name>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<Wire<$name>, E> {
                        let of: fn(&str) -> Result<$name, InvalidValue> = $of;
                        of(text).map(Wire).map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(TextVisitor)
            }
        }
    };
}

// That a session's id is never used twice on one connection is for the connection to check.
identifier!(SessionId, "a session id (a string)", |text| {
    SessionId::new(text).ok_or(InvalidValue::EmptySessionId)
});

// Any text that is not empty is well formed: asking for a cell that does not exist is answered and
// is no violation.
identifier!(CellId, "a cell id (a string)", |text| {
    let id = CellId::new(text);
    check_cell_id(&id).map(|()| id)
});

/// Refuses a cell's id that cannot stand on the wire.
pub(crate) fn check_cell_id(id: &CellId) -> Result<(), InvalidValue> {
    if id.as_str().is_empty() {
        Err(InvalidValue::EmptyCellId)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_a_string_that_is_not_empty() {
        assert!(serde_json::from_str::<Wire<SessionId>>(r#""""#).is_err());
        assert!(serde_json::from_str::<Wire<CellId>>(r#""""#).is_err());
        assert!(serde_json::from_str::<Wire<CellId>>("1").is_err());
        // Anything else goes; what a session knows is for the session to say.
        for text in [r#"" ""#, r#""no number""#] {
            let session: Wire<SessionId> = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&Wire(&session.0)).unwrap(), text);
            let cell: Wire<CellId> = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&Wire(&cell.0)).unwrap(), text);
        }
    }
}
