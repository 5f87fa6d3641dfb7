// SPDX-License-Identifier: Apache-2.0
//! What stands between the runtime's threads and panics of the embedder's code.

use std::panic::{AssertUnwindSafe, catch_unwind};

use code_mode_engine::panic_message;

/// Runs code of the embedder. A panic of it is told with its message, and `None` is given.
pub(crate) fn shielded<T>(run: impl FnOnce() -> T, tell: impl FnOnce(String)) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => Some(value),
        Err(panic) => {
            tell(panic_message(&*panic));
            None
        }
    }
}
