// SPDX-License-Identifier: Apache-2.0
//! The one place that makes a provider of sessions: over a host program, or over a host at an address.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use code_mode_client::{HostInfo, HostSearch, ProcessSessionProvider, ProviderConfig};
use code_mode_client_grpc::{Address, AddressConfig, AddressSessionProvider};
use code_mode_embed::{Globals, SessionError, SessionProvider};

use crate::context::Context;
use crate::host_args::HostArgs;
use crate::paths::resolve;
use crate::set_up_error::SetUpError;
use crate::settings::{Settings, Sourced};

/// The globals of scripts where nobody says otherwise, and the host can be asked for them.
pub const PREFERRED_GLOBALS: Globals = Globals::Web;

/// A host to use.
#[derive(Debug)]
pub enum Host {
    /// A program, which is started.
    Program(PathBuf),
    /// One that somebody else runs, and how it is reached.
    Address(Box<AddressConfig>),
}

/// A provider over either kind of host, which is started or connected to on first use.
pub enum Provider {
    /// Over a program.
    Program(Arc<ProcessSessionProvider>),
    /// Over an address.
    Address(Arc<AddressSessionProvider>),
}

impl Provider {
    /// A provider over `host`.
    pub fn over(host: Host) -> Self {
        match host {
            Host::Program(path) => {
                let mut config = ProviderConfig::new(path);
                config.preferred_globals = Some(PREFERRED_GLOBALS);
                Self::Program(Arc::new(ProcessSessionProvider::new(config)))
            }
            Host::Address(config) => Self::Address(Arc::new(AddressSessionProvider::new(*config))),
        }
    }

    /// Starts the host or connects to it, and says what is known of it.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn probe(&self) -> Result<HostInfo, SessionError> {
        match self {
            Self::Program(provider) => provider.probe().await,
            Self::Address(provider) => provider.probe().await,
        }
    }

    /// The provider of sessions.
    pub fn sessions(&self) -> Arc<dyn SessionProvider> {
        match self {
            Self::Program(provider) => provider.clone(),
            Self::Address(provider) => provider.clone(),
        }
    }
}

/// A provider of sessions where the user said, or else where hosts usually are; nothing is started yet.
///
/// # Errors
/// As those of [`find_host`].
pub fn provider(
    args: &HostArgs,
    context: &Context,
) -> Result<Arc<dyn SessionProvider>, SetUpError> {
    Ok(Provider::over(find_host(args, context)?).sessions())
}

/// Finds the host program, or takes the address that was named in its place.
///
/// # Errors
/// When there is no program, with the places looked at; when an address is none; and when it is said how
/// to reach something that is not reached so.
pub fn find_host(args: &HostArgs, context: &Context) -> Result<Host, SetUpError> {
    let folder = &context.folder;
    let search = HostSearch::of_this_process(args.host.clone(), folder.clone());
    choose(search, args, &context.settings, folder)
}

fn choose(
    mut search: HostSearch,
    args: &HostArgs,
    settings: &Settings,
    folder: &Path,
) -> Result<Host, SetUpError> {
    if let Some(Sourced { value, file }) = settings.host.clone() {
        search.configured = Some((value, file.display().to_string()));
    }
    let named = search.named();
    let address = named.as_deref().and_then(Path::to_str);
    let Some(address) = address.filter(|named| Address::is_meant_by(named)) else {
        let path = search.find().map_err(SetUpError::new)?;
        return match option_of_addresses(args) {
            None => Ok(Host::Program(path)),
            Some(option) => Err(SetUpError::new(format!(
                "{option} is for hosts at addresses, and the host is the program {}",
                path.display()
            ))),
        };
    };
    // What the configuration says of its own host must not reach another one: its token least of all.
    let is_configured = search.option.is_none() && search.variable.is_none();
    let configured = |setting: &Option<Sourced<PathBuf>>| {
        let setting = setting.as_ref().filter(|_| is_configured);
        setting.map(|setting| setting.value.clone())
    };
    let file = |option: &Option<PathBuf>, setting| {
        let option = option.as_ref().map(|path| resolve(folder, path));
        option.or_else(|| configured(setting))
    };
    let mut address: Address = address.parse().map_err(SetUpError::new)?;
    if let Address::Unix { path } = &mut address {
        let beside = settings.host.as_ref().filter(|_| is_configured);
        let beside = beside.and_then(|host| host.file.parent());
        *path = resolve(beside.unwrap_or(folder), path);
    }
    let mut config = AddressConfig::new(address);
    config.preferred_globals = Some(PREFERRED_GLOBALS);
    config.token_file = file(&args.host_token_file, &settings.host_token_file);
    config.ca_file = file(&args.host_ca_file, &settings.host_ca_file);
    if config.ca_file.is_some() && !matches!(config.address, Address::Https { .. }) {
        return Err(SetUpError::new(format!(
            "a file of certificates is for hosts at https://, and the host is at {}",
            config.address
        )));
    }
    Ok(Host::Address(Box::new(config)))
}

/// An option that was given and means nothing to a program.
fn option_of_addresses(args: &HostArgs) -> Option<&'static str> {
    if args.host_token_file.is_some() {
        return Some("--host-token-file");
    }
    args.host_ca_file.as_ref().map(|_| "--host-ca-file")
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
