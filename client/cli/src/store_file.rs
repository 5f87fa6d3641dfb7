// SPDX-License-Identifier: Apache-2.0
//! Keeps a session's stored values in a file between runs: a JSON object, key to value.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use code_mode_api::RawJson;

use crate::snippet;
use crate::tools_file::read_text;

/// Reads the values at `path`; a file that is not there holds none.
///
/// # Errors
/// In words for people, when the file cannot be read or is no JSON object.
pub fn load(path: &Path) -> Result<BTreeMap<String, RawJson>, String> {
    let failed = |cause: String| format!("failed to load the store {}: {cause}", path.display());
    let folder = folder_of(path);
    match path.try_exists() {
        Ok(true) => {}
        // Found out before scripts run, not when their values cannot be saved.
        Ok(false) if !folder.is_dir() => {
            return Err(failed(format!("there is no folder {}", folder.display())));
        }
        Ok(false) => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(error.to_string())),
    }
    let text = read_text(path).map_err(failed)?;
    serde_json::from_str(&text).map_err(|error| {
        let name = path.display().to_string();
        let shown = snippet::show_json_error(&name, &text, &error, false);
        failed(format!("it must hold a JSON object\n{shown}"))
    })
}

/// Writes the values to `path`, whole or not at all.
///
/// # Errors
/// In words for people, when the file cannot be written; it then is as it was.
pub fn save(path: &Path, values: &BTreeMap<String, RawJson>) -> Result<(), String> {
    write_whole(path, values)
        .map_err(|error| format!("failed to save the store {}: {error}", path.display()))
}

fn write_whole(path: &Path, values: &BTreeMap<String, RawJson>) -> io::Result<()> {
    // A link stays a link: the file that it names is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let mut file = tempfile::NamedTempFile::new_in(folder_of(&target))?;
    serde_json::to_writer_pretty(&mut file, values)?;
    file.write_all(b"\n")?;
    if let Ok(metadata) = fs::metadata(&target) {
        file.as_file().set_permissions(metadata.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(&target)?;
    Ok(())
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::value::RawValue;

    use super::*;

    fn values() -> BTreeMap<String, RawJson> {
        let value = RawValue::from_string(r#"{"n":[1,2.50]}"#.into()).unwrap();
        BTreeMap::from([("a key".to_owned(), value)])
    }

    #[test]
    fn what_was_saved_is_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.json");
        assert!(load(&path).unwrap().is_empty());
        save(&path, &values()).unwrap();
        let loaded = load(&path).unwrap();
        assert_eq!(loaded["a key"].get(), r#"{"n":[1,2.50]}"#);
    }

    #[test]
    fn an_existing_file_keeps_its_permissions_and_a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("store.json"), folder.path().join("link"));
        fs::write(&path, "{}").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        save(&link, &values()).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(load(&path).unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_a_store_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.json");
        fs::write(&path, "[1]").unwrap();
        let error = load(&path).unwrap_err();
        assert!(error.contains("it must hold a JSON object"), "{error}");
        let error = load(&folder.path().join("none/store.json")).unwrap_err();
        assert!(error.contains("there is no folder"), "{error}");
        let error = save(&folder.path().join("none/store.json"), &values()).unwrap_err();
        assert!(error.starts_with("failed to save the store"), "{error}");
    }
}
