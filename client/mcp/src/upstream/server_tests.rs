// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use pretty_assertions::assert_eq;
use rmcp::model::{
    ErrorData, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServiceExt};

use super::*;
use crate::config::{Secrets, TransportSpec};

/// A server whose program is this script of the shell.
fn server(script: &str) -> Arc<Server> {
    let spec = ServerSpec {
        name: "s".to_owned(),
        transport: Ok(TransportSpec::Command {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: BTreeMap::new(),
            folder: None,
        }),
        start_timeout: Duration::from_secs(5),
        call_timeout: Duration::from_secs(5),
        include_tools: None,
        exclude_tools: Vec::new(),
        secrets: Secrets::default(),
    };
    Server::new(spec, watch::Sender::new(0), CancellationToken::new())
}

#[test]
fn pauses_grow_to_their_bound_and_start_anew_after_a_stable_life() {
    let mut pauses = Pauses::default();
    let grown: Vec<f64> = (0..9)
        .map(|_| pauses.after(Duration::ZERO).as_secs_f64())
        .collect();
    assert_eq!(grown, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
    let almost = STABLE_AFTER - Duration::from_millis(1);
    assert_eq!(pauses.after(almost), MAX_PAUSE);
    assert_eq!(pauses.after(STABLE_AFTER), FIRST_PAUSE);
    assert_eq!(pauses.after(Duration::ZERO), 2 * FIRST_PAUSE);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_start_is_tried_again_and_called_no_sooner() {
    let server = server("exit 1");
    let mut grown = Pauses::default();
    let mut waited = Duration::ZERO;
    let long = loop {
        let pause = grown.after(Duration::ZERO);
        if pause > MAX_WAITED_PAUSE {
            break pause;
        }
        waited += pause;
    };
    let begun = Instant::now();
    // The call waits through the short pauses and fails at the first long one.
    let error = server.ready().await.err().unwrap().message;
    assert!(
        error.starts_with("the MCP server s is not available: "),
        "{error}"
    );
    let told = format!("(tried again in {} s)", long.as_secs());
    assert!(error.ends_with(&told), "{error}");
    assert!(begun.elapsed() >= waited, "{:?}", begun.elapsed());
    let mut state = server.state.subscribe();
    let mut pauses = Vec::new();
    while pauses.len() < 2 {
        if let Status::Pausing { until, .. } = &state.borrow_and_update().status {
            pauses.push(until.duration_since(Instant::now()));
        }
        state.changed().await.unwrap();
    }
    assert_eq!(pauses, [long, 2 * long]);
}

#[tokio::test]
async fn errors_and_warnings_of_a_server_are_told_within_bounds() {
    let server = server("exit 1");
    let told = server.told(&"ä".repeat(MAX_ERROR_BYTES)).message;
    assert_eq!(told.len(), MAX_ERROR_BYTES + '…'.len_utf8());
    let mut list = list::ToolList::default();
    let odd = (0..=MAX_WARNINGS).map(|number| format!("odd {number}"));
    list.warnings.extend(odd);
    server.set_tools(list);
    assert_eq!(server.snapshot().warnings.len(), MAX_WARNINGS);
}

#[test]
fn progress_prolongs_a_call_up_to_its_bound() {
    let options = times(Duration::from_secs(5));
    assert_eq!(options.timeout, Some(Duration::from_secs(5)));
    assert!(options.reset_timeout_on_progress);
    assert_eq!(options.max_total_timeout, Some(MAX_CALL_TIME));
    let longer = MAX_CALL_TIME * 2;
    assert_eq!(times(longer).max_total_timeout, Some(longer));
}

/// A server whose list of tools is as long as this number.
#[derive(Clone)]
struct Growing(Arc<std::sync::atomic::AtomicUsize>);

impl rmcp::ServerHandler for Growing {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = (0..self.0.load(Ordering::SeqCst))
            .map(|number| Tool::new(format!("t{number}"), "", Arc::new(JsonObject::new())));
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_changes_is_asked_for_again_once_it_has_settled() {
    let growing = Growing(Arc::default());
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (served, client) = tokio::join!(
        growing.clone().serve(theirs),
        connect::Ears::default().serve(ours)
    );
    let (_served, client) = (served.unwrap(), client.unwrap());
    let server = server("exit 1");
    let begun = Instant::now();
    let (listed, ()) = tokio::join!(server.list_again(client.peer()), async {
        // The last change comes just in time.
        let last = SETTLE - Duration::from_millis(1);
        tokio::time::timeout(last, std::future::pending::<()>())
            .await
            .unwrap_err();
        growing.0.store(3, Ordering::SeqCst);
    });
    assert_eq!(listed.unwrap().tools.len(), 3);
    assert_eq!(begun.elapsed().as_millis(), SETTLE.as_millis());
}
