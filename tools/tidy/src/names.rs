// SPDX-License-Identifier: Apache-2.0
//! Words that say little by themselves name one thing in the whole tree.

use std::collections::BTreeMap;

use crate::file::{SourceFile, Violation};

/// Names of types that a reader would take for each other.
const TYPES: [&str; 4] = ["Delegates", "Driver", "Event", "State"];

/// Names of files that a reader would take for each other.
const FILES: [&str; 3] = ["delegates.rs", "driver.rs", "events.rs"];

/// The type that a line defines, if it is one of [`TYPES`].
fn defined(line: &str) -> Option<&'static str> {
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.find(|word| matches!(*word, "struct" | "enum" | "trait" | "type"))?;
    let name = words.next()?;
    TYPES.into_iter().find(|known| *known == name)
}

pub(crate) fn check(files: &[SourceFile]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut first = BTreeMap::new();
    let mut note = |file: &SourceFile, line: usize, name: &'static str| {
        let path = first.entry(name).or_insert_with(|| file.path.clone());
        if *path != file.path {
            let message = format!("say what it is of: {path} has a `{name}` already");
            found.push(file.violation(line, message));
        }
    };
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        if let Some(name) = FILES.into_iter().find(|name| *name == file.name()) {
            note(file, 0, name);
        }
        for (index, line) in file.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(name) = defined(code) {
                note(file, index + 1, name);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::messages;

    #[test]
    fn a_word_that_says_little_names_one_type() {
        let files = [
            SourceFile::new("a/src/one.rs", "pub(crate) struct State<T> {\n"),
            SourceFile::new("b/src/two.rs", "\nenum State {}\nstruct StateOfB;\n"),
            SourceFile::new("c/src/three.rs", "// struct State\nuse a::State;\n"),
        ];
        assert_eq!(
            messages(&check(&files)),
            ["b/src/two.rs:2: say what it is of: a/src/one.rs has a `State` already"]
        );
    }

    #[test]
    fn a_word_that_says_little_names_one_file() {
        let files = [
            SourceFile::new("a/src/events.rs", ""),
            SourceFile::new("b/tests/events.rs", ""),
            SourceFile::new("c/src/cell_events.rs", ""),
        ];
        assert_eq!(
            messages(&check(&files)),
            ["b/tests/events.rs:0: say what it is of: a/src/events.rs has a `events.rs` already"]
        );
    }
}
