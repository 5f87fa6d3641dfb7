// SPDX-License-Identifier: Apache-2.0
//! Servers as they are configured, and what can be wrong with a configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Servers of all files together. Each may become a process.
pub const MAX_SERVERS: usize = 256;

/// How long a server may take from its start to its list of tools, unless the file says otherwise (60 s).
///
/// Generous because `npx` and `uvx` download a server before its first start.
pub const DEFAULT_START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a call of a tool may take, unless the file says otherwise (5 min). Progress that the server
/// reports starts the time anew, up to [`MAX_CALL_TIME`].
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a call may take in all, whatever progress it reports (1 h, a cell's own wall time).
pub const MAX_CALL_TIME: Duration = Duration::from_secs(3600);

/// One server as it is configured.
#[derive(Debug, Clone)]
pub struct ServerSpec {
    /// Its name in the file.
    pub name: String,
    /// How to reach it; an error where what stands in the file cannot be used.
    pub transport: Result<TransportSpec, String>,
    /// See [`DEFAULT_START_TIMEOUT`].
    pub start_timeout: Duration,
    /// See [`DEFAULT_CALL_TIMEOUT`].
    pub call_timeout: Duration,
    /// Only tools that one of these patterns matches are offered; `None` offers all.
    pub include_tools: Option<Vec<String>>,
    /// Tools that one of these patterns matches are not offered.
    pub exclude_tools: Vec<String>,
    /// Texts that must not be shown to scripts or in errors.
    pub secrets: Secrets,
}

/// How a server is reached.
#[derive(Clone, PartialEq, Eq)]
pub enum TransportSpec {
    /// A process of ours, over its standard input and output.
    Command {
        /// A name that is looked up in `PATH`, or a path relative to the file's folder.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
        /// Variables that are set beside the few that every server gets.
        environment: BTreeMap<String, String>,
        /// Its working folder; `None` is ours.
        folder: Option<PathBuf>,
    },
    /// Streamable HTTP.
    Http {
        /// The server's address.
        url: String,
        /// Headers of every request.
        headers: BTreeMap<String, String>,
    },
}

/// Without the values of variables and headers, which may be credentials.
impl fmt::Debug for TransportSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command {
                program,
                arguments,
                environment,
                folder,
            } => f
                .debug_struct("Command")
                .field("program", program)
                .field("arguments", &arguments.len())
                .field("environment", &environment.keys().collect::<Vec<_>>())
                .field("folder", folder)
                .finish(),
            Self::Http { headers, .. } => f
                .debug_struct("Http")
                .field("headers", &headers.keys().collect::<Vec<_>>())
                .finish_non_exhaustive(),
        }
    }
}

/// Texts that are blanked out wherever something is told about a server.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Vec<String>);

/// Bytes of the shortest text that is blanked out. Shorter values are no credentials, and blanking them would make
/// texts unreadable.
pub(super) const MIN_SECRET_BYTES: usize = 6;

impl Secrets {
    /// Adds a text, if it is long enough to be a credential.
    pub fn add(&mut self, secret: &str) {
        let secret = secret.trim();
        if secret.len() >= MIN_SECRET_BYTES && !self.0.iter().any(|known| known == secret) {
            self.0.push(secret.to_owned());
            // The longest first, so that no part of one is left over.
            self.0.sort_by_key(|known| std::cmp::Reverse(known.len()));
        }
    }

    /// The text without the secrets.
    pub fn redact(&self, text: &str) -> String {
        let mut redacted = text.to_owned();
        for secret in &self.0 {
            if redacted.contains(secret) {
                redacted = redacted.replace(secret, "[secret]");
            }
        }
        redacted
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("Failed to read the configuration {}: {cause}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// It is neither JSON nor TOML.
    #[error("Failed to understand the configuration {}: {mistake}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What, with its place.
        mistake: String,
    },
    /// A member has the wrong kind of value.
    #[error("Failed to understand the configuration {}: {field} {problem}", .path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// Which member, such as `mcpServers.files.args`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The files name too many servers.
    #[error("Failed to take the configuration: it names more than {MAX_SERVERS} servers")]
    TooMany,
}
