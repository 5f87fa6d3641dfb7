// SPDX-License-Identifier: Apache-2.0
//! The rules, over the whole source tree.

use std::env;
use std::path::PathBuf;

use code_mode_tidy::{Violation, check_tree, tree};

/// The root of the workspace. Bazel hands over one file of it, which is a link into the real tree: the test sees every
/// file, also one that no BUILD file names. Cargo runs the test from the tree itself.
fn workspace() -> PathBuf {
    match env::var_os("CODE_MODE_TREE_MARKER") {
        Some(marker) => {
            let marker = PathBuf::from(marker)
                .canonicalize()
                .expect("the marker file exists");
            marker.parent().expect("a file has a folder").to_owned()
        }
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")),
    }
}

#[test]
fn the_source_tree_keeps_the_rules() {
    let files = tree::files(&workspace()).expect("the tree is readable");
    assert!(
        files
            .iter()
            .any(|file| file.path == "tools/tidy/tests/tree.rs"),
        "the tree that was read is not this workspace"
    );
    let found: Vec<String> = check_tree(&files)
        .iter()
        .map(Violation::to_string)
        .collect();
    assert!(
        found.is_empty(),
        "{} violations:\n{}",
        found.len(),
        found.join("\n")
    );
}
