// SPDX-License-Identifier: Apache-2.0
//! What the tests over a real host share.

#![allow(
    dead_code,
    reason = "every test binary compiles this module and uses part of it"
)]

use std::sync::Arc;
use std::time::Duration;

use code_mode_client::{ProcessSessionProvider, ProviderConfig};
use code_mode_embed::{Output, RawJson, Session, Tool, ToolSet};
pub use code_mode_testsuite::host_program;
use serde_json::value::RawValue;

/// Guards against a hang; a test that passes takes a small part of it.
pub const GUARD: Duration = Duration::from_secs(60);

/// A provider over the real host.
pub fn provider() -> Arc<ProcessSessionProvider> {
    Arc::new(ProcessSessionProvider::new(ProviderConfig::new(
        host_program(),
    )))
}

/// A session with these tools.
pub async fn session(tools: ToolSet) -> Session {
    in_time(Session::open(provider(), tools))
        .await
        .expect("a session")
}

/// The value of a future that must not hang.
pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, future)
        .await
        .expect("nothing here may hang")
}

/// A tool that gives its input back.
pub fn echo() -> Tool {
    Tool::new(
        "echo",
        "Gives its input back.",
        |input: serde_json::Value| async move { Ok::<_, String>(input) },
    )
}

/// JSON text.
pub fn json(text: &str) -> RawJson {
    RawValue::from_string(text.to_owned()).expect("JSON")
}

/// The texts of an output.
pub fn texts(output: &Output) -> Vec<&str> {
    output.texts().collect()
}

/// Kills the host of a provider as `kill -9` does, and waits until the provider has another: a script that
/// is sent before may be sent to the dead one.
pub async fn kill_host(provider: &ProcessSessionProvider) {
    let host = in_time(provider.probe()).await.expect("a host");
    let pid = host.process_id.and_then(|pid| i32::try_from(pid).ok());
    let pid = pid
        .and_then(rustix::process::Pid::from_raw)
        .expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("the host lives");
    let replaced = async {
        let another = async || provider.probe().await.expect("another host").process_id;
        while another().await == host.process_id {
            tokio::task::yield_now().await;
        }
    };
    in_time(replaced).await;
}
