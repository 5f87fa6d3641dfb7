// SPDX-License-Identifier: Apache-2.0
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

mod circles;
mod constants;
mod edges;
mod file;
mod imports;
mod layering;
mod licence;
mod names;
mod promises;
mod rust;
mod starlark;
mod text;
pub mod tree;

pub use file::{SourceFile, Violation};

/// All violations of one file, in the order of the rules.
pub fn check(file: &SourceFile) -> Vec<Violation> {
    let mut found = text::check(file);
    found.extend(licence::check(file));
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
    found.extend(circles::check(files));
    found.extend(edges::check(files));
    found.extend(names::check(files));
    found.extend(promises::check(files));
    found
}
