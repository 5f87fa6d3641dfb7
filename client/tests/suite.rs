// SPDX-License-Identifier: Apache-2.0
//! The suite that every provider of sessions must pass, over a real host process.

mod support;

use std::sync::Arc;

use code_mode_api::{BoxFuture, SessionProvider};

fn make() -> BoxFuture<'static, Arc<dyn SessionProvider>> {
    Box::pin(async { Arc::new(support::provider()) as Arc<dyn SessionProvider> })
}

code_mode_testsuite::suite!(make);
code_mode_testsuite::suite_of_exact_integers!(make);
code_mode_testsuite::suite_of_cut_output!(make);
