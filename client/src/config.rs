// SPDX-License-Identifier: Apache-2.0
//! How a provider runs its hosts: the program, its surroundings, its deadlines and the bounds of a
//! connection.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use code_mode_api::Globals;

use crate::process::ResourceLimits;

/// How long a host may take from the start of its program to `connection/ready` (20 s).
///
/// Generous because `docker run` or `ssh` may stand in front of the host.
pub const DEFAULT_STARTUP_DEADLINE: Duration = Duration::from_secs(20);
/// How long a host may take to end by itself after its input was closed (2 s); then it is killed.
pub const DEFAULT_SHUTDOWN_DEADLINE: Duration = Duration::from_secs(2);
/// How long a host may take to answer a call, beyond any yield time that the call asks for (60 s).
pub const DEFAULT_CALL_DEADLINE: Duration = Duration::from_secs(60);
/// How long a host may leave what is written to it wholly unread before it counts as hung (30 s). One
/// that reads slowly is left alone.
pub const DEFAULT_WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// Sessions open at one time in one provider.
pub const DEFAULT_MAX_SESSIONS: usize = 64;
/// Calls of one connection that are queued or not fully answered; further callers wait.
pub const DEFAULT_MAX_CALLS: usize = 1024;
/// Bytes of encoded frames of one connection that are not yet written; further callers wait.
///
/// Twice the frame cap, so that one frame of any legal size fits while another is being written.
pub const DEFAULT_MAX_OUTGOING_BYTES: usize = 128 * 1024 * 1024;
/// Tool calls and notifications of one connection that the delegates work on at one time; a
/// further one is answered with an error that names this bound.
pub const DEFAULT_MAX_DELEGATE_CALLS: usize = 4096;
/// Bytes of tool inputs and notification texts that the delegates work on at one time; a call that
/// would exceed it is answered with an error that names this bound.
pub const DEFAULT_MAX_DELEGATE_BYTES: usize = 256 * 1024 * 1024;

/// Which sessions share a host process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// All sessions of a provider run in one host: cheapest, and one crash loses them all.
    #[default]
    Shared,
    /// Each session has a host of its own: a crash loses one session.
    PerSession,
}

/// The environment that a host starts with. Empty unless something is added to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// Names of variables that are handed on from this process, where they are set.
    pub inherit: Vec<OsString>,
    /// Variables that are set, in addition and with precedence.
    pub set: BTreeMap<OsString, OsString>,
}

/// Bounds of one connection. Each is back-pressure or a clear error, never growth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// See [`DEFAULT_MAX_CALLS`], its default. At least 1.
    pub max_calls: usize,
    /// See [`DEFAULT_MAX_OUTGOING_BYTES`], its default. One frame is always let through.
    pub max_outgoing_bytes: usize,
    /// See [`DEFAULT_MAX_DELEGATE_CALLS`], its default.
    pub max_delegate_calls: usize,
    /// See [`DEFAULT_MAX_DELEGATE_BYTES`], its default.
    pub max_delegate_bytes: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_calls: DEFAULT_MAX_CALLS,
            max_outgoing_bytes: DEFAULT_MAX_OUTGOING_BYTES,
            max_delegate_calls: DEFAULT_MAX_DELEGATE_CALLS,
            max_delegate_bytes: DEFAULT_MAX_DELEGATE_BYTES,
        }
    }
}

/// The deadlines of a connection. Missing one fails the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// See [`DEFAULT_STARTUP_DEADLINE`], its default.
    pub startup: Duration,
    /// See [`DEFAULT_SHUTDOWN_DEADLINE`], its default.
    pub shutdown: Duration,
    /// See [`DEFAULT_CALL_DEADLINE`], its default.
    pub call: Duration,
    /// See [`DEFAULT_WRITE_DEADLINE`], its default.
    pub write: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            startup: DEFAULT_STARTUP_DEADLINE,
            shutdown: DEFAULT_SHUTDOWN_DEADLINE,
            call: DEFAULT_CALL_DEADLINE,
            write: DEFAULT_WRITE_DEADLINE,
        }
    }
}

/// How a [`ProcessSessionProvider`](crate::ProcessSessionProvider) runs its hosts.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// The program to start: a path, or a name that is looked up in this process's `PATH`. The
    /// host itself, or something that stands in front of it such as `ssh` or `docker`.
    pub program: PathBuf,
    /// Its arguments, for instance `["run", "-i", "image", "code_mode_host"]`.
    pub arguments: Vec<OsString>,
    /// Its environment. Defaults to an empty one.
    pub environment: Environment,
    /// Its working folder. `None`, the default, is this process's own.
    pub working_folder: Option<PathBuf>,
    /// Operating-system limits of the process. Defaults to no core files and nothing else.
    pub resource_limits: ResourceLimits,
    /// Which sessions share a process. Defaults to [`Isolation::Shared`].
    pub isolation: Isolation,
    /// Whether one more host is kept started and greeted, so that a session or a replacement need
    /// not wait for a start. Defaults to `false`.
    pub keep_spare: bool,
    /// Whether the client keeps a copy of each session's stored values and puts them back when the
    /// session gets a fresh host; the response that tells of the loss says so. The copy is renewed
    /// after each cell that has ended, which costs a request. Needs a host that can export and import
    /// stored values; has no effect with others. A session that is opened with
    /// [`SessionOptions::keep_store`](code_mode_api::SessionOptions::keep_store), as those of
    /// `code_mode_embed` are, has what that says. Defaults to `false`.
    pub keep_store: bool,
    /// Which globals a script has whose exec does not choose, with a host that can be asked for them.
    /// `None`, the default, leaves it to the host.
    pub preferred_globals: Option<Globals>,
    /// Sessions open at one time. Defaults to [`DEFAULT_MAX_SESSIONS`].
    pub max_sessions: usize,
    /// Deadlines of each connection.
    pub deadlines: Deadlines,
    /// Bounds of each connection.
    pub limits: ConnectionLimits,
}

impl ProviderConfig {
    /// Runs `program` with every default: no arguments, an empty environment, one shared host.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Environment::default(),
            working_folder: None,
            resource_limits: ResourceLimits::default(),
            isolation: Isolation::default(),
            keep_spare: false,
            keep_store: false,
            preferred_globals: None,
            max_sessions: DEFAULT_MAX_SESSIONS,
            deadlines: Deadlines::default(),
            limits: ConnectionLimits::default(),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Chooses which sessions share a process.
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Sets one variable of the host's environment.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.set.insert(name.into(), value.into());
        self
    }
}
