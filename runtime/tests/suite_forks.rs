// SPDX-License-Identifier: Apache-2.0
//! The behaviour that every provider shows, run against the runtime with cells in processes
//! of their own.

mod support;

use std::sync::Arc;

use code_mode_api::{BoxFuture, SessionProvider};
use code_mode_runtime::RuntimeConfig;

const FORKED: bool = true;

fn provider() -> BoxFuture<'static, Arc<dyn SessionProvider>> {
    Box::pin(async {
        Arc::new(support::runtime(RuntimeConfig::default(), None)) as Arc<dyn SessionProvider>
    })
}

code_mode_testsuite::suite!(provider);
code_mode_testsuite::suite_of_exact_integers!(provider);
