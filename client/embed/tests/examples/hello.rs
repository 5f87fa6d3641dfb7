// SPDX-License-Identifier: Apache-2.0
//! Hello: one tool, one script.

use std::{error::Error, path::Path, sync::Arc};

use code_mode_client::{ProcessSessionProvider, ProviderConfig};
use code_mode_embed::{Session, Tool, ToolSet};

pub async fn hello(host: &Path) -> Result<String, Box<dyn Error>> {
    let provider = Arc::new(ProcessSessionProvider::new(ProviderConfig::new(host)));
    let greet = Tool::new("greet", "Greets somebody.", |name: String| async move {
        Ok::<_, String>(format!("Hello, {name}!"))
    });
    let session = Session::open(provider, ToolSet::new().with(greet)).await?;
    let output = session.exec("text(await tools.greet('world'))").await?;
    Ok(output.text())
}

#[tokio::test]
async fn it_runs() {
    let output = crate::support::in_time(hello(&crate::support::host_program())).await;
    assert_eq!(output.unwrap(), "Hello, world!");
}
