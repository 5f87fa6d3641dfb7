// SPDX-License-Identifier: Apache-2.0
//! How the command line resolves the paths that it is given.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

/// The folder from which `bazel run` was called, set by Bazel.
const BAZEL_CALLER_FOLDER: &str = "BUILD_WORKING_DIRECTORY";

/// The folder that relative paths of the command line start from, and that tools run in.
///
/// It is the folder in which the user typed the command: `bazel run` changes the working folder and
/// names the original one in `BUILD_WORKING_DIRECTORY`; elsewhere it is the working folder.
///
/// # Errors
/// When the working folder cannot be had, for instance because it was deleted.
pub fn caller_folder() -> io::Result<PathBuf> {
    match env::var_os(BAZEL_CALLER_FOLDER).map(PathBuf::from) {
        Some(folder) if folder.is_absolute() => Ok(folder),
        _ => env::current_dir(),
    }
}

/// `path`, made absolute against `folder`.
pub fn resolve(folder: &Path, path: &Path) -> PathBuf {
    folder.join(path)
}
