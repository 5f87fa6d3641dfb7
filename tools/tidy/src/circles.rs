// SPDX-License-Identifier: Apache-2.0
//! No import circle between the modules of a crate.
//!
//! Modules that use each other, over however many steps, can be understood, changed and tested only
//! together.

use std::collections::{BTreeMap, BTreeSet};

use crate::file::{SourceFile, Violation};
use crate::imports::Modules;

pub(crate) fn check(files: &[SourceFile]) -> Vec<Violation> {
    let mut found = Vec::new();
    let roots = files.iter().filter_map(|file| {
        let folder = file.path.strip_suffix("lib.rs")?;
        folder.ends_with("src/").then_some(folder)
    });
    for folder in roots {
        let modules = Modules::read(files, folder);
        for circle in circles(&modules.edges()) {
            let advice = format!(
                "these modules use each other, move what they share below them: {}",
                circle.join(", ")
            );
            found.extend(violation(files, circle[0], advice));
        }
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
        let found = messages(&check(&tree()));
        let expected = "x/src/a.rs:0: these modules use each other, move what they share below them: \
                        x/src/a.rs, x/src/b.rs, x/src/c.rs";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn modules_that_only_use_what_stands_below_them_are_in_no_circle() {
        let mut files = tree();
        files[2] = file("c.rs", "use crate::d;");
        assert!(check(&files).is_empty());
    }
}
