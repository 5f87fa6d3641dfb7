// SPDX-License-Identifier: Apache-2.0
//! `--limit NAME=VALUE`: bounds of each script, under the names that the host's own `--limit` has.

use std::time::Duration;

use code_mode_api::CellLimits;

use crate::suggest::did_you_mean;
use crate::units::{parse_duration, parse_size};

/// What `--help` says about `--limit`; it names every limit.
pub const LONG_HELP: &str = "\
Lower a bound of each script; may be given several times. A bound can only be lowered, never raised \
above the host's own.

  heap, external-memory, output-bytes   a size, such as 64MiB
  cpu-time, wall-time                   a time, such as 500ms or 30s
  output-items, open-tool-calls, total-tool-calls, timers   a number";

/// One bound and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The name, one of [`LIMITS`].
    pub name: &'static str,
    value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Number(u64),
    Time(Duration),
}

#[derive(Clone, Copy)]
enum Kind {
    Size(fn(&mut CellLimits, u64)),
    Count(fn(&mut CellLimits, u64)),
    Time(fn(&mut CellLimits, Duration)),
}

/// Every bound of a cell.
const LIMITS: [(&str, Kind); 9] = [
    (
        "heap",
        Kind::Size(|limits, value| limits.heap_bytes = Some(value)),
    ),
    (
        "external-memory",
        Kind::Size(|limits, value| limits.external_bytes = Some(value)),
    ),
    (
        "cpu-time",
        Kind::Time(|limits, value| limits.cpu_time = Some(value)),
    ),
    (
        "wall-time",
        Kind::Time(|limits, value| limits.wall_time = Some(value)),
    ),
    (
        "output-bytes",
        Kind::Size(|limits, value| limits.output_bytes = Some(value)),
    ),
    (
        "output-items",
        Kind::Count(|limits, value| limits.output_items = Some(value)),
    ),
    (
        "open-tool-calls",
        Kind::Count(|limits, value| limits.open_tool_calls = Some(value)),
    ),
    (
        "total-tool-calls",
        Kind::Count(|limits, value| limits.total_tool_calls = Some(value)),
    ),
    (
        "timers",
        Kind::Count(|limits, value| limits.timers = Some(value)),
    ),
];

impl Limit {
    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    /// In words for people, when the name is unknown or the value is none for it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or("write NAME=VALUE, such as heap=64MiB")?;
        Self::of(name, value)
    }

    /// Reads the value of a named bound.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn of(name: &str, value: &str) -> Result<Self, String> {
        let names = || LIMITS.iter().map(|(name, _)| *name);
        let Some((name, kind)) = LIMITS.iter().find(|(known, _)| *known == name) else {
            return Err(match did_you_mean(name, names()) {
                Some(near) => format!("there is no limit {name}; did you mean {near}?"),
                None => format!(
                    "there is no limit {name}; known are {}",
                    names().collect::<Vec<_>>().join(", ")
                ),
            });
        };
        let value = match kind {
            Kind::Size(_) => Value::Number(parse_size(value)?),
            Kind::Count(_) => Value::Number(
                value
                    .parse()
                    .ok()
                    .filter(|number| *number > 0)
                    .ok_or("write a whole number above 0")?,
            ),
            // A bare number would mean seconds here and milliseconds to the host.
            Kind::Time(_) if value.ends_with(|c: char| c.is_ascii_digit()) => {
                return Err(format!("{name} needs a unit: {value}ms or {value}s"));
            }
            Kind::Time(_) => Value::Time(parse_duration(value)?),
        };
        Ok(Self { name, value })
    }

    /// The value for people.
    pub fn shown(&self) -> String {
        match self.value {
            Value::Number(number) => number.to_string(),
            Value::Time(time) => format!("{time:?}"),
        }
    }
}

/// The bounds of a cell that these ask for; of two values for one name the last counts.
pub fn cell_limits<'a>(limits: impl IntoIterator<Item = &'a Limit>) -> CellLimits {
    let mut cell = CellLimits::default();
    for limit in limits {
        let kind = LIMITS.iter().find(|(name, _)| *name == limit.name);
        match (kind.map(|(_, kind)| kind), limit.value) {
            (Some(Kind::Size(set) | Kind::Count(set)), Value::Number(value)) => {
                set(&mut cell, value);
            }
            (Some(Kind::Time(set)), Value::Time(value)) => set(&mut cell, value),
            // `of` pairs each name with its kind of value.
            _ => {}
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn every_limit_can_be_set_and_is_in_the_help() {
        let mut limits = Vec::new();
        for (name, kind) in LIMITS {
            let value = if matches!(kind, Kind::Time(_)) {
                "5s"
            } else {
                "7"
            };
            limits.push(Limit::parse(&format!("{name}={value}")).unwrap());
            assert!(LONG_HELP.contains(name), "{name}");
        }
        let five = Some(Duration::from_secs(5));
        let expected = CellLimits {
            heap_bytes: Some(7),
            external_bytes: Some(7),
            cpu_time: five,
            wall_time: five,
            output_bytes: Some(7),
            output_items: Some(7),
            open_tool_calls: Some(7),
            total_tool_calls: Some(7),
            timers: Some(7),
        };
        assert_eq!(cell_limits(&limits), expected);
    }

    #[test]
    fn the_last_value_of_a_name_counts() {
        let limits = ["heap=1MiB", "heap=2MiB"].map(|text| Limit::parse(text).unwrap());
        assert_eq!(cell_limits(&limits).heap_bytes, Some(2 << 20));
    }

    #[test]
    fn what_is_no_limit_is_said() {
        for (text, expected) in [
            ("heap", "write NAME=VALUE, such as heap=64MiB"),
            ("haep=1", "there is no limit haep; did you mean heap?"),
            ("cpu-time=500", "cpu-time needs a unit: 500ms or 500s"),
            ("timers=0", "write a whole number above 0"),
        ] {
            assert_eq!(Limit::parse(text).unwrap_err(), expected, "{text}");
        }
        assert!(
            Limit::parse("quux=1")
                .unwrap_err()
                .contains("known are heap, ")
        );
    }
}
