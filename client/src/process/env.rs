// SPDX-License-Identifier: Apache-2.0
//! The environment of a host, and where its program lies.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::config::Environment;

/// Gives `command` exactly the variables that `environment` names, and nothing of this process's
/// own beside them: secrets in the embedder's environment are not the host's business.
pub(super) fn apply(command: &mut Command, environment: &Environment) {
    command.env_clear();
    for name in &environment.inherit {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(&environment.set);
}

/// Finds a program as a shell would, against `search_path`; `None` when nothing executable is there.
///
/// The look-up happens here because the host's own, cleared environment has no `PATH`, and because
/// a relative path must not change its meaning with the host's working folder.
pub(super) fn resolve(program: &Path, search_path: Option<&OsStr>) -> Option<PathBuf> {
    if program.components().count() != 1 || program.is_absolute() {
        return std::path::absolute(program).ok();
    }
    std::env::split_paths(search_path?)
        .map(|folder| folder.join(program))
        .find(|candidate| is_executable(candidate))
        .and_then(|found| std::path::absolute(found).ok())
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_found_in_the_search_path() {
        let found = resolve(Path::new("sh"), Some(OsStr::new("/nowhere:/usr/bin:/bin")));
        assert!(found.is_some_and(|path| path.is_absolute() && path.ends_with("sh")));
    }

    #[test]
    fn a_bare_name_that_is_nowhere_is_not_found() {
        assert_eq!(
            resolve(Path::new("no-such-program-here"), Some(OsStr::new("/bin"))),
            None
        );
        assert_eq!(resolve(Path::new("sh"), None), None);
    }

    #[test]
    fn a_relative_path_is_made_absolute_against_this_process() {
        let here = std::env::current_dir().expect("a working folder");
        assert_eq!(
            resolve(Path::new("folder/host"), None),
            Some(here.join("folder/host"))
        );
    }

    #[test]
    fn only_named_variables_reach_the_host() {
        let mut command = Command::new("/usr/bin/env");
        let environment = Environment {
            inherit: vec!["PATH".into(), "NO_SUCH_VARIABLE_HERE".into()],
            set: [("GREETING".into(), "hello".into())].into(),
        };
        apply(&mut command, &environment);
        let output = command.output().expect("env runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let mut names: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        names.sort_unstable();
        let path = std::env::var("PATH").expect("PATH is set");
        assert_eq!(names, [("GREETING", "hello"), ("PATH", path.as_str())]);
    }
}
