// SPDX-License-Identifier: Apache-2.0
//! The tools of the benchmark: `park` waits until it is released, any other gives its input back.

use std::sync::Arc;

use code_mode_api::{
    BoxFuture, CancellationSignal, Notification, RawJson, SessionDelegate, ToolError,
    ToolInvocation,
};
use tokio::sync::{mpsc, oneshot};

/// The name of the tool whose calls stay open.
pub(crate) const PARK: &str = "park";

/// The calls of `park` as they arrive.
pub struct ParkedCalls(mpsc::UnboundedReceiver<ParkedCall>);

/// A call of `park` that stays open until this is dropped.
pub(crate) struct ParkedCall {
    _release: oneshot::Sender<()>,
}

impl ParkedCalls {
    /// The next call; `None` when the delegate is gone.
    pub(crate) async fn next(&mut self) -> Option<ParkedCall> {
        self.0.recv().await
    }
}

/// Makes a delegate for one session, and the end at which its calls of `park` arrive.
pub fn delegate() -> (Arc<dyn SessionDelegate>, ParkedCalls) {
    let (arrivals, calls) = mpsc::unbounded_channel();
    (Arc::new(Delegate { arrivals }), ParkedCalls(calls))
}

struct Delegate {
    arrivals: mpsc::UnboundedSender<ParkedCall>,
}

impl SessionDelegate for Delegate {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        _: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        if invocation.tool_name.name != PARK {
            return Box::pin(async { Ok(invocation.input) });
        }
        let (release, released) = oneshot::channel();
        // The round may have ended; then the call is dropped here and so released at once.
        drop(self.arrivals.send(ParkedCall { _release: release }));
        Box::pin(async move {
            // Nothing is ever sent: an error is what a dropped `ParkedCall` gives.
            drop(released.await);
            Ok(invocation.input)
        })
    }

    fn notify(
        &self,
        _: Notification,
        _: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        Box::pin(async { Ok(()) })
    }
}
