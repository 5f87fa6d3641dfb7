// SPDX-License-Identifier: Apache-2.0
//! The library for agents, over a host at an address.

mod support;

use std::sync::Arc;

use code_mode_client_grpc::AddressSessionProvider;
use code_mode_embed::{Session, Tool, ToolSet};
use support::{Host, in_time};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_needs_no_other_line_than_its_provider() {
    let host = Host::start();
    let provider = Arc::new(AddressSessionProvider::new(host.config()));
    let greet = Tool::new("greet", "Greets somebody.", |name: String| async move {
        Ok::<_, String>(format!("Hello, {name}!"))
    });
    let opened = Session::open(provider, ToolSet::new().with(greet));
    let session = in_time(opened).await.expect("a session");
    let output = in_time(session.exec("text(await tools.greet('world'))")).await;
    assert_eq!(output.expect("it runs").text(), "Hello, world!");
}
