// SPDX-License-Identifier: Apache-2.0
//! Finds the host program on this machine.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The host program's file name.
pub const HOST_PROGRAM: &str = "code_mode_host";

/// The environment variable that names the host program.
pub const HOST_VARIABLE: &str = "CODE_MODE_HOST";

/// How many folders above a program's own may hold the folder of the host's package.
const PACKAGE_LEVELS: usize = 2;

/// What the search goes by.
#[derive(Debug)]
pub struct HostSearch {
    /// `--host`, if given.
    pub option: Option<PathBuf>,
    /// The value of [`HOST_VARIABLE`], if set.
    pub variable: Option<OsString>,
    /// A path from a configuration, and what people know that configuration by.
    pub configured: Option<(PathBuf, String)>,
    /// This program's own file.
    pub program: Option<PathBuf>,
    /// Where relative paths start.
    pub folder: PathBuf,
}

/// Why no host was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostNotFound {
    /// A place was named and holds no program.
    #[error("the host program named by {by} cannot be run: {}: {problem}", .path.display())]
    Named {
        /// `--host`, the variable or the configuration.
        by: String,
        /// The place.
        path: PathBuf,
        /// What is wrong there.
        problem: String,
    },
    /// None of the usual places holds it.
    #[error(
        "{HOST_PROGRAM} was not found; name it with --host PATH or {HOST_VARIABLE}. Looked at:{}",
        list(.looked_at)
    )]
    Nowhere {
        /// The places with what is wrong at each.
        looked_at: Vec<(PathBuf, String)>,
    },
}

fn list(places: &[(PathBuf, String)]) -> String {
    places
        .iter()
        .map(|(path, problem)| format!("\n  {}: {problem}", path.display()))
        .collect()
}

impl HostSearch {
    /// Searches by this process's environment; `option` is `--host`.
    pub fn of_this_process(option: Option<PathBuf>, folder: PathBuf) -> Self {
        Self {
            option,
            variable: std::env::var_os(HOST_VARIABLE).filter(|value| !value.is_empty()),
            configured: None,
            program: std::env::current_exe().ok(),
            folder,
        }
    }

    /// The host as it was named, if it was: a path, or whatever else was written there.
    pub fn named(&self) -> Option<PathBuf> {
        self.named_by().map(|(_, path)| path)
    }

    fn named_by(&self) -> Option<(String, PathBuf)> {
        if let Some(path) = &self.option {
            return Some(("--host".to_owned(), path.clone()));
        }
        if let Some(value) = &self.variable {
            return Some((HOST_VARIABLE.to_owned(), PathBuf::from(value)));
        }
        let (path, by) = self.configured.clone()?;
        Some((by, path))
    }

    /// Finds the host: by `--host`, else by [`HOST_VARIABLE`], else by the configuration, else beside
    /// this program.
    ///
    /// # Errors
    /// When the named place, or every usual one, holds no executable file.
    pub fn find(&self) -> Result<PathBuf, HostNotFound> {
        if let Some((by, path)) = self.named_by() {
            let path = self.folder.join(path);
            return match problem_at(&path) {
                None => Ok(path),
                Some(problem) => Err(HostNotFound::Named { by, path, problem }),
            };
        }
        let mut looked_at = Vec::new();
        for path in self.usual_places() {
            match problem_at(&path) {
                None => return Ok(path),
                Some(problem) => looked_at.push((path, problem)),
            }
        }
        Err(HostNotFound::Nowhere { looked_at })
    }

    /// The same folder, as installed; the folder of the host's package, one or two levels up, as Bazel
    /// builds it; and this program's runfiles, as `bazel run` and `bazel test` lay them out.
    fn usual_places(&self) -> Vec<PathBuf> {
        let Some(program) = &self.program else {
            return Vec::new();
        };
        let Some(folder) = program.parent() else {
            return Vec::new();
        };
        let mut places = vec![folder.join(HOST_PROGRAM)];
        let above = folder.ancestors().skip(1).take(PACKAGE_LEVELS);
        places.extend(above.map(|packages| packages.join("host").join(HOST_PROGRAM)));
        let mut runfiles = program.clone().into_os_string();
        runfiles.push(".runfiles");
        places.push(Path::new(&runfiles).join("_main/host").join(HOST_PROGRAM));
        places
    }
}

fn problem_at(path: &Path) -> Option<String> {
    match path.metadata() {
        Err(error) => Some(error.to_string()),
        Ok(metadata) if !metadata.is_file() => Some("not a file".into()),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => Some("not executable".into()),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use pretty_assertions::assert_eq;

    use super::*;

    fn search(program: &Path) -> HostSearch {
        HostSearch {
            option: None,
            variable: None,
            configured: None,
            program: Some(program.to_path_buf()),
            folder: "/work".into(),
        }
    }

    fn make_program(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_host_is_found_in_each_usual_place() {
        for place in [
            "client/cli/code_mode_host",
            "client/host/code_mode_host",
            "host/code_mode_host",
            "client/cli/code_mode.runfiles/_main/host/code_mode_host",
        ] {
            let root = tempfile::tempdir().unwrap();
            let host = root.path().join(place);
            make_program(&host);
            assert_eq!(
                search(&root.path().join("client/cli/code_mode")).find(),
                Ok(host)
            );
        }
    }

    #[test]
    fn the_option_goes_before_the_variable_and_that_before_the_configuration() {
        let root = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| root.path().join(name));
        for path in [&a, &b, &c] {
            make_program(path);
        }
        let mut search = search(Path::new("/nowhere/code_mode"));
        search.folder = root.path().to_path_buf();
        search.configured = Some(("c".into(), "the configuration".into()));
        assert_eq!(search.find(), Ok(c));
        search.variable = Some("b".into());
        assert_eq!(search.find(), Ok(b));
        search.option = Some("a".into());
        assert_eq!(search.find(), Ok(a));
    }

    #[test]
    fn a_named_place_without_a_program_is_an_error_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let mut search = search(Path::new("/nowhere/code_mode"));
        search.option = Some(root.path().to_path_buf());
        let expected = format!(
            "the host program named by --host cannot be run: {}: not a file",
            root.path().display()
        );
        assert_eq!(search.find().unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_host_that_is_nowhere_is_reported_with_every_place() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("client/cli");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(HOST_PROGRAM), "").unwrap();
        let error = search(&folder.join("code_mode"))
            .find()
            .unwrap_err()
            .to_string();
        let root = root.path().display();
        let expected = format!(
            "code_mode_host was not found; name it with --host PATH or CODE_MODE_HOST. Looked at:\n  \
             {root}/client/cli/code_mode_host: not executable\n  \
             {root}/client/host/code_mode_host: No such file or directory (os error 2)\n  \
             {root}/host/code_mode_host: No such file or directory (os error 2)\n  \
             {root}/client/cli/code_mode.runfiles/_main/host/code_mode_host: \
             No such file or directory (os error 2)"
        );
        assert_eq!(error, expected);
    }
}
