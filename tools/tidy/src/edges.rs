// SPDX-License-Identifier: Apache-2.0
//! Which of our crates knows which: the floors of the house.

use std::collections::BTreeSet;

use crate::file::{SourceFile, Violation};

/// Each package with those of ours that its library may know, floor by floor from above.
const HOUSE: [(&str, &[&str]); 23] = [
    (
        "client/cli",
        &[
            "client",
            "client/embed",
            "client/grpc",
            "client/mcp",
            "runtime/api",
        ],
    ),
    ("client/mcp", &["client/embed", "runtime/api"]),
    (
        "host",
        &[
            "host/frames",
            "host/grpc",
            "host/service",
            "runtime",
            "runtime/api",
        ],
    ),
    ("client/embed", &["runtime/api"]),
    (
        "client/grpc",
        &["client", "protocol", "protocol/grpc", "runtime/api"],
    ),
    (
        "host/grpc",
        &["host/service", "protocol/grpc", "runtime/api"],
    ),
    ("host/frames", &["host/service", "protocol", "runtime/api"]),
    ("host/service", &["runtime/api"]),
    ("client", &["protocol", "protocol/grpc", "runtime/api"]),
    (
        "runtime",
        &["runtime/api", "runtime/engine", "runtime/fork"],
    ),
    ("runtime/fork", &["runtime/api", "runtime/engine"]),
    ("runtime/engine", &["runtime/api"]),
    ("protocol", &["runtime/api"]),
    ("protocol/grpc", &["runtime/api"]),
    ("runtime/api", &[]),
    // They look at a package from outside.
    ("host/conformance", &["protocol", "protocol/grpc"]),
    ("host/instructions", &[]),
    ("runtime/api/benchsuite", &["client/embed", "runtime/api"]),
    ("runtime/api/testsuite", &["client/embed", "runtime/api"]),
    (
        "client/overhead",
        &[
            "client",
            "client/grpc",
            "runtime/api",
            "runtime/api/benchsuite",
        ],
    ),
    ("tools/dist/helpers", &[]),
    ("tools/fuzz", &[]),
    ("tools/tidy", &[]),
];

/// What a library may know beside that with a feature that its users choose.
const WITH_A_FEATURE: [(&str, &str); 1] = [("client/embed", "client/grpc")];

/// Edges that the house does not have and that still stand. The list only ever gets shorter.
const KNOWN: [(&str, &str); 1] = [("host", "protocol/grpc")];

pub(crate) fn check(files: &[SourceFile]) -> Vec<Violation> {
    check_except(files, &KNOWN)
}

fn check_except(files: &[SourceFile], known: &[(&str, &str)]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for file in files {
        let Some(package) = file.path.strip_suffix("/BUILD.bazel") else {
            continue;
        };
        if !file.text.contains("\nrust_crate(") {
            continue;
        }
        let Some((_, allowed)) = HOUSE.iter().find(|(name, _)| *name == package) else {
            let advice = "give the package its floor: add it to HOUSE in tools/tidy/src/edges.rs";
            found.push(file.violation(0, advice));
            continue;
        };
        for (line, used) in dependencies(&file.text, "cargo_features = {", '}') {
            if !WITH_A_FEATURE.contains(&(package, used)) {
                let advice = format!("no feature of `{package}` may know `{used}`");
                found.push(file.violation(line, advice));
            }
        }
        for (line, used) in dependencies(&file.text, "deps = [", ']') {
            if allowed.contains(&used) {
                continue;
            }
            if let Some(edge) = known.iter().find(|edge| **edge == (package, used)) {
                seen.insert(*edge);
                continue;
            }
            let advice =
                format!("`{package}` must not know `{used}`: see the code map in ARCHITECTURE.md");
            found.push(file.violation(line, advice));
        }
    }
    let read = |package: &str| {
        let path = format!("{package}/BUILD.bazel");
        files.iter().find(|file| file.path == path)
    };
    for (package, used) in known.iter().filter(|edge| !seen.contains(*edge)) {
        if let Some(file) = read(package) {
            let advice = format!(
                "`{package}` does not know `{used}` any more: take it out of KNOWN in \
                 tools/tidy/src/edges.rs"
            );
            found.push(file.violation(0, advice));
        }
    }
    found
}

/// The packages of ours that an argument of the macro names, with their lines.
fn dependencies<'a>(text: &'a str, opening: &str, closing: char) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    let mut in_deps = false;
    for (index, line) in text.lines().enumerate() {
        let code = line.trim();
        let starts = code.starts_with(opening);
        if starts || in_deps {
            found.extend(labels(code).map(|package| (index + 1, package)));
            in_deps = !code.contains(closing);
        }
    }
    found
}

/// The packages that a line names: `//a/b` or `//a/b:c`.
fn labels(line: &str) -> impl Iterator<Item = &str> {
    let texts = line.split('"').skip(1).step_by(2);
    texts.filter_map(|label| label.strip_prefix("//")?.split(':').next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::messages;

    fn build(package: &str, deps: &str) -> SourceFile {
        let text = format!(
            "\"\"\"Doc.\"\"\"\n\nrust_crate(\n    dev_deps = [\"//client\"],\n    deps = [{deps}],\n)\n"
        );
        SourceFile::new(format!("{package}/BUILD.bazel"), text)
    }

    fn found(package: &str, deps: &str) -> Vec<String> {
        messages(&check_except(&[build(package, deps)], &[]))
    }

    #[test]
    fn a_crate_knows_what_stands_beside_it_in_the_house_and_no_other_of_ours() {
        assert!(found("protocol", "\"//runtime/api\", \"@crates//:serde\"").is_empty());
        assert_eq!(
            found("protocol", "\n        \"//runtime\",\n    "),
            [
                "protocol/BUILD.bazel:6: `protocol` must not know `runtime`: see the code map in ARCHITECTURE.md"
            ]
        );
        assert_eq!(found("client", "\"//host:code_mode_host\"").len(), 1);
    }

    #[test]
    fn a_feature_knows_more_than_its_library_and_no_other_does() {
        let with = |package: &str, labels: &str| {
            let mut file = build(package, "");
            let features =
                format!("    cargo_features = {{\"grpc\": [{labels}]}},\n    deps = [],");
            file.text = file.text.replace("    deps = [],", &features);
            messages(&check_except(&[file], &[])).len()
        };
        assert_eq!(with("client/embed", "\"//client/grpc\""), 0);
        assert_eq!(with("client/embed", "\"//client\""), 1);
        assert_eq!(with("protocol", "\"//client/grpc\""), 1);
        assert_eq!(found("client/embed", "\"//client/grpc\"").len(), 1);
    }

    #[test]
    fn a_package_without_a_floor_is_refused() {
        assert_eq!(found("attic", "").len(), 1);
    }

    #[test]
    fn a_known_edge_may_stay_until_it_is_gone() {
        let known = [("protocol", "runtime")];
        let with = [build("protocol", "\"//runtime\"")];
        assert!(check_except(&with, &known).is_empty());
        let without = [build("protocol", "")];
        let found = messages(&check_except(&without, &known));
        assert_eq!(found.len(), 1);
        assert!(
            found[0].contains("does not know `runtime` any more"),
            "{found:?}"
        );
    }
}
