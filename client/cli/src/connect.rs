// SPDX-License-Identifier: Apache-2.0
//! The one place that makes a provider of sessions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use code_mode_client::{HostSearch, ProcessSessionProvider, ProviderConfig};
use code_mode_embed::SessionProvider;

use crate::address::is_address;
use crate::set_up_error::SetUpError;
use crate::settings::Sourced;

/// What the user said about the host.
#[derive(Debug, Clone, Default)]
pub struct HostChoice {
    /// `--host`.
    pub option: Option<PathBuf>,
    /// `host` of the user's configuration.
    pub configured: Option<Sourced<PathBuf>>,
}

/// A provider of sessions where the user said, or else where hosts usually are; nothing is started yet.
///
/// # Errors
/// As those of [`find_host`].
pub fn provider(
    choice: &HostChoice,
    folder: &Path,
) -> Result<Arc<dyn SessionProvider>, SetUpError> {
    Ok(process_provider(find_host(choice, folder)?))
}

/// Finds the host program.
///
/// # Errors
/// When there is none, with the places looked at, or when an address is given.
pub fn find_host(choice: &HostChoice, folder: &Path) -> Result<PathBuf, SetUpError> {
    let mut search = HostSearch::of_this_process(choice.option.clone(), folder.to_path_buf());
    if let Some(Sourced { value, file }) = choice.configured.clone() {
        search.configured = Some((value, file.display().to_string()));
    }
    if let Some(address) = search.named().filter(|named| is_address(named)) {
        return Err(SetUpError::new(format!(
            "the host {} is an address, and hosts at addresses cannot be used yet; give the path \
             of a host program",
            address.display()
        )));
    }
    search.find().map_err(SetUpError::new)
}

/// A provider over the host program at `host`, which is started on first use.
pub fn process_provider(host: PathBuf) -> Arc<ProcessSessionProvider> {
    Arc::new(ProcessSessionProvider::new(ProviderConfig::new(host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_refused_in_clear_words() {
        let choice = HostChoice {
            option: Some("grpc://localhost:7000".into()),
            configured: None,
        };
        let error = find_host(&choice, Path::new("/")).unwrap_err();
        assert!(
            error.message.contains("cannot be used yet"),
            "{}",
            error.message
        );
    }
}
