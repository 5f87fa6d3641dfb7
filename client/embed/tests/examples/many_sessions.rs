// SPDX-License-Identifier: Apache-2.0
//! Many sessions: one provider, one host, a session for each user; what they store stays apart.

use std::sync::Arc;

use code_mode_embed::{ExecError, Output, Session, SessionProvider, ToolSet};
use tokio::task::JoinSet;

/// Runs a script for each of so many users, all at once, and gives what each of them got.
pub async fn run(
    provider: Arc<dyn SessionProvider>,
    users: usize,
) -> Result<Vec<Output>, ExecError> {
    let mut running = JoinSet::new();
    for user in 0..users {
        let provider = Arc::clone(&provider);
        running.spawn(async move {
            let session = Session::open(provider, ToolSet::new()).await;
            let session = session.expect("there is room for them");
            session.exec(format!("store('user', {user})")).await?;
            let output = session.exec("text(load('user'))").await?;
            session.shutdown().await?;
            Ok((user, output))
        });
    }
    let outputs: Result<Vec<_>, ExecError> = running.join_all().await.into_iter().collect();
    let mut outputs = outputs?;
    outputs.sort_by_key(|(user, _)| *user);
    Ok(outputs.into_iter().map(|(_, output)| output).collect())
}

#[tokio::test]
async fn it_runs() {
    use crate::support::{in_time, provider};

    let outputs = in_time(run(provider(), 20)).await.unwrap();
    for (user, output) in outputs.iter().enumerate() {
        assert_eq!(output.text(), user.to_string());
    }
    assert_eq!(outputs.len(), 20);
}
