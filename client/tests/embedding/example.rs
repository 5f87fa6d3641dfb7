//! Starts a host process, runs a script that calls a tool, and prints what it gave.

use std::path::Path;
use std::sync::Arc;

use code_mode_api::{
    BoxFuture, CancellationSignal, CellStatus, ContentItem, ExecuteRequest, Notification, RawJson,
    SessionDelegate, SessionOptions, SessionProvider, ToolDefinition, ToolError, ToolInvocation,
    ToolKind, ToolName,
};
use code_mode_client::{ProcessSessionProvider, ProviderConfig};

/// What scripts may call, and where their notifications go.
struct Tools;

impl SessionDelegate for Tools {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        Box::pin(async move {
            // The invocation names the session, the cell, the call and the exec call that it
            // belongs to: enough for a policy to decide about every single call.
            match invocation.tool_name.name.as_str() {
                "echo" => Ok(invocation.input),
                other => Err(ToolError::new(format!("there is no tool {other}"))),
            }
        })
    }

    fn notify(
        &self,
        _notification: Notification,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Runs one script on the host program `host`.
pub async fn run(host: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let provider = ProcessSessionProvider::new(ProviderConfig::new(host));
    let session = provider
        .open_session(SessionOptions::default(), Arc::new(Tools))
        .await?;

    let echo = ToolDefinition {
        name: "echo".to_owned(),
        tool_name: ToolName {
            name: "echo".to_owned(),
            namespace: None,
        },
        description: "Gives its input back.".to_owned(),
        kind: ToolKind::Function,
        input_schema: None,
        output_schema: None,
    };
    let request = ExecuteRequest {
        exec_call_id: "call-1".to_owned(),
        tools: Arc::from([echo]),
        ..ExecuteRequest::new("text(await tools.echo('hello'))")
    };
    let started = session.execute(request).await?;
    let response = started.first_response.await?;
    assert_eq!(response.status, CellStatus::Completed { error_text: None });
    assert_eq!(
        response.content_items,
        [ContentItem::Text("hello".to_owned())]
    );

    session.shutdown().await?;
    // Waits until the host has ended and was reaped. Dropping the provider ends it as well.
    provider.shutdown().await;
    Ok(())
}
