// SPDX-License-Identifier: Apache-2.0
//! No import circle between the modules of a crate.
//!
//! Modules that use each other, over however many steps, can be understood, changed and tested only
//! together.

use std::collections::{BTreeMap, BTreeSet};

use crate::file::{SourceFile, Violation};
use crate::imports::Modules;

/// The files that may still be in a circle with each other, each list of one crate. A list only ever
/// gets shorter.
const KNOWN: [&[&str]; 1] = [&[
    "client/embed/src/error.rs",
    "client/embed/src/output.rs",
    "client/embed/src/script_error.rs",
]];

pub(crate) fn check(files: &[SourceFile]) -> Vec<Violation> {
    check_except(files, &KNOWN)
}

fn check_except(files: &[SourceFile], known: &[&[&str]]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut in_circles = BTreeSet::new();
    let roots = files.iter().filter_map(|file| {
        let folder = file.path.strip_suffix("lib.rs")?;
        folder.ends_with("src/").then_some(folder)
    });
    for folder in roots {
        let modules = Modules::read(files, folder);
        for circle in circles(&modules.edges()) {
            in_circles.extend(circle.iter().map(|file| (*file).to_owned()));
            let is_known = |list: &&&[&str]| circle.iter().all(|file| list.contains(file));
            if known.iter().any(|list| is_known(&list)) {
                continue;
            }
            let advice = format!(
                "these modules use each other, move what they share below them: {}",
                circle.join(", ")
            );
            found.extend(violation(files, circle[0], advice));
        }
    }
    let over = known.iter().copied().flatten().copied();
    for file in over.filter(|file| !in_circles.contains(*file)) {
        let advice =
            "it is in no circle any more: take it out of the list in tools/tidy/src/circles.rs";
        found.push(SourceFile::new(file, "").violation(0, advice));
    }
    found
}

fn violation(files: &[SourceFile], path: &str, advice: String) -> Option<Violation> {
    let file = files.iter().find(|file| file.path == path)?;
    Some(file.violation(0, advice))
}

/// The groups of files that all reach each other, of two or more.
fn circles<'a>(edges: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<Vec<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&'a str>> = edges
        .keys()
        .map(|file| (*file, reachable(edges, file)))
        .collect();
    let mut circles: Vec<Vec<&'a str>> = Vec::new();
    for file in edges.keys() {
        if circles.iter().any(|circle| circle.contains(file)) {
            continue;
        }
        let back = |other: &&&str| reached[**other].contains(file);
        let circle: Vec<&'a str> = reached[file].iter().filter(back).copied().collect();
        if !circle.is_empty() {
            circles.push(circle);
        }
    }
    circles
}

fn reachable<'a>(edges: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = edges[from].iter().copied().collect();
    while let Some(file) = next.pop() {
        if let Some((file, used)) = edges.get_key_value(file)
            && reached.insert(*file)
        {
            next.extend(used);
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::messages;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile::new(format!("x/src/{path}"), text)
    }

    /// A circle of three, one module beside it, and one that uses it.
    fn tree() -> Vec<SourceFile> {
        vec![
            file("a.rs", "use crate::b;"),
            file("b.rs", "use crate::c;"),
            file("c.rs", "use crate::{a, d};"),
            file("d.rs", ""),
            file("e.rs", "use crate::a;"),
            file("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\nmod e;\n"),
        ]
    }

    #[test]
    fn a_circle_is_told_once_with_all_its_files() {
        let found = messages(&check_except(&tree(), &[]));
        let expected = "x/src/a.rs:0: these modules use each other, move what they share below them: \
                        x/src/a.rs, x/src/b.rs, x/src/c.rs";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_known_circle_may_stay_and_may_not_grow() {
        let known = ["x/src/a.rs", "x/src/b.rs", "x/src/c.rs"];
        assert!(check_except(&tree(), &[&known]).is_empty());
        let found = check_except(&tree(), &[&known[..2]]);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_file_that_has_left_its_circle_leaves_the_list() {
        let known = ["x/src/a.rs", "x/src/b.rs", "x/src/c.rs", "x/src/d.rs"];
        let found = messages(&check_except(&tree(), &[&known]));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("x/src/d.rs:0: it is in no circle"));
    }
}
