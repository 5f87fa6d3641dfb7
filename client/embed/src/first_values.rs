// SPDX-License-Identifier: Apache-2.0
//! The values that a session is opened with, until they are in its store.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use code_mode_api::{CodeModeSession, RawJson, SessionError};
use tokio::sync::OnceCell;

/// Values that are to be stored before the first script runs.
///
/// They are stored when they are first needed and not when the session is opened, since that starts no host.
pub(crate) struct FirstValues {
    /// Whole until they are stored, and empty from then on.
    values: Mutex<BTreeMap<String, RawJson>>,
    stored: OnceCell<()>,
}

impl FirstValues {
    pub(crate) fn new(values: BTreeMap<String, RawJson>) -> Self {
        Self {
            stored: OnceCell::new_with(values.is_empty().then_some(())),
            values: Mutex::new(values),
        }
    }

    /// The values, while they are not in the session's store.
    pub(crate) fn waiting(&self) -> Option<BTreeMap<String, RawJson>> {
        let values = self.lock();
        (!self.stored.initialized()).then(|| values.clone())
    }

    /// Sees to it that the values are in the store of `session`.
    ///
    /// # Errors
    /// When its host cannot be had or does not take them. They are tried again the next time.
    pub(crate) async fn store(&self, session: &dyn CodeModeSession) -> Result<(), SessionError> {
        if !self.stored.initialized() {
            let import = || session.import_store(self.lock().clone());
            self.stored.get_or_try_init(import).await?;
            self.lock().clear();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, RawJson>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
