// SPDX-License-Identifier: Apache-2.0
//! The delegate of tests that are not about tools.

use code_mode_api::{
    BoxFuture, CancellationSignal, Notification, RawJson, SessionDelegate, ToolError,
    ToolInvocation,
};

/// A delegate whose every tool fails; notifications are taken and dropped.
pub struct NoTools;

impl SessionDelegate for NoTools {
    fn invoke_tool(
        &self,
        _invocation: ToolInvocation,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        Box::pin(async { Err(ToolError::new("there are no tools here")) })
    }

    fn notify(
        &self,
        _notification: Notification,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        Box::pin(async { Ok(()) })
    }
}
