// SPDX-License-Identifier: Apache-2.0
//! Restoring state: what scripts have stored is saved with the conversation, and is there again in
//! another session, on another day.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use code_mode_embed::{RawJson, Session, SessionProvider};

/// The stored values of a session as JSON text, to be kept with its conversation.
pub async fn save(session: &Session) -> Result<String, Box<dyn Error>> {
    Ok(serde_json::to_string(&session.stored_values().await?)?)
}

/// A session that goes on where the saved one was.
pub async fn resume(
    provider: Arc<dyn SessionProvider>,
    saved: &str,
) -> Result<Session, Box<dyn Error>> {
    let values: BTreeMap<String, RawJson> = serde_json::from_str(saved)?;
    Ok(Session::builder(provider).store(values).open().await?)
}

#[tokio::test]
async fn it_runs() {
    use crate::support::{in_time, provider, session};

    let first = session(code_mode_embed::ToolSet::new()).await;
    in_time(first.exec("store('seen', ['a', 'b'])"))
        .await
        .unwrap();
    let saved = in_time(save(&first)).await.unwrap();
    assert_eq!(saved, r#"{"seen":["a","b"]}"#);
    drop(first);
    let second = in_time(resume(provider(), &saved)).await.unwrap();
    let output = in_time(second.exec("text(load('seen').length)"))
        .await
        .unwrap();
    assert_eq!(output.text(), "2");
}
