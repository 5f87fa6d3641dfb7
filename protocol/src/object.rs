// SPDX-License-Identifier: Apache-2.0
//! How JSON objects and fixed strings are decoded: strictly, and in one pass.
//!
//! The derived `Deserialize` is not used for the contract's objects, for three reasons.
//! It accepts an array in an object's place, and `{"function":null}` in place of `"function"`.
//! Its internally tagged enums hold the whole content in a tree until the tag is known, which
//! costs copies and makes raw JSON impossible.
//! Instead each object becomes one flat structure that knows every field of every variant; the
//! fields are parsed where they stand, and the tag decides afterwards which of them may be there.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};

use crate::InvalidValue;
use crate::quote::quotable;

/// Defines the flat structure of an object, with a `Deserialize` that refuses everything but a
/// JSON object, and in it unknown and repeated fields.
///
/// Each field is `None` when the object does not have it. A field whose value may be null has an
/// `Option` type of its own.
macro_rules! wire_object {
    ($(#[$meta:meta])* $name:ident ($owner:literal) {
        $($field:ident: $type:ty = $key:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Default)]
        pub(crate) struct $name {
            $($field: Option<$type>),+
        }

        #[allow(dead_code, reason = "objects without variants need no check of foreign fields")]
        impl $name {
            /// Refuses the fields that a variant does not have, for example a `result` in a
            /// `connection/hello`.
            fn refuse_others(
                &self,
                variant: &str,
                allowed: &[&str],
            ) -> Result<(), $crate::object::ShapeError> {
                $(if self.$field.is_some() && !allowed.contains(&$key) {
                    return Err($crate::object::ShapeError::foreign_field($key, variant));
                })+
                Ok(())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct ObjectVisitor;

                impl<'de> serde::de::Visitor<'de> for ObjectVisitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!($owner, " (an object)"))
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<$name, A::Error> {
                        let key = $crate::object::KnownKey { owner: $owner, keys: &[$($key),+] };
                        let mut object = $name::default();
                        while let Some(key) = map.next_key_seed(key)? {
                            match key {
                                $($key => {
                                    if object.$field.is_some() {
                                        return Err(serde::de::Error::duplicate_field($key));
                                    }
                                    object.$field = Some(map.next_value()?);
                                })+
                                unknown => {
                                    return Err($crate::object::unknown_field($owner, unknown));
                                }
                            }
                        }
                        Ok(object)
                    }
                }

                deserializer.deserialize_map(ObjectVisitor)
            }
        }
    };
}

/// Defines an enum whose values are fixed strings on the wire.
macro_rules! wire_strings {
    ($(#[$meta:meta])* $visibility:vis enum $name:ident ($owner:literal) {
        $($(#[$variant_meta:meta])* $variant:ident = $text:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $visibility enum $name {
            $($(#[$variant_meta])* $variant),+
        }

        impl $name {
            /// The value as it stands on the wire.
            $visibility const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor;

                impl serde::de::Visitor<'_> for TextVisitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!($owner, " (a string)"))
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        match text {
                            $($text => Ok($name::$variant),)+
                            other => Err(E::custom(format_args!(
                                "{:?} is not {}", $crate::quote::quotable(other), $owner
                            ))),
                        }
                    }
                }

                deserializer.deserialize_str(TextVisitor)
            }
        }
    };
}

/// Gives the values of an enum of the interface their fixed strings on the wire.
macro_rules! wire_names {
    ($name:ty, $owner:literal { $($variant:ident = $text:literal),+ $(,)? }) => {
        impl serde::Serialize for $crate::wire::Wire<&$name> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(match self.0 {
                    $(<$name>::$variant => $text),+
                })
            }
        }

        impl<'de> serde::Deserialize<'de> for $crate::wire::Wire<$name> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor;

                impl serde::de::Visitor<'_> for TextVisitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!($owner, " (a string)"))
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        match text {
                            $($text => Ok(<$name>::$variant),)+
                            other => Err(E::custom(format_args!(
                                "{:?} is not {}", $crate::quote::quotable(other), $owner
                            ))),
                        }
                    }
                }

                deserializer.deserialize_str(TextVisitor).map($crate::wire::Wire)
            }
        }
    };
}

/// Reads a value of the interface from the fields of its object.
macro_rules! wire_value {
    ($fields:ident => $name:ty) => {
        impl<'de> serde::Deserialize<'de> for $crate::wire::Wire<$name> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let fields = <$fields as serde::Deserialize>::deserialize(deserializer)?;
                let value = <$name>::try_from(fields).map_err(serde::de::Error::custom)?;
                Ok(Self(value))
            }
        }
    };
}

pub(crate) use {wire_names, wire_object, wire_strings, wire_value};

/// Reads an object's key and gives back the known key that it equals.
#[derive(Clone, Copy)]
pub(crate) struct KnownKey {
    /// The object, for errors.
    pub(crate) owner: &'static str,
    /// Every key that the object may have.
    pub(crate) keys: &'static [&'static str],
}

impl<'de> DeserializeSeed<'de> for KnownKey {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KnownKey {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a field of {}", self.owner)
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<&'static str, E> {
        match self.keys.iter().find(|known| **known == key) {
            Some(known) => Ok(known),
            None => Err(unknown_field(self.owner, key)),
        }
    }
}

/// The error for a field that an object does not have.
pub(crate) fn unknown_field<E: Error>(owner: &str, key: &str) -> E {
    E::custom(format_args!("unknown field {:?} in {owner}", quotable(key)))
}

/// Why the fields of an object do not make the thing that its tag says.
#[derive(Debug)]
pub(crate) struct ShapeError(String);

impl ShapeError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn foreign_field(key: &str, variant: &str) -> Self {
        Self(format!("field `{key}` does not belong to {variant}"))
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<InvalidValue> for ShapeError {
    fn from(invalid: InvalidValue) -> Self {
        Self(invalid.to_string())
    }
}

/// The value of a field that must be there.
pub(crate) fn required<T>(
    field: Option<T>,
    key: &'static str,
    owner: &str,
) -> Result<T, ShapeError> {
    field.ok_or_else(|| ShapeError(format!("missing field `{key}` in {owner}")))
}
