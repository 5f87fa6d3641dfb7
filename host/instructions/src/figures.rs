// SPDX-License-Identifier: Apache-2.0
//! Figures as text, and how far they may be from the baseline.

use std::collections::BTreeMap;
use std::fmt;

/// How far a figure may be from the baseline, in thousandths of it, upwards and downwards.
///
/// In ten runs of one host, some on an idle machine and some on one that was busy with other work, an
/// exec spread over 0.04 %, one with 128 tools over 0.06 %, a tool call over 0.4 % and an echo over 0.3 %.
/// Another C library and valgrind made 3 % of a tool call; the room is for another processor, by
/// which the C library and V8 choose their instructions.
pub const TOLERANCE_PERMILLE: u64 = 50;

const HEADER: &str = "\
# Instructions of the host per repetition, counted by valgrind; //host/instructions says what each figure is.
# Written by `tools/bazel run //host/instructions:renew`; do not edit.
";

/// Instructions by the name of the figure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures(BTreeMap<String, u64>);

/// A line of a file of figures that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct SyntaxError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: &'static str,
}

impl Figures {
    /// Reads lines of a name and a number; blank lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// For the first line that is anything else, gives no instructions, or repeats a name.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut figures = Self::default();
        for (index, line) in text.lines().enumerate() {
            let at = |message| SyntaxError {
                line: index + 1,
                message,
            };
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, count) = line
                .split_once(' ')
                .ok_or_else(|| at("expected a name, a space and a number"))?;
            let count = count
                .parse()
                .map_err(|_| at("expected a number of instructions after the name"))?;
            if count == 0 {
                return Err(at("nothing costs no instructions"));
            }
            if figures.0.insert(name.to_owned(), count).is_some() {
                return Err(at("this figure stands there twice"));
            }
        }
        Ok(figures)
    }

    /// Sets a figure.
    pub fn set(&mut self, name: &str, instructions: u64) {
        self.0.insert(name.to_owned(), instructions);
    }

    /// The names in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        for (name, count) in &self.0 {
            writeln!(f, "{name} {count}")?;
        }
        Ok(())
    }
}

/// Says of each figure that differs from the baseline by more than [`TOLERANCE_PERMILLE`], or that
/// stands on one side only, what differs; nothing when all is well.
#[must_use]
pub fn compare(baseline: &Figures, measured: &Figures) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, &count) in &measured.0 {
        match baseline.0.get(name) {
            None => differences.push(format!(
                "{name}: {count} instructions, and the baseline has no such figure"
            )),
            Some(&expected) => differences.extend(difference(name, expected, count)),
        }
    }
    for name in baseline
        .names()
        .filter(|name| !measured.0.contains_key(*name))
    {
        differences.push(format!("{name}: in the baseline, and not measured"));
    }
    differences
}

fn difference(name: &str, expected: u64, count: u64) -> Option<String> {
    // In 128 bits, because a figure comes from a file and may be as large as 64 bits hold.
    let distance = u128::from(count.abs_diff(expected)) * 1000;
    if distance <= u128::from(expected) * u128::from(TOLERANCE_PERMILLE) {
        return None;
    }
    let (direction, advice) = if count > expected {
        ("more", "find out what costs them")
    } else {
        ("fewer", "renew the baseline, so that the gain is kept")
    };
    let permille = distance / u128::from(expected);
    Some(format!(
        "{name}: {count} instructions, {}.{} % {direction} than the baseline's {expected} (allowed: {}.{} %); {advice}",
        permille / 10,
        permille % 10,
        TOLERANCE_PERMILLE / 10,
        TOLERANCE_PERMILLE % 10,
    ))
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;
    use crate::SCENARIOS;

    fn figures(text: &str) -> Figures {
        Figures::parse(text).unwrap()
    }

    #[test]
    fn figures_at_the_tolerance_pass_and_beyond_it_fail_on_both_sides() {
        let baseline = figures("a 1000");
        for (count, passes) in [(949, false), (950, true), (1050, true), (1051, false)] {
            let measured = figures(&format!("a {count}"));
            assert_eq!(compare(&baseline, &measured).is_empty(), passes, "{count}");
        }
    }

    #[test]
    fn a_difference_names_the_figure_and_both_numbers() {
        assert_eq!(
            compare(&figures("a 1000\nb 1000"), &figures("a 1105\nb 500")),
            [
                "a: 1105 instructions, 10.5 % more than the baseline's 1000 (allowed: 5.0 %); find out what costs them",
                "b: 500 instructions, 50.0 % fewer than the baseline's 1000 (allowed: 5.0 %); renew the baseline, so that the gain is kept",
            ]
        );
    }

    #[test]
    fn a_figure_on_one_side_only_is_a_difference() {
        assert_eq!(
            compare(&figures("gone 1"), &figures("new 2")),
            [
                "new: 2 instructions, and the baseline has no such figure",
                "gone: in the baseline, and not measured",
            ]
        );
    }

    #[test]
    fn the_largest_numbers_are_compared_too() {
        let largest = figures(&format!("a {}", u64::MAX));
        assert_eq!(compare(&largest, &largest), Vec::<String>::new());
        assert_eq!(compare(&figures("a 1"), &largest).len(), 1);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let written = figures("b 2\na 1");
        assert_eq!(figures(&written.to_string()), written);
        assert_eq!(written.to_string(), format!("{HEADER}a 1\nb 2\n"));
    }

    #[test]
    fn a_line_that_is_no_figure_is_refused_with_its_number() {
        for (text, line) in [
            ("a", 1),
            ("# a\n\na x", 3),
            ("a -1", 1),
            ("a 0", 1),
            ("a 1\na 2", 2),
        ] {
            assert_eq!(Figures::parse(text).unwrap_err().line, line, "{text}");
        }
    }

    #[test]
    fn the_baseline_has_the_figures_of_all_scenarios() {
        let mut names = SCENARIOS.map(|scenario| scenario.name);
        names.sort_unstable();
        let baseline = figures(include_str!("../baseline.txt"));
        assert_eq!(baseline.names().collect::<Vec<_>>(), names);
    }
}
