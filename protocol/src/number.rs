// SPDX-License-Identifier: Apache-2.0
//! Numbers of a request that may be outside their range.
//!
//! A wrong argument inside a well-formed request is an error response and no violation (wire
//! contract, section *Violations are fatal*), so a number that a field cannot hold must not keep
//! the rest of the message from being read. What is no whole number at all is refused like any
//! other value of a wrong type.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// The most tokens of output that an execute may ask for (wire contract, section *Client to host*).
pub const MAX_OUTPUT_TOKENS: u32 = 2_147_483_647;

/// Why a number is outside the range of its field, in words for the peer; the field's name is put
/// in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutOfRange(String);

impl OutOfRange {
    fn new(number: impl fmt::Display, range: &str) -> Self {
        Self(format!("must be {range}, not {number}"))
    }

    /// The whole sentence, with the name of the field.
    pub(crate) fn of_field(&self, field: &str) -> String {
        format!("{field} {}", self.0)
    }
}

/// A type of number that a field may have.
pub(crate) trait InRange: Sized {
    /// The range in words.
    const RANGE: &'static str;

    /// The value of this number, if it is one.
    fn of(number: u64) -> Option<Self>;
}

impl InRange for u64 {
    const RANGE: &'static str = "0 to 18446744073709551615";

    fn of(number: u64) -> Option<Self> {
        Some(number)
    }
}

/// How many tokens of output a client means to keep: 0 to [`MAX_OUTPUT_TOKENS`].
pub(crate) struct OutputTokens(pub(crate) u32);

impl InRange for OutputTokens {
    const RANGE: &'static str = "0 to 2147483647";

    fn of(number: u64) -> Option<Self> {
        let tokens = u32::try_from(number).ok()?;
        (tokens <= MAX_OUTPUT_TOKENS).then_some(Self(tokens))
    }
}

/// A whole number, in its range or not.
pub(crate) struct Ranged<T>(pub(crate) Result<T, OutOfRange>);

impl<'de, T: InRange> Deserialize<'de> for Ranged<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor<T>(std::marker::PhantomData<T>);

        impl<T: InRange> Visitor<'_> for NumberVisitor<T> {
            type Value = Ranged<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Ranged<T>, E> {
                Ok(Ranged(
                    T::of(number).ok_or_else(|| OutOfRange::new(number, T::RANGE)),
                ))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Ranged<T>, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Ok(Ranged(Err(OutOfRange::new(number, T::RANGE)))),
                }
            }

            /// Whole numbers that no integer holds come this way, and so does what is no whole
            /// number; the former are never small.
            fn visit_f64<E: Error>(self, number: f64) -> Result<Ranged<T>, E> {
                const LEAST: f64 = 9_223_372_036_854_775_808.0;
                if number.abs() >= LEAST {
                    return Ok(Ranged(Err(OutOfRange::new(number, T::RANGE))));
                }
                Err(E::invalid_type(serde::de::Unexpected::Float(number), &self))
            }
        }

        deserializer.deserialize_any(NumberVisitor(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: InRange>(text: &str) -> Result<Option<T>, serde_json::Error> {
        serde_json::from_str::<Ranged<T>>(text).map(|number| number.0.ok())
    }

    #[test]
    fn a_whole_number_is_in_range_or_not_and_anything_else_is_refused() {
        assert_eq!(read::<u64>("5").unwrap(), Some(5));
        assert_eq!(read::<u64>("18446744073709551615").unwrap(), Some(u64::MAX));
        for outside in ["-1", "-9223372036854775809", "18446744073709551616", "1e30"] {
            assert_eq!(read::<u64>(outside).unwrap(), None, "{outside}");
        }
        assert!(read::<OutputTokens>("2147483647").unwrap().is_some());
        assert!(read::<OutputTokens>("2147483648").unwrap().is_none());
        for refused in ["1.5", "1.0", "\"1\"", "null", "[1]", "true"] {
            assert!(read::<u64>(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn the_sentence_names_the_field_its_range_and_the_number() {
        let Err(outside) = serde_json::from_str::<Ranged<u64>>("-1").unwrap().0 else {
            panic!("-1 is outside");
        };
        assert_eq!(
            outside.of_field("yield_time_ms"),
            "yield_time_ms must be 0 to 18446744073709551615, not -1"
        );
    }
}
