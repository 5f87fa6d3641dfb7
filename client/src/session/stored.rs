// SPDX-License-Identifier: Apache-2.0
//! The stored values of a session: in its host, in the copy, or on their way from one host to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use code_mode_api::{RawJson, SessionError, SideEffects};

use super::{Bound, Shared, stayed_behind};
use crate::error::CallError;
use crate::opening::PutBack;
use crate::store_copy::StoreCopy;

impl Shared {
    /// The values in the host, or those that the session takes along; those of the copy when there is no host
    /// to ask.
    pub(super) async fn export_store(
        self: &Arc<Self>,
    ) -> Result<BTreeMap<String, RawJson>, SessionError> {
        match self.values().await {
            Err(error @ (SessionError::RuntimeLost { .. } | SessionError::StartFailed { .. })) => {
                let state = self.lock();
                state.copy.as_ref().map(StoreCopy::values).ok_or(error)
            }
            values => values,
        }
    }

    /// The values in the host, or those that the session takes along.
    async fn values(self: &Arc<Self>) -> Result<BTreeMap<String, RawJson>, SessionError> {
        let (bound, as_of, values) = loop {
            if let Some(values) = self.carried() {
                return Ok(values);
            }
            let Some(bound) = self.bound_if_used().await? else {
                return Ok(BTreeMap::new());
            };
            let as_of = self.lock().copy.as_ref().map(StoreCopy::now);
            let values = bound.connection.export_store(&bound.wire_id).await;
            // A session that has moved meanwhile has taken its values along.
            if values.is_ok() || !self.lock().losses.was_left(bound.generation) {
                break (bound, as_of, values);
            }
        };
        let values = values.map_err(|error| self.error(error, None, SideEffects::None))?;
        let state = &mut *self.lock();
        if let (Some(copy), Some(as_of)) = (&mut state.copy, as_of)
            && state.generation == bound.generation
        {
            copy.see(as_of, values.clone());
        }
        Ok(values)
    }

    /// Stores values in the host.
    pub(super) async fn import_store(
        self: &Arc<Self>,
        values: BTreeMap<String, RawJson>,
    ) -> Result<(), SessionError> {
        loop {
            let bound = self.bind().await?;
            self.note_use(&bound);
            let stored = bound
                .connection
                .import_store(&bound.wire_id, values.clone());
            let stored = stored.await;
            {
                let mut state = self.lock();
                if state.losses.was_left(bound.generation) {
                    // The session has moved meanwhile, perhaps without these values.
                    continue;
                }
                if state.generation == bound.generation
                    && let (Some(copy), Ok(())) = (&mut state.copy, &stored)
                {
                    copy.add(values);
                }
            }
            if stored.is_ok() {
                self.renew_copy(bound.generation);
            }
            return stored.map_err(|error| self.error(error, None, SideEffects::None));
        }
    }

    /// What the session takes along, while it has no host and looks for none.
    pub(super) fn carried(&self) -> Option<BTreeMap<String, RawJson>> {
        let state = self.lock();
        let is_between = state.bound.is_none() && state.binding.is_none();
        state.carried.clone().filter(|_| is_between)
    }

    /// Gives a fresh host the values that the session takes along, or those of the copy, if there are any. An
    /// error is the end of the host.
    pub(super) async fn put_back(&self, bound: &Bound) -> Result<PutBack, CallError> {
        let (values, put_back) = {
            let state = self.lock();
            match (&state.carried, &state.copy) {
                (Some(values), _) => {
                    let any = !values.is_empty();
                    (values.clone(), PutBack::Carried { any })
                }
                (None, Some(copy)) => (copy.values(), PutBack::Copy(copy.restored())),
                (None, None) => return Ok(PutBack::Nothing),
            }
        };
        if values.is_empty() {
            return Ok(put_back);
        }
        match bound.connection.import_store(&bound.wire_id, values).await {
            Ok(()) => Ok(put_back),
            Err(error @ CallError::Lost { .. }) => Err(error),
            Err(error) => {
                // A host of another build may lack the capability, or bound its stores closer.
                tracing::warn!(session = %self.id, %error, "stored values could not be put back");
                let mut state = self.lock();
                if state.carried.take().is_some() {
                    let left = Bound {
                        generation: state.generation,
                        ..bound.clone()
                    };
                    state.losses.add(stayed_behind(&left, &error), true);
                }
                Ok(PutBack::Nothing)
            }
        }
    }

    /// Has the copy of the stored values made anew, in a task that nobody waits for.
    pub(super) fn renew_copy(self: &Arc<Self>, generation: u64) {
        let (bound, mut asked) = {
            let state = &mut *self.lock();
            let (Some(copy), Some(bound)) = (&mut state.copy, &state.bound) else {
                return;
            };
            if bound.generation != generation {
                return;
            }
            let Some(asked) = copy.note_change() else {
                return;
            };
            (bound.clone(), asked)
        };
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let values = bound.connection.export_store(&bound.wire_id).await;
                if let Err(error) = &values {
                    tracing::debug!(session = %shared.id, %error, "the copy of the store is old");
                }
                let state = &mut *shared.lock();
                // A copy of a lost generation is as old as what the present one began with.
                let values = values.ok().filter(|_| state.generation == generation);
                let copy = state.copy.as_mut();
                let Some(next) = copy.and_then(|copy| copy.take(asked, values)) else {
                    return;
                };
                asked = next;
            }
        });
    }
}
