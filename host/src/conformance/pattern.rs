// SPDX-License-Identifier: Apache-2.0
//! JSON with wildcards: what a transcript sends and expects.
//!
//! A string in a transcript that begins with `$` stands for something else:
//!
//! | string | in an expected frame | in a sent frame |
//! |---|---|---|
//! | `$any` | any value | |
//! | `$text` | any string | |
//! | `$integer` | any integer | |
//! | `$contains:TEXT` | a string that contains TEXT | |
//! | `$bind:NAME` | any value, which NAME stands for from here on | |
//! | `$NAME` | the value that NAME stands for | the value that NAME stands for |
//! | `$repeat:COUNT:TEXT` | TEXT COUNT times | the same |

use std::collections::BTreeMap;

use serde_json::Value;

/// What the names of a transcript stand for so far.
#[derive(Debug, Clone, Default)]
pub struct Bindings(BTreeMap<String, Value>);

impl Bindings {
    /// Whether `actual` is what `expected` describes; binds names as it goes. When it is not,
    /// nothing is bound and the error says where they differ.
    pub(super) fn matches(&mut self, expected: &Value, actual: &Value) -> Result<(), String> {
        let mut bindings = self.clone();
        bindings.compare("frame", expected, actual)?;
        *self = bindings;
        Ok(())
    }

    /// The value to send for this template.
    pub(super) fn fill(&self, template: &Value) -> Result<Value, String> {
        Ok(match template {
            Value::String(text) => match text.strip_prefix('$') {
                Some(special) => self.special(special)?,
                None => template.clone(),
            },
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|item| self.fill(item))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), self.fill(value)?)))
                    .collect::<Result<_, String>>()?,
            ),
            other => other.clone(),
        })
    }

    fn special(&self, special: &str) -> Result<Value, String> {
        if let Some(repeat) = special.strip_prefix("repeat:") {
            let (count, text) = repeat
                .split_once(':')
                .ok_or_else(|| format!("${special} is not $repeat:COUNT:TEXT"))?;
            let count = count
                .parse()
                .map_err(|_| format!("${special}: {count:?} is not a number"))?;
            return Ok(Value::String(text.repeat(count)));
        }
        self.0
            .get(special)
            .cloned()
            .ok_or_else(|| format!("${special} stands for nothing here"))
    }

    fn compare(&mut self, at: &str, expected: &Value, actual: &Value) -> Result<(), String> {
        match (expected, actual) {
            (Value::String(text), _) if text.starts_with('$') => {
                self.compare_special(at, &text[1..], actual)
            }
            (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
                for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                    self.compare(&format!("{at}[{index}]"), expected, actual)?;
                }
                Ok(())
            }
            (Value::Object(expected), Value::Object(actual)) => {
                for (name, expected) in expected {
                    let at = format!("{at}.{name}");
                    let actual = actual.get(name).ok_or_else(|| format!("{at} is missing"))?;
                    self.compare(&at, expected, actual)?;
                }
                match actual.keys().find(|&name| !expected.contains_key(name)) {
                    Some(name) => Err(format!("{at}.{name} is not expected")),
                    None => Ok(()),
                }
            }
            _ if expected == actual => Ok(()),
            _ => Err(format!(
                "{at} is {}, expected {}",
                short(actual),
                short(expected)
            )),
        }
    }

    fn compare_special(&mut self, at: &str, special: &str, actual: &Value) -> Result<(), String> {
        let fits = match special {
            "any" => true,
            "text" => actual.is_string(),
            "integer" => actual.is_i64() || actual.is_u64(),
            _ => {
                if let Some(name) = special.strip_prefix("bind:") {
                    self.0.insert(name.to_owned(), actual.clone());
                    true
                } else if let Some(part) = special.strip_prefix("contains:") {
                    actual.as_str().is_some_and(|text| text.contains(part))
                } else {
                    self.special(special)? == *actual
                }
            }
        };
        if fits {
            Ok(())
        } else {
            Err(format!("{at} is {}, expected ${special}", short(actual)))
        }
    }
}

/// A value as text, short enough for a table.
pub(super) fn short(value: &Value) -> String {
    const MAX_CHARS: usize = 300;
    let text = value.to_string();
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn differ(expected: Value, actual: Value, message: &str) {
        let error = Bindings::default().matches(&expected, &actual).unwrap_err();
        assert_eq!(error, message);
    }

    #[test]
    fn wildcards_match_what_they_stand_for() {
        let mut bindings = Bindings::default();
        bindings
            .matches(
                &json!({"a": "$any", "b": ["$text", "$integer"], "c": "$contains:ell"}),
                &json!({"a": [1], "b": ["x", -2], "c": "hello"}),
            )
            .unwrap();
    }

    #[test]
    fn a_bound_name_stands_for_its_value_in_both_directions() {
        let mut bindings = Bindings::default();
        bindings
            .matches(&json!({"id": "$bind:call"}), &json!({"id": 7}))
            .unwrap();
        assert_eq!(
            bindings.fill(&json!({"id": "$call"})).unwrap(),
            json!({"id": 7})
        );
        bindings.matches(&json!("$call"), &json!(7)).unwrap();
        assert!(bindings.matches(&json!("$call"), &json!(8)).is_err());
        assert!(bindings.fill(&json!("$other")).is_err());
    }

    #[test]
    fn a_mismatch_binds_nothing() {
        let mut bindings = Bindings::default();
        bindings
            .matches(&json!(["$bind:x", 1]), &json!([5, 2]))
            .unwrap_err();
        assert!(bindings.fill(&json!("$x")).is_err());
    }

    #[test]
    fn repeated_text_is_written_out() {
        let bindings = Bindings::default();
        assert_eq!(
            bindings.fill(&json!("$repeat:3:ab")).unwrap(),
            json!("ababab")
        );
        assert!(bindings.fill(&json!("$repeat:x:ab")).is_err());
    }

    #[test]
    fn a_difference_is_named_by_its_place() {
        differ(json!({"a": 1}), json!({"a": 2}), "frame.a is 2, expected 1");
        differ(
            json!({"a": [1]}),
            json!({"a": [1, 2]}),
            "frame.a is [1,2], expected [1]",
        );
        differ(json!({"a": 1}), json!({}), "frame.a is missing");
        differ(json!({}), json!({"a": 1}), "frame.a is not expected");
        differ(
            json!("$integer"),
            json!(1.5),
            "frame is 1.5, expected $integer",
        );
    }
}
