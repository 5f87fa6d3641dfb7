//! Runs one script in process and answers its tool call.

use std::sync::Arc;

use code_mode_api::{
    BoxFuture, CancellationSignal, ContentItem, ExecuteRequest, Notification, RawJson,
    SessionDelegate, SessionOptions, SessionProvider, ToolDefinition, ToolError, ToolInvocation,
    ToolKind, ToolName,
};
use code_mode_runtime::{Runtime, RuntimeConfig};

/// Answers every tool call with the call's own input.
struct Echo;

impl SessionDelegate for Echo {
    fn invoke_tool(
        &self,
        call: ToolInvocation,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        Box::pin(async move { Ok(call.input) })
    }

    fn notify(
        &self,
        _notification: Notification,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Opens a session, runs a script that calls a tool, and looks at what it printed.
pub async fn embed(handle: tokio::runtime::Handle) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Runtime::new(RuntimeConfig::default(), handle, None)?;
    let session = runtime
        .open_session(SessionOptions::default(), Arc::new(Echo))
        .await?;
    let mut request = ExecuteRequest::new("text(await tools.echo({ answer: 42 }))");
    request.tools = Arc::from([ToolDefinition {
        name: "echo".to_owned(),
        tool_name: ToolName {
            name: "echo".to_owned(),
            namespace: None,
        },
        description: "gives back what it gets".to_owned(),
        kind: ToolKind::Function,
        input_schema: None,
        output_schema: None,
    }]);
    let cell = session.execute(request).await?;
    let response = cell.first_response.await?;
    assert_eq!(
        response.content_items,
        [ContentItem::Text(r#"{"answer":42}"#.to_owned())]
    );
    session.shutdown().await?;
    Ok(())
}
