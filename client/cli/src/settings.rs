// SPDX-License-Identifier: Apache-2.0
//! Defaults from configuration files, and where each came from.
//!
//! Two files are read: `code_mode.toml` in the caller's folder, and `code_mode/config.toml` in the
//! user's configuration folder; the first goes before the second. A folder that somebody else wrote
//! must not choose the program that is started, nor whom a token goes to, so that `host` and what belongs to
//! it can stand in the user's file only.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use code_mode_client::HOST_VARIABLE;
use code_mode_client_grpc::Address;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::args::ColorWhen;
use crate::limits::Limit;
use crate::tools_file::read_text;
use crate::units::parse_duration;

/// The file in the caller's folder.
pub const PROJECT_FILE: &str = "code_mode.toml";

/// The file in the user's configuration folder.
const USER_FILE: &str = "code_mode/config.toml";

/// The environment variable that names another user's file; empty for none.
const USER_FILE_VARIABLE: &str = "CODE_MODE_CONFIG";

/// A value and the file that it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// The file.
    pub file: PathBuf,
}

/// The defaults in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `tools`: tools files.
    pub tools: Option<Sourced<Vec<PathBuf>>>,
    /// `host`: the host program or its address.
    pub host: Option<Sourced<PathBuf>>,
    /// `host-token-file`: the token for that host, if it is an address.
    pub host_token_file: Option<Sourced<PathBuf>>,
    /// `host-ca-file`: who may vouch for that host, if it is an `https` address.
    pub host_ca_file: Option<Sourced<PathBuf>>,
    /// `store`: where stored values are loaded from and saved to.
    pub store: Option<Sourced<PathBuf>>,
    /// `images`: where images are saved.
    pub images: Option<Sourced<PathBuf>>,
    /// `timeout`: how long a script may run.
    pub timeout: Option<Sourced<Duration>>,
    /// `yield-after`: how long a cell may keep the prompt away.
    pub yield_after: Option<Sourced<Duration>>,
    /// `color`: when colours are used.
    pub color: Option<Sourced<ColorWhen>>,
    /// `[limits]`: bounds of each script.
    pub limits: Option<Sourced<Vec<Limit>>>,
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read.
    #[error("Failed to read the configuration {}: {cause}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// It says something that it cannot say.
    #[error("Failed to understand the configuration {}: {mistake}", .path.display())]
    Mistake {
        /// The file.
        path: PathBuf,
        /// What, with its place.
        mistake: String,
    },
}

/// What can stand in a file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    tools: Option<Vec<PathBuf>>,
    host: Option<PathBuf>,
    host_token_file: Option<PathBuf>,
    host_ca_file: Option<PathBuf>,
    store: Option<PathBuf>,
    images: Option<PathBuf>,
    #[serde(deserialize_with = "duration")]
    timeout: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    yield_after: Option<Duration>,
    color: Option<ColorWhen>,
    #[serde(deserialize_with = "limits")]
    limits: Option<Vec<Limit>>,
}

impl File {
    /// A setting that stands here, and that only the user's own file may have.
    fn of_the_user_alone(&self) -> Option<&'static str> {
        [
            ("host", &self.host),
            ("host-token-file", &self.host_token_file),
            ("host-ca-file", &self.host_ca_file),
        ]
        .into_iter()
        .find_map(|(name, setting)| setting.as_ref().map(|_| name))
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map(Some).map_err(D::Error::custom)
}

fn limits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Limit>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Number(u64),
        Text(String),
    }
    let table = BTreeMap::<String, Value>::deserialize(deserializer)?;
    let limits = table.into_iter().map(|(name, value)| {
        let value = match value {
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text,
        };
        Limit::of(&name, &value).map_err(D::Error::custom)
    });
    limits.collect::<Result<_, _>>().map(Some)
}

impl Settings {
    /// Reads the files that there are.
    ///
    /// # Errors
    /// When one of them cannot be read or understood.
    pub fn load(folder: &Path) -> Result<Self, SettingsError> {
        Self::of_files(&folder.join(PROJECT_FILE), user_file().as_deref())
    }

    fn of_files(project: &Path, user: Option<&Path>) -> Result<Self, SettingsError> {
        let mut settings = match read(project)? {
            None => Self::default(),
            Some(file) => match file.of_the_user_alone() {
                None => Self::of(file, project),
                Some(name) => {
                    return Err(SettingsError::Mistake {
                        path: project.to_path_buf(),
                        mistake: format!(
                            "`{name}` can be set in the user's configuration only, since a folder \
                             must not choose the host"
                        ),
                    });
                }
            },
        };
        if let Some(user) = user
            && let Some(file) = read(user)?
        {
            settings = settings.over(Self::of(file, user));
        }
        Ok(settings)
    }

    /// The values of a file; its relative paths start in the file's folder.
    fn of(file: File, path: &Path) -> Self {
        let folder = path.parent().unwrap_or(Path::new("/"));
        fn sourced<T>(value: Option<T>, path: &Path) -> Option<Sourced<T>> {
            value.map(|value| Sourced {
                value,
                file: path.to_path_buf(),
            })
        }
        let resolve = |given: PathBuf| folder.join(given);
        let tools = file
            .tools
            .map(|tools| tools.into_iter().map(resolve).collect());
        // An address is no path.
        let host = file.host.map(|host| match host.to_str() {
            Some(text) if Address::is_meant_by(text) => host,
            _ => resolve(host),
        });
        Self {
            tools: sourced(tools, path),
            host: sourced(host, path),
            host_token_file: sourced(file.host_token_file.map(resolve), path),
            host_ca_file: sourced(file.host_ca_file.map(resolve), path),
            store: sourced(file.store.map(resolve), path),
            images: sourced(file.images.map(resolve), path),
            timeout: sourced(file.timeout, path),
            yield_after: sourced(file.yield_after, path),
            color: sourced(file.color, path),
            limits: sourced(file.limits, path),
        }
    }

    /// These values, and where there is none, those of `others`.
    fn over(self, others: Self) -> Self {
        Self {
            tools: self.tools.or(others.tools),
            host: self.host.or(others.host),
            host_token_file: self.host_token_file.or(others.host_token_file),
            host_ca_file: self.host_ca_file.or(others.host_ca_file),
            store: self.store.or(others.store),
            images: self.images.or(others.images),
            timeout: self.timeout.or(others.timeout),
            yield_after: self.yield_after.or(others.yield_after),
            color: self.color.or(others.color),
            limits: self.limits.or(others.limits),
        }
    }

    /// Adds to the help of each option what its default is and which file says so.
    pub fn tell(&self, command: clap::Command) -> clap::Command {
        let commas = |items: Vec<String>| items.join(", ");
        // The variable goes before the files.
        let host = match env::var_os(HOST_VARIABLE).filter(|value| !value.is_empty()) {
            Some(host) => Some(format!("[now {}, from {HOST_VARIABLE}]", host.display())),
            None => told(&self.host, shown),
        };
        let told = [
            (
                "tools",
                told(&self.tools, |tools| {
                    commas(tools.iter().map(shown).collect())
                }),
            ),
            ("host", host),
            ("host_token_file", told(&self.host_token_file, shown)),
            ("host_ca_file", told(&self.host_ca_file, shown)),
            ("store", told(&self.store, shown)),
            ("images", told(&self.images, shown)),
            ("timeout", told(&self.timeout, |time| format!("{time:?}"))),
            (
                "yield_after",
                told(&self.yield_after, |time| format!("{time:?}")),
            ),
            (
                "color",
                told(&self.color, |when| format!("{when:?}").to_lowercase()),
            ),
            (
                "limits",
                told(&self.limits, |limits| {
                    commas(limits.iter().map(ToString::to_string).collect())
                }),
            ),
        ];
        let amend = |mut command: clap::Command| {
            for (id, told) in &told {
                if let Some(told) = told
                    && command
                        .get_arguments()
                        .any(|argument| argument.get_id() == id)
                {
                    command = command.mut_arg(*id, |argument| amended(argument, told));
                }
            }
            command
        };
        amend(command).mut_subcommands(amend)
    }
}

fn amended(argument: clap::Arg, told: &str) -> clap::Arg {
    let add = |help: &clap::builder::StyledStr| format!("{help} {told}");
    let (short, long) = (
        argument.get_help().map(add),
        argument.get_long_help().map(add),
    );
    let argument = match short {
        Some(help) => argument.help(help),
        None => argument,
    };
    match long {
        Some(help) => argument.long_help(help),
        None => argument,
    }
}

#[expect(
    clippy::ptr_arg,
    reason = "it is called on the elements of a list of these"
)]
fn shown(path: &PathBuf) -> String {
    path.display().to_string()
}

fn told<T>(setting: &Option<Sourced<T>>, show: impl FnOnce(&T) -> String) -> Option<String> {
    let Sourced { value, file } = setting.as_ref()?;
    Some(format!("[now {}, from {}]", show(value), file.display()))
}

fn read(path: &Path) -> Result<Option<File>, SettingsError> {
    match path.symlink_metadata() {
        Err(error) if is_absence(&error) => return Ok(None),
        _ => {}
    }
    let text = read_text(path).map_err(|cause| SettingsError::Read {
        path: path.to_path_buf(),
        cause,
    })?;
    toml::from_str(&text)
        .map(Some)
        .map_err(|error| SettingsError::Mistake {
            path: path.to_path_buf(),
            mistake: error.to_string().trim_end().to_owned(),
        })
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// `$CODE_MODE_CONFIG`, or `code_mode/config.toml` in `$XDG_CONFIG_HOME`, by default `~/.config`.
fn user_file() -> Option<PathBuf> {
    if let Some(named) = env::var_os(USER_FILE_VARIABLE) {
        return Some(PathBuf::from(named)).filter(|path| path.is_absolute());
    }
    Some(user_folder()?.join(USER_FILE))
}

/// The user's configuration folder: `$XDG_CONFIG_HOME`, by default `~/.config`.
pub fn user_folder() -> Option<PathBuf> {
    env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.shown())
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
