// SPDX-License-Identifier: Apache-2.0
//! Every source says under which licence it is, in the line that tools look for.

use crate::file::{SourceFile, Violation};

/// What that line says, behind the mark of a comment.
const HEADER: &str = "SPDX-License-Identifier: Apache-2.0";

/// Endings of sources whose comments begin with two slashes.
const SLASHES: [&str; 4] = [".c", ".cc", ".rs", ".ts"];

/// Endings of sources whose comments begin with a number sign. Programs without an ending begin with `#!`.
const SIGNS: [&str; 4] = [".bazel", ".bzl", ".py", ".sh"];

/// Sources that go without: their text counts for something else.
const EXEMPT: [&str; 4] = [
    // Shown in READMEs as they stand.
    "/tests/embedding/example.rs",
    // Laid over V8's tree and in its style; a change there compiles V8 anew.
    "third_party/v8/overlays/",
    // Part of the key of the build root: a line there makes every machine fetch it again.
    "tools/root/make.sh",
    "tools/root/record.sh",
];

/// The mark of a comment in a source that needs the line; `None` for what is no source or goes without.
fn mark(file: &SourceFile) -> Option<&'static str> {
    let ends = |endings: &[&str]| endings.iter().any(|ending| file.path.ends_with(ending));
    if EXEMPT.iter().any(|part| file.path.contains(part)) {
        None
    } else if ends(&SLASHES) {
        Some("//")
    } else if ends(&SIGNS) || (file.text.starts_with("#!") && !file.name().contains('.')) {
        Some("#")
    } else {
        None
    }
}

/// The text without the line of the licence, for rules about how a file begins and how long it is.
pub(crate) fn without_header(text: &str) -> &str {
    text.split_once('\n')
        .filter(|(first, _)| first.ends_with(HEADER))
        .map_or(text, |(_, rest)| rest)
}

pub(crate) fn check(file: &SourceFile) -> Vec<Violation> {
    let Some(mark) = mark(file) else {
        return Vec::new();
    };
    let mut lines = file.text.lines();
    let mut first = lines.next();
    let mut number = 1;
    if first.is_some_and(|line| line.starts_with("#!") && !line.starts_with("#![")) {
        first = lines.next();
        number = 2;
    }
    let wanted = format!("{mark} {HEADER}");
    // An empty file, such as a Python package's, has nothing to license.
    if file.text.is_empty() || first == Some(&wanted) {
        return Vec::new();
    }
    vec![file.violation(number, format!("put this line here: {wanted}"))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&SourceFile::new(path, text)).len()
    }

    #[test]
    fn sources_begin_with_the_line_and_programs_have_it_second() {
        assert_eq!(found("a.rs", &format!("// {HEADER}\n//! A.\n")), 0);
        assert_eq!(found("a.rs", "//! A.\n"), 1);
        assert_eq!(found("a.ts", &format!("# {HEADER}\n")), 1);
        assert_eq!(found("x/BUILD.bazel", &format!("# {HEADER}\n")), 0);
        assert_eq!(found("tools/run", &format!("#!/bin/sh\n# {HEADER}\n")), 0);
        assert_eq!(found("tools/run", "#!/bin/sh\ntrue\n"), 1);
        assert_eq!(
            found("a.ts", &format!("#!/usr/bin/env node\n// {HEADER}\n")),
            0
        );
        assert_eq!(found("a.rs", "#![forbid(unsafe_code)]\n"), 1);
    }

    #[test]
    fn what_is_no_source_and_what_is_exempt_goes_without() {
        assert_eq!(found("a.md", "# A\n"), 0);
        assert_eq!(found("a.json", "{}\n"), 0);
        assert_eq!(found("tests/__init__.py", ""), 0);
        assert_eq!(found("client/tests/embedding/example.rs", "//! A.\n"), 0);
        assert_eq!(
            found("third_party/v8/overlays/pch.bzl", "\"\"\"A.\"\"\"\n"),
            0
        );
    }

    #[test]
    fn other_rules_see_the_text_behind_the_line() {
        assert_eq!(
            without_header(&format!("// {HEADER}\n//! A.\n")),
            "//! A.\n"
        );
        assert_eq!(without_header("//! A.\n"), "//! A.\n");
    }
}
