// SPDX-License-Identifier: Apache-2.0
//! Integers in JSON that a number does not hold for certain.
//!
//! They are found in the text, before V8 reads it. Without the option of exact integers they change on their
//! way, as everywhere in JavaScript; a script that then prints one that has changed is told so once.

use std::cell::{Cell, RefCell};

/// The largest integer up to which each has a number of its own: `Number.MAX_SAFE_INTEGER`.
pub(crate) const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Digits of [`MAX_SAFE_INTEGER`]; an integer with fewer is never beyond it.
const LEAST_DIGITS: usize = 16;

/// Changed integers that are remembered of one script; it is not told of later ones.
const MAX_CHANGED: usize = 16;

/// Digits of an integer that a hint shows; of a longer one the start.
const MAX_SHOWN_DIGITS: usize = 40;

/// Integers of one script that were read as another number.
#[derive(Default)]
pub(crate) struct Changed {
    integers: RefCell<Vec<ChangedInteger>>,
    told: Cell<bool>,
}

/// An integer as it came, and as the script has it.
struct ChangedInteger {
    came: String,
    is: String,
}

impl Changed {
    /// Looks for integers in JSON text which a number does not hold.
    pub(crate) fn look_into(&self, text: &str) {
        if self.told.get() || !may_have_large_integers(text) {
            return;
        }
        let mut integers = self.integers.borrow_mut();
        for came in large_integers(text) {
            if integers.len() >= MAX_CHANGED {
                return;
            }
            if let Some(is) = changed(came) {
                let came = came.to_owned();
                integers.push(ChangedInteger { came, is });
            }
        }
    }

    /// What a script is told that prints this text: once, and only when a number in it has changed.
    pub(crate) fn hint(&self, printed: &str) -> Option<String> {
        if self.told.get() {
            return None;
        }
        let integers = self.integers.borrow();
        let found = integers.iter().find(|one| printed.contains(&one.is))?;
        self.told.set(true);
        let (start, dots) = match found.came.get(..MAX_SHOWN_DIGITS) {
            Some(start) => (start, "…"),
            None => (found.came.as_str(), ""),
        };
        Some(format!(
            "Hint: {} came as {start}{dots}; a number is exact only up to 2^53. The option of exact integers \
             (--exact-integers of the host, exact_integers of an exec) reads such integers as bigints",
            found.is
        ))
    }
}

/// What follows the JSON string whose opening quote has just been passed.
pub(crate) fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        // An escape is the backslash and at least one byte, which is what could end the string.
        let length = if rest[at] == b'"' { 1 } else { 2 };
        rest = rest.get(at + length..).unwrap_or_default();
        if length == 1 {
            return rest;
        }
    }
    &[]
}

/// Whether JSON text has so many digits in a row anywhere that there may be an integer beyond
/// [`MAX_SAFE_INTEGER`]. As such a row has one of every [`LEAST_DIGITS`] bytes, few are looked at.
pub(crate) fn may_have_large_integers(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    let mut at = LEAST_DIGITS - 1;
    while let Some(byte) = bytes.get(at) {
        if byte.is_ascii_digit() {
            let (before, after) = bytes.split_at(at);
            let before = before.iter().rev().take_while(is_digit);
            let length = before.take(LEAST_DIGITS).count()
                + after.iter().take_while(is_digit).take(LEAST_DIGITS).count();
            if length >= LEAST_DIGITS {
                return true;
            }
        }
        at += LEAST_DIGITS;
    }
    false
}

/// The integers in JSON text that are beyond [`MAX_SAFE_INTEGER`], as they are written.
pub(crate) fn large_integers(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        while let Some((first, after)) = rest.split_first() {
            match first {
                b'"' => rest = after_string(after),
                b'-' | b'0'..=b'9' => {
                    let in_number =
                        |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                    let length = rest.iter().take_while(|byte| in_number(byte)).count();
                    let (number, after) = rest.split_at(length);
                    rest = after;
                    if number.len() >= LEAST_DIGITS
                        && let Ok(number) = std::str::from_utf8(number)
                        && is_large_integer(number)
                    {
                        return Some(number);
                    }
                }
                _ => rest = after,
            }
        }
        None
    })
}

/// Whether the text of a number in JSON has neither a fraction nor an exponent.
pub(crate) fn is_integer(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_large_integer(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    // One that is too long for these digits is large as well.
    is_integer(number)
        && digits.len() >= LEAST_DIGITS
        && digits
            .parse::<u64>()
            .map_or(true, |value| value > MAX_SAFE_INTEGER)
}

/// How a script prints the number that stands for this integer, if it is another one.
fn changed(integer: &str) -> Option<String> {
    let number: f64 = integer.parse().ok()?;
    let is = number.is_finite().then(|| printed(number))?;
    (is != integer).then_some(is)
}

/// A large number as JavaScript prints it.
fn printed(number: f64) -> String {
    /// From here on JavaScript prints an exponent.
    const EXPONENT_FROM: f64 = 1e21;
    if number.abs() < EXPONENT_FROM {
        return format!("{number}");
    }
    format!("{number:e}").replace('e', "e+")
}

#[cfg(test)]
mod tests {
    use super::{Changed, changed, large_integers, may_have_large_integers};

    #[test]
    fn integers_beyond_the_safe_ones_are_found_outside_of_strings_only() {
        for (text, expected) in [
            ("9007199254740991", &[][..]),
            ("-9007199254740991", &[]),
            ("9007199254740992", &["9007199254740992"]),
            ("-9007199254740993", &["-9007199254740993"]),
            (
                r#"{"a":[1234567890123456789,1],"b":-12345678901234567890123}"#,
                &["1234567890123456789", "-12345678901234567890123"],
            ),
            (r#"["1234567890123456789","\"1234567890123456789"]"#, &[]),
            (r#"{"1234567890123456789":1}"#, &[]),
            ("[1234567890123456789.5,1234567890123456789e2]", &[]),
            ("[0.1234567890123456789]", &[]),
            ("", &[]),
        ] {
            let found: Vec<&str> = large_integers(text).collect();
            assert_eq!(found, expected, "{text}");
            assert!(found.is_empty() || may_have_large_integers(text), "{text}");
        }
    }

    #[test]
    fn a_row_of_digits_is_seen_wherever_it_stands() {
        for before in 0..40 {
            for after in 0..20 {
                let text = |digits: usize| {
                    let digits = "7".repeat(digits);
                    format!("[{}{digits}{}]", " ".repeat(before), " ".repeat(after))
                };
                assert!(may_have_large_integers(&text(16)), "{before} {after}");
                assert!(!may_have_large_integers(&text(15)), "{before} {after}");
            }
        }
    }

    #[test]
    fn an_integer_has_changed_when_its_number_prints_as_another() {
        for (integer, expected) in [
            ("9007199254740992", None),
            ("9007199254740993", Some("9007199254740992")),
            ("1234567890123456789", Some("1234567890123456800")),
            ("-1234567890123456789", Some("-1234567890123456800")),
            ("100000000000000000000000", Some("1e+23")),
            ("1152921504606846976", Some("1152921504606847000")),
            ("123456789012345678901234", Some("1.2345678901234569e+23")),
        ] {
            assert_eq!(changed(integer).as_deref(), expected, "{integer}");
        }
        assert_eq!(changed(&"9".repeat(400)), None);
    }

    #[test]
    fn a_script_is_told_once_of_a_number_that_has_changed() {
        let changed = Changed::default();
        changed.look_into(r#"{"id":1234567890123456789,"n":1}"#);
        assert_eq!(changed.hint(r#"{"n":1}"#), None);
        let hint = changed.hint("the id is 1234567890123456800").unwrap();
        assert!(
            hint.starts_with("Hint: 1234567890123456800 came as 1234567890123456789;"),
            "{hint}"
        );
        assert_eq!(changed.hint("1234567890123456800"), None);
    }

    #[test]
    fn no_more_is_remembered_than_a_few_integers() {
        let changed = Changed::default();
        let many: Vec<String> = (0..100)
            .map(|n| format!("12345678901234567{n:02}1"))
            .collect();
        changed.look_into(&format!("[{}]", many.join(",")));
        assert_eq!(changed.integers.borrow().len(), super::MAX_CHANGED);
    }
}
