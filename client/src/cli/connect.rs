//! The one place that makes a provider of sessions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::find_host::HostSearch;
use super::session::SetUpError;
use crate::{ProcessSessionProvider, ProviderConfig};

/// Finds the host program; `option` is `--host`.
///
/// # Errors
/// When there is none, with the places looked at.
pub fn find_host(option: Option<PathBuf>, folder: &Path) -> Result<PathBuf, SetUpError> {
    HostSearch::of_this_process(option, folder.to_path_buf())
        .find()
        .map_err(SetUpError::new)
}

/// A provider over the host program; `option` is `--host`. The host is started on first use.
///
/// # Errors
/// When there is no host program.
pub fn provider(
    option: Option<PathBuf>,
    folder: &Path,
) -> Result<Arc<ProcessSessionProvider>, SetUpError> {
    let host = find_host(option, folder)?;
    Ok(Arc::new(ProcessSessionProvider::new(ProviderConfig::new(
        host,
    ))))
}
