//! The rules of this repository that no compiler checks, as functions over the text of a file.
//!
//! # Purpose
//! What ARCHITECTURE.md and the style of the sources promise stays true only while something fails when it is broken.
//! Each rule looks at one file's path and text; a [`Violation`] says where, what, and how to mend it.
//! `tests/tree.rs` runs all of them over the whole source tree, files that no BUILD file names included.
//!
//! # Life cycle
//! Nothing lives longer than a call: [`tree::files`] reads the tree, [`check`] judges one file, [`check_tree`] the tree.
//!
//! # Threads
//! None; every function is pure but [`tree::files`].
//!
//! # Limits
//! The rules read text, not syntax: they follow our formatters' layout and may be fooled by a string literal that looks
//! like code. That is a fair price for rules of ten lines each.

#![forbid(unsafe_code)]

mod layering;
mod rust;
mod starlark;
mod text;
pub mod tree;

use std::fmt;

/// One file of the source tree.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// The path from the root of the workspace, with `/` between its parts.
    pub path: String,
    /// The whole content.
    pub text: String,
}

impl SourceFile {
    /// A file of this path and content.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }

    /// The part of the path after the last `/`.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    fn violation(&self, line: usize, message: impl Into<String>) -> Violation {
        Violation {
            path: self.path.clone(),
            line,
            message: message.into(),
        }
    }
}

/// A rule that a file breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The file's path from the root of the workspace.
    pub path: String,
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// All violations of one file, in the order of the rules.
pub fn check(file: &SourceFile) -> Vec<Violation> {
    let mut found = text::check(file);
    if file.path.ends_with(".rs") {
        found.extend(rust::check(file));
        found.extend(layering::check_rust(file));
    }
    if starlark::is_ours(&file.path) {
        found.extend(starlark::check(file));
        found.extend(layering::check_build(file));
    }
    found
}

/// All violations of the tree: those of each file, and what is missing.
pub fn check_tree(files: &[SourceFile]) -> Vec<Violation> {
    let mut found: Vec<Violation> = files.iter().flat_map(check).collect();
    found.extend(layering::check_documents(files));
    found
}

#[cfg(test)]
pub(crate) fn messages(found: &[Violation]) -> Vec<String> {
    found.iter().map(Violation::to_string).collect()
}
