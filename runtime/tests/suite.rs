// SPDX-License-Identifier: Apache-2.0
//! The behaviour that every provider shows, run against the runtime with cells on threads.

mod support;

use std::sync::Arc;

use code_mode_api::{BoxFuture, SessionError, SessionOptions, SessionProvider};
use code_mode_runtime::RuntimeConfig;
use code_mode_testsuite::NoTools;

const FORKED: bool = false;

fn provider() -> BoxFuture<'static, Arc<dyn SessionProvider>> {
    Box::pin(async {
        Arc::new(support::runtime(RuntimeConfig::default(), None)) as Arc<dyn SessionProvider>
    })
}

code_mode_testsuite::suite!(provider);

/// Whoever asks for what it cannot have is told, and does not find out later.
#[tokio::test]
async fn a_runtime_in_process_opens_no_session_whose_output_is_to_be_cut() {
    let options = SessionOptions {
        cuts_output: true,
        ..SessionOptions::default()
    };
    let provider = provider().await;
    let opened = provider.open_session(options, Arc::new(NoTools)).await;
    let error = opened.map(drop).expect_err("it cuts nothing");
    assert!(
        matches!(error, SessionError::InvalidRequest { .. }),
        "{error}"
    );
}
code_mode_testsuite::suite_of_exact_integers!(provider);
