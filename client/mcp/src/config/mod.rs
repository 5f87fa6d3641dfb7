// SPDX-License-Identifier: Apache-2.0
//! Which MCP servers there are and what may be done with them, from the files that the user names.
//!
//! A file has the `mcpServers` object that the known clients use, as JSON with comments or as TOML, so
//! that such a client's own file can be taken as it is: members that mean nothing here are passed over
//! with a warning. A mistake in the description of one server costs that server and no other.

mod expand;
mod read;
mod spec;

use std::path::{Path, PathBuf};

use crate::policy::Policy;

pub use expand::{ExpandError, Expanded, expand};
pub use read::parse_value;
pub use spec::{
    ConfigError, DEFAULT_CALL_TIMEOUT, DEFAULT_START_TIMEOUT, MAX_CALL_TIME, MAX_SERVERS, Secrets,
    ServerSpec, TransportSpec,
};

/// Bytes of one configuration file.
pub const MAX_CONFIG_BYTES: u64 = 4 * 1024 * 1024;

/// Everything that configuration files say.
#[derive(Debug, Default)]
pub struct Config {
    /// The servers: file after file, by name within each.
    pub servers: Vec<ServerSpec>,
    /// What scripts may call.
    pub policy: Policy,
    /// What was passed over, for people.
    pub warnings: Vec<String>,
}

/// Reads the files in order. A server of a later file replaces one of the same name; what the policies
/// say adds up.
///
/// # Errors
/// When a file cannot be read or is not what it must be.
pub fn load(
    paths: &[PathBuf],
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    for path in paths {
        let text = read_file(path).map_err(|cause| ConfigError::Read {
            path: path.clone(),
            cause,
        })?;
        add(&mut config, &text, path, lookup)?;
    }
    Ok(config)
}

/// Adds what the text of the file `path` says.
///
/// # Errors
/// When it is not what it must be.
pub fn add(
    config: &mut Config,
    text: &str,
    path: &Path,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    let file = read::read(text, path, lookup)?;
    for server in file.servers {
        match config
            .servers
            .iter_mut()
            .find(|known| known.name == server.name)
        {
            Some(known) => {
                config.warnings.push(format!(
                    "the server {} of {} replaces the one of an earlier file",
                    server.name,
                    path.display()
                ));
                *known = server;
            }
            None => config.servers.push(server),
        }
    }
    if config.servers.len() > MAX_SERVERS {
        return Err(ConfigError::TooMany);
    }
    config.policy.merge(file.policy);
    config.warnings.extend(file.warnings);
    Ok(())
}

/// Reads a text file of at most [`MAX_CONFIG_BYTES`].
///
/// # Errors
/// In words for people, without the file's name.
pub fn read_file(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(format!("it is larger than {MAX_CONFIG_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
