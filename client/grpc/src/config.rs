// SPDX-License-Identifier: Apache-2.0
//! How hosts at addresses are reached.

use std::path::PathBuf;
use std::time::Duration;

use code_mode_api::Globals;
use code_mode_client::{
    ConnectionLimits, DEFAULT_MAX_SESSIONS, Deadlines, Isolation, ProviderConfig,
};

use crate::Address;

/// How long a connection may take to be made, TLS included (10 s).
pub const DEFAULT_CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// How long a connection may be silent before the client asks whether the host is there (10 s).
pub const DEFAULT_PING_INTERVAL: Duration = Duration::from_secs(10);

/// How long the answer to that may take before the connection counts as lost (5 s).
pub const DEFAULT_PING_DEADLINE: Duration = Duration::from_secs(5);

/// How an [`AddressSessionProvider`](crate::AddressSessionProvider) reaches its host.
#[derive(Debug, Clone)]
pub struct AddressConfig {
    /// Where the host is.
    pub address: Address,
    /// A file with the bearer token that each request shows, on one line. Read anew for each connection;
    /// the sessions of a connection belong to the token that it was made with. Defaults to none.
    pub token_file: Option<PathBuf>,
    /// Whether the token may go to another machine over `http`, where everybody on the way can read it.
    /// Only for a network that encrypts by itself. Defaults to `false`: then no connection is made.
    pub allow_plain_token: bool,
    /// A file with the certificates, in PEM, that may vouch for an `https` host, in the place of those that
    /// the machine trusts. Defaults to none.
    pub ca_file: Option<PathBuf>,
    /// See [`DEFAULT_CONNECT_DEADLINE`], its default.
    pub connect_deadline: Duration,
    /// See [`DEFAULT_PING_INTERVAL`], its default.
    pub ping_interval: Duration,
    /// See [`DEFAULT_PING_DEADLINE`], its default.
    pub ping_deadline: Duration,
    /// Which sessions share a connection. Defaults to [`Isolation::Shared`].
    pub isolation: Isolation,
    /// Whether the client keeps a copy of each session's stored values and puts them back after the
    /// connection was lost; see [`ProviderConfig::keep_store`]. Defaults to `true`.
    pub keep_store: bool,
    /// As for a host program: which globals a script has whose exec does not choose, with a host that can be
    /// asked for them. `None`, the default, leaves it to the host.
    pub preferred_globals: Option<Globals>,
    /// Sessions open at one time. Defaults to [`DEFAULT_MAX_SESSIONS`].
    pub max_sessions: usize,
    /// How long the host may take for anything. `startup` bounds all that it takes to have a connection,
    /// and `call` each call beyond the yield time that it asks for.
    pub deadlines: Deadlines,
    /// Bounds of each connection.
    pub limits: ConnectionLimits,
}

impl AddressConfig {
    /// Reaches the host at `address` with every default: no token, the machine's certificates.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            token_file: None,
            allow_plain_token: false,
            ca_file: None,
            connect_deadline: DEFAULT_CONNECT_DEADLINE,
            ping_interval: DEFAULT_PING_INTERVAL,
            ping_deadline: DEFAULT_PING_DEADLINE,
            isolation: Isolation::default(),
            keep_store: true,
            preferred_globals: None,
            max_sessions: DEFAULT_MAX_SESSIONS,
            deadlines: Deadlines::default(),
            limits: ConnectionLimits::default(),
        }
    }

    /// The part that holds for every kind of host.
    pub(crate) fn provider(&self) -> ProviderConfig {
        let mut config = ProviderConfig::new(self.address.to_string());
        config.isolation = self.isolation;
        config.keep_store = self.keep_store;
        config.preferred_globals = self.preferred_globals;
        config.max_sessions = self.max_sessions;
        config.deadlines = self.deadlines;
        config.limits = self.limits;
        config
    }
}
