// SPDX-License-Identifier: Apache-2.0
use std::fs;

use clap::CommandFactory;
use pretty_assertions::assert_eq;

use super::*;
use crate::args::Cli;

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn project(&self) -> PathBuf {
        self.folder.path().join(PROJECT_FILE)
    }

    fn user(&self) -> PathBuf {
        self.folder.path().join("user.toml")
    }

    fn load(&self) -> Result<Settings, String> {
        Settings::of_files(&self.project(), Some(&self.user())).map_err(|error| error.to_string())
    }
}

#[test]
fn without_files_there_are_no_defaults() {
    assert_eq!(Files::new().load(), Ok(Settings::default()));
}

#[test]
fn the_folders_file_goes_before_the_users_and_paths_start_beside_each() {
    let files = Files::new();
    fs::write(files.project(), "tools = ['a.json']\ntimeout = '5s'\n").unwrap();
    let user =
        "timeout = '1s'\nhost = 'bin/host'\ncolor = 'never'\n[limits]\nheap = '1MiB'\ntimers = 7\n";
    fs::write(files.user(), user).unwrap();
    let settings = files.load().unwrap();
    let timeout = settings.timeout.unwrap();
    assert_eq!(
        (timeout.value, timeout.file),
        (Duration::from_secs(5), files.project())
    );
    assert_eq!(
        settings.tools.unwrap().value,
        [files.folder.path().join("a.json")]
    );
    let host = settings.host.unwrap();
    assert_eq!(
        (host.value, host.file),
        (files.folder.path().join("bin/host"), files.user())
    );
    assert_eq!(settings.color.unwrap().value, ColorWhen::Never);
    let limits: Vec<String> = settings
        .limits
        .unwrap()
        .value
        .iter()
        .map(Limit::to_string)
        .collect();
    assert_eq!(limits, ["heap=1048576", "timers=7"]);
}

#[test]
fn a_folder_cannot_choose_the_program_that_is_started() {
    let files = Files::new();
    for name in ["host", "host-token-file", "host-ca-file"] {
        fs::write(files.project(), format!("{name} = './evil'\n")).unwrap();
        let error = files.load().unwrap_err();
        assert!(
            error.contains(&format!(
                "`{name}` can be set in the user's configuration only"
            )),
            "{error}"
        );
    }
}

#[test]
fn an_address_stays_as_it_is_and_its_files_are_beside_the_configuration() {
    let files = Files::new();
    let text =
        "host = 'https://host.example:7000'\nhost-token-file = 'token'\nhost-ca-file = '/ca.pem'\n";
    fs::write(files.user(), text).unwrap();
    let settings = files.load().unwrap();
    assert_eq!(
        settings.host.unwrap().value,
        Path::new("https://host.example:7000")
    );
    assert_eq!(
        settings.host_token_file.unwrap().value,
        files.folder.path().join("token")
    );
    assert_eq!(settings.host_ca_file.unwrap().value, Path::new("/ca.pem"));
}

#[test]
fn a_mistake_is_shown_with_its_place() {
    let files = Files::new();
    for (text, place, words) in [
        ("timeout = 'soon'\n", "line 1, column 11", "such as 30s"),
        (
            "\ntimout = '1s'\n",
            "line 2, column 1",
            "unknown field `timout`",
        ),
        (
            "color = 'red'\n",
            "line 1, column 9",
            "unknown variant `red`",
        ),
        (
            "[limits]\nhaep = 1\n",
            "line 1, column 1",
            "did you mean heap?",
        ),
        ("tools = [\n", "line", ""),
    ] {
        fs::write(files.user(), text).unwrap();
        let error = files.load().unwrap_err();
        assert!(
            error.contains(place) && error.contains(words),
            "{text}: {error}"
        );
        assert!(error.contains("user.toml"), "{error}");
    }
}

#[test]
fn the_help_says_where_each_default_came_from() {
    let files = Files::new();
    fs::write(
        files.user(),
        "timeout = '90s'\nstore = 's.json'\ncolor = 'always'\n",
    )
    .unwrap();
    let mut command = files.load().unwrap().tell(Cli::command());
    let run = command
        .find_subcommand_mut("run")
        .unwrap()
        .render_long_help()
        .to_string();
    let folded: String = run.split_whitespace().collect::<Vec<_>>().join(" ");
    let file = files.user().display().to_string();
    assert!(folded.contains(&format!("[now 90s, from {file}]")), "{run}");
    assert!(folded.contains(&format!("s.json, from {file}]")), "{run}");
    let whole = command.render_long_help().to_string();
    assert!(whole.contains("[now always, from"), "{whole}");
}
