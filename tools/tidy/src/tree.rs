// SPDX-License-Identifier: Apache-2.0
//! The files of the source tree.

use std::fs;
use std::io;
use std::path::Path;

use crate::file::SourceFile;

/// Folders that tools write and that are not checked in, wherever they are.
const SKIPPED: [&str; 4] = [".git", ".cargo", "target", "node_modules"];

/// The same in one place: what the compiler of TypeScript writes. Other folders of this name are ours.
const SKIPPED_PATH: &str = "client/typescript/dist";

/// The start of the names of Bazel's links in the root of the workspace.
const BAZEL_LINK: &str = "bazel-";

/// Reads every text file below `root`, in the order of their paths. A file that is not UTF-8 is data, not text.
///
/// # Errors
/// An I/O error, with the path in its message.
pub fn files(root: &Path) -> io::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    visit(root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn visit(folder: &Path, prefix: &str, files: &mut Vec<SourceFile>) -> io::Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| naming(folder, &error))? {
        let entry = entry.map_err(|error| naming(folder, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry
            .file_type()
            .map_err(|error| naming(&entry.path(), &error))?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) && path != SKIPPED_PATH {
            visit(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() && !path.starts_with(BAZEL_LINK) {
            let bytes = fs::read(entry.path()).map_err(|error| naming(&entry.path(), &error))?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(SourceFile::new(path, text));
            }
        }
    }
    Ok(())
}

fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("Failed to read {}: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_tools_links_and_binary_data_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in [
            "b/c.rs",
            "a.md",
            "target/x.rs",
            "b/.git/y.rs",
            "dist/d.md",
            "client/typescript/dist/e.js",
        ] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), path).unwrap();
        }
        fs::write(root.join("data"), [0xff, 0xfe]).unwrap();
        std::os::unix::fs::symlink(root.join("b"), root.join("bazel-out")).unwrap();
        let paths: Vec<String> = files(root)
            .unwrap()
            .into_iter()
            .map(|file| file.path)
            .collect();
        assert_eq!(paths, ["a.md", "b/c.rs", "dist/d.md"]);
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_it() {
        let error = files(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
