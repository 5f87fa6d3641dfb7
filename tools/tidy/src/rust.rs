// SPDX-License-Identifier: Apache-2.0
//! Rules for Rust sources that clippy has no lint for.

use crate::file::{SourceFile, Violation};
use crate::licence::without_header;

/// The longest file, in lines.
const MAX_LINES: usize = 800;

/// The longest `lib.rs`, in lines: it holds the overview and the vocabulary, not the logic.
const MAX_LIB_LINES: usize = 250;

/// The sections that open each `lib.rs`.
const LIB_SECTIONS: [&str; 4] = ["Purpose", "Life cycle", "Threads", "Limits"];

/// Attributes that hide a failing test. Written in halves, so that this file does not break its own rule.
const FORBIDDEN_ATTRIBUTES: [(&str, &str); 2] = [
    (
        concat!("#[ign", "ore"),
        "a test that does not run proves nothing: mend it or remove it",
    ),
    (
        concat!("#[should_", "panic"),
        "return the error and compare it; a panic anywhere would pass this test",
    ),
];

pub(crate) fn check(file: &SourceFile) -> Vec<Violation> {
    let mut found = Vec::new();
    let text = without_header(&file.text);
    let lines = text.lines().count();
    if lines > MAX_LINES {
        found.push(file.violation(
            0,
            format!("split the file: it has {lines} lines, and {MAX_LINES} is the most"),
        ));
    }
    // A sibling file of tests is documented by the module that it tests.
    if !file.path.ends_with("_tests.rs") && !text.starts_with("//! ") {
        found.push(file.violation(
            1,
            "open the module with a `//!` sentence that says what it is for",
        ));
    }
    if file.name() == "lib.rs" {
        if lines > MAX_LIB_LINES {
            found.push(file.violation(
                0,
                format!("move logic out of lib.rs: it has {lines} lines, and {MAX_LIB_LINES} is the most"),
            ));
        }
        for section in LIB_SECTIONS {
            if !file
                .text
                .lines()
                .any(|line| line == format!("//! # {section}"))
            {
                found
                    .push(file.violation(1, format!("describe the crate under `//! # {section}`")));
            }
        }
    }
    for (index, line) in file.text.lines().enumerate() {
        for (attribute, advice) in FORBIDDEN_ATTRIBUTES {
            if line.trim_start().starts_with(attribute) {
                found.push(file.violation(index + 1, advice));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::messages;

    fn found(path: &str, text: &str) -> Vec<String> {
        messages(&check(&SourceFile::new(path, text)))
    }

    #[test]
    fn a_file_at_the_ceiling_passes_and_one_line_more_does_not() {
        let text = |lines: usize| format!("//! Purpose.\n{}", "//\n".repeat(lines - 1));
        assert!(found("a.rs", &text(MAX_LINES)).is_empty());
        assert_eq!(found("a.rs", &text(MAX_LINES + 1)).len(), 1);
    }

    #[test]
    fn a_module_opens_with_its_purpose_and_a_file_of_tests_need_not() {
        assert_eq!(found("a.rs", "use b;\n").len(), 1);
        assert!(found("a_tests.rs", "use b;\n").is_empty());
    }

    #[test]
    fn each_missing_section_of_a_lib_is_named() {
        let found = found("x/src/lib.rs", "//! A crate.\n//! # Threads\n");
        assert_eq!(found.len(), LIB_SECTIONS.len() - 1);
        assert!(found.iter().any(|message| message.contains("Life cycle")));
    }

    #[test]
    fn a_lib_has_a_ceiling_of_its_own() {
        let sections: String = LIB_SECTIONS
            .iter()
            .map(|section| format!("//! # {section}\n"))
            .collect();
        let text = |lines: usize| {
            format!(
                "//! A crate.\n{sections}{}",
                "//\n".repeat(lines - 1 - LIB_SECTIONS.len())
            )
        };
        assert!(found("lib.rs", &text(MAX_LIB_LINES)).is_empty());
        assert_eq!(found("lib.rs", &text(MAX_LIB_LINES + 1)).len(), 1);
    }

    #[test]
    fn attributes_that_hide_failing_tests_are_refused() {
        for (attribute, advice) in FORBIDDEN_ATTRIBUTES {
            let found = found("a.rs", &format!("//! Purpose.\n    {attribute}]\n"));
            assert_eq!(found, [format!("a.rs:2: {advice}")]);
        }
    }
}
