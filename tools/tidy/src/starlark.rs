// SPDX-License-Identifier: Apache-2.0
//! The part of buildifier's rules that our Starlark could break: layout, order, documentation.

use crate::file::{SourceFile, Violation};
use crate::licence::without_header;

/// The longest BUILD file of a Rust package, in lines: what is common to all of them belongs into the macro.
const MAX_BUILD_LINES: usize = 40;

/// The longest MODULE.bazel, in lines; the fragments that it includes hold the rest.
const MAX_MODULE_LINES: usize = 80;

/// Attributes whose order means nothing, so that it has to be the alphabet's.
const SORTED_ATTRIBUTES: [&str; 8] = [
    "data",
    "deps",
    "dev_deps",
    "hdrs",
    "proc_macro_deps",
    "srcs",
    "test_data",
    "visibility",
];

/// Calls that make a rule or the like: each has to say what it is for.
const DEFINITIONS: [&str; 4] = ["rule(", "aspect(", "repository_rule(", "module_extension("];

/// Whether the file is Starlark that this repository wrote for itself: V8's overlays follow V8's layout.
pub(crate) fn is_ours(path: &str) -> bool {
    let starlark = path.ends_with(".bzl") || path.ends_with(".bazel");
    starlark && !path.starts_with("third_party/v8/overlays/")
}

pub(crate) fn check(file: &SourceFile) -> Vec<Violation> {
    let mut found = layout(file);
    found.extend(size(file));
    found.extend(documentation(file));
    found.extend(order(file));
    found
}

/// The lines that are code, with their numbers: those inside a long string are text.
fn code_lines(text: &str) -> Vec<(usize, &str)> {
    let mut lines = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        if !inside {
            lines.push((index + 1, line));
        }
        if line.matches("\"\"\"").count() % 2 == 1 {
            inside = !inside;
        }
    }
    lines
}

fn layout(file: &SourceFile) -> Vec<Violation> {
    let mut found = Vec::new();
    for (number, line) in code_lines(&file.text) {
        let code = line.trim_start_matches(' ');
        if line.contains('\t') {
            found.push(file.violation(number, "indent with spaces, four a level"));
        } else if (line.len() - code.len()) % 4 != 0 {
            found.push(file.violation(number, "indent by a multiple of four spaces"));
        }
    }
    found
}

fn size(file: &SourceFile) -> Vec<Violation> {
    let lines = without_header(&file.text).lines().count();
    let most = match file.name() {
        "MODULE.bazel" => MAX_MODULE_LINES,
        "BUILD.bazel" if file.text.contains("\nrust_crate(") => MAX_BUILD_LINES,
        _ => return Vec::new(),
    };
    if lines <= most {
        return Vec::new();
    }
    let advice = format!(
        "move parts into a macro or a fragment: it has {lines} lines, and {most} is the most"
    );
    vec![file.violation(0, advice)]
}

fn documentation(file: &SourceFile) -> Vec<Violation> {
    let mut found = Vec::new();
    if !without_header(&file.text).starts_with("\"\"\"") {
        found.push(file.violation(1, "open the file with a docstring that says what it is for"));
    }
    let lines: Vec<&str> = file.text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        if line.starts_with("def ") && !line.starts_with("def _") {
            let end = lines[index..].iter().position(|line| line.ends_with(':'));
            let body = end.and_then(|end| lines.get(index + end + 1));
            if !body.is_some_and(|body| body.trim_start().starts_with("\"\"\"")) {
                found.push(file.violation(index + 1, "give the public function a docstring"));
            }
        }
        let Some((name, value)) = line.split_once(" = ") else {
            continue;
        };
        let public = name.starts_with(|c: char| c.is_ascii_lowercase());
        if public && DEFINITIONS.contains(&value) {
            let call = lines[index..].iter().take_while(|line| **line != ")");
            if !call
                .into_iter()
                .any(|line| line.trim_start().starts_with("doc = "))
            {
                found.push(file.violation(index + 1, format!("give `{name}` a `doc`")));
            }
        }
    }
    found
}

/// Buildifier's order of labels: plain names, then `:x`, then `//x`, then `@x`; by the alphabet within each.
fn label_key(label: &str) -> (usize, String) {
    let kind = match label {
        _ if label.starts_with('@') => 3,
        _ if label.starts_with("//") => 2,
        _ if label.starts_with(':') => 1,
        _ => 0,
    };
    // A package's own name comes before its targets.
    (kind, label.replace(':', "!").replace('/', "\""))
}

/// The string literals of a list or call that is written on one line: `["a", "b"]`.
fn literals(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}

fn order(file: &SourceFile) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut open: Option<(usize, Vec<String>)> = None;
    for (number, line) in code_lines(&file.text) {
        let code = line.trim();
        if let Some(symbols) = code.strip_prefix("load(") {
            let names = literals(symbols);
            let symbols = names.get(1..).unwrap_or_default();
            if !symbols.is_sorted() {
                found.push(file.violation(number, "sort the loaded symbols"));
            }
        }
        if let Some((attribute, value)) = code.split_once(" = [") {
            if !SORTED_ATTRIBUTES.contains(&attribute) {
                continue;
            }
            if value.is_empty() {
                open = Some((number, Vec::new()));
            } else if !literals(value)
                .iter()
                .map(|label| label_key(label))
                .is_sorted()
            {
                found.push(file.violation(number, format!("sort `{attribute}`")));
            }
        } else if let Some((start, labels)) = &mut open {
            if let Some(label) = code
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix("\","))
            {
                labels.push(label.to_owned());
            } else {
                if !labels.iter().map(|label| label_key(label)).is_sorted() {
                    found.push(file.violation(*start, "sort this list"));
                }
                open = None;
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

    /// Checks a file whose docstring is there, so that only the body can be at fault.
    fn body(text: &str) -> Vec<String> {
        found("x/a.bzl", &format!("\"\"\"Doc.\"\"\"\n{text}"))
    }

    #[test]
    fn tabs_and_odd_indents_are_refused_outside_long_strings() {
        assert_eq!(body("\tx = 1\n").len(), 1);
        assert_eq!(body("   x = 1\n").len(), 1);
        assert!(body("    x = 1\n").is_empty());
        assert!(body("T = \"\"\"\n   text\n\tmore\n\"\"\"\n").is_empty());
    }

    #[test]
    fn a_file_without_a_docstring_is_refused() {
        assert_eq!(found("x/BUILD.bazel", "x = 1\n").len(), 1);
    }

    #[test]
    fn public_functions_and_rules_say_what_they_are_for() {
        assert_eq!(body("def open(\n        name):\n    pass\n").len(), 1);
        assert!(body("def open(name):\n    \"\"\"Opens.\"\"\"\n").is_empty());
        assert!(body("def _open(name):\n    pass\n").is_empty());
        assert_eq!(body("open = rule(\n    attrs = {},\n)\n").len(), 1);
        assert!(body("open = rule(\n    doc = \"Opens.\",\n)\n").is_empty());
    }

    #[test]
    fn loaded_symbols_are_sorted() {
        assert_eq!(
            body("load(\"//x:y.bzl\", \"b\", \"a\")\n"),
            ["x/a.bzl:2: sort the loaded symbols"]
        );
        assert!(body("load(\"//x:y.bzl\", \"a\", \"b\")\n").is_empty());
    }

    #[test]
    fn labels_are_sorted_as_buildifier_sorts_them() {
        let list = |labels: &[&str]| {
            let lines: String = labels
                .iter()
                .map(|label| format!("        \"{label}\",\n"))
                .collect();
            body(&format!("x(\n    deps = [\n{lines}    ],\n)\n"))
        };
        assert!(list(&["a", ":b", "//a", "//a:x", "//a/b", "@a//:b"]).is_empty());
        assert_eq!(list(&["//b", "//a"]).len(), 1);
        assert_eq!(list(&["@a//:b", ":a"]).len(), 1);
        assert_eq!(body("x(\n    srcs = [\"b\", \"a\"],\n)\n").len(), 1);
    }

    #[test]
    fn lists_whose_order_means_something_are_left_alone() {
        assert!(
            body("x(\n    copts = [\n        \"-b\",\n        \"-a\",\n    ],\n)\n").is_empty()
        );
    }

    #[test]
    fn build_and_module_files_have_ceilings() {
        let text = |lines: usize| format!("\"\"\"Doc.\"\"\"\n{}", "# x\n".repeat(lines - 1));
        let package = |lines: usize| format!("{}rust_crate(\n)\n", text(lines - 2));
        assert!(found("x/BUILD.bazel", &package(MAX_BUILD_LINES)).is_empty());
        assert_eq!(
            found("x/BUILD.bazel", &package(MAX_BUILD_LINES + 1)).len(),
            1
        );
        assert!(found("MODULE.bazel", &text(MAX_MODULE_LINES)).is_empty());
        assert_eq!(found("MODULE.bazel", &text(MAX_MODULE_LINES + 1)).len(), 1);
        assert!(found("third_party/v8/BUILD.bazel", &text(200)).is_empty());
    }
}
