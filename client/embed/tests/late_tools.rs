// SPDX-License-Identifier: Apache-2.0
//! Tools that are only known when a script starts, over a real host.

mod support;

use std::sync::{Arc, Mutex};

use code_mode_embed::{
    BoxFuture, CancellationSignal, Decision, Exec, Notification, PolicyCall, RawJson, Session,
    SessionDelegate, ToolDefinition, ToolError, ToolInvocation, ToolKind, ToolName, ToolSet,
};
use pretty_assertions::assert_eq;
use support::{echo, in_time, json, provider};

/// Answers every call with the tool's name, and writes notifications down.
#[derive(Default)]
struct Everything {
    heard: Mutex<Vec<String>>,
}

impl SessionDelegate for Everything {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        let ToolName { name, namespace } = invocation.tool_name;
        let namespace = namespace.unwrap_or_default();
        let answer = format!(
            "\"{namespace}/{name} {} of {}\"",
            invocation.input, invocation.exec_call_id
        );
        Box::pin(async move { Ok(json(&answer)) })
    }

    fn notify(
        &self,
        notification: Notification,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        self.heard.lock().unwrap().push(notification.text);
        Box::pin(async { Ok(()) })
    }
}

fn offered(namespace: Option<&str>, name: &str) -> ToolDefinition {
    ToolDefinition {
        name: name.to_owned(),
        tool_name: ToolName {
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
        },
        description: String::new(),
        kind: ToolKind::Function,
        input_schema: None,
        output_schema: None,
    }
}

#[tokio::test]
async fn tools_of_one_script_are_answered_by_the_delegate_and_decided_about_by_the_policy() {
    let everything = Arc::new(Everything::default());
    let policy = |call: PolicyCall| async move {
        match call.tool.tool_name.name.as_str() {
            "drop" => Decision::deny(format!("{} is not for scripts", call.tool.name)),
            _ => Decision::Allow,
        }
    };
    let session = Session::builder(provider())
        .tools(ToolSet::new().with(echo()))
        .policy(policy)
        .delegate(everything.clone());
    let session = in_time(session.open()).await.unwrap();
    let tools = [
        offered(None, "echo"),
        offered(Some("db"), "rows"),
        offered(Some("db"), "drop"),
    ];
    let script = "notify('begun'); text(await tools.echo(1)); text(await tools.rows(2));
        try { await tools.drop(3) } catch (error) { text(error.message) }";
    let exec = Exec::new(script).call_id("call_7").tools(tools.into());
    let output = in_time(session.exec(exec)).await.unwrap();
    assert_eq!(
        output.text(),
        "1\ndb/rows 2 of call_7\ndb__drop is not for scripts"
    );
    assert_eq!(*everything.heard.lock().unwrap(), ["begun"]);
    // The next script has the session's own tools again.
    let output = in_time(session.exec("text(typeof tools.rows)")).await;
    assert_eq!(output.unwrap().text(), "undefined");
}
