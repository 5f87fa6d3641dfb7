// SPDX-License-Identifier: Apache-2.0
//! The embedder's delegate, as this crate holds it.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Arc;
use std::thread;

use code_mode_api::SessionDelegate;

/// A delegate of the embedder. Cheap to clone.
///
/// The last one of its clones does not drop the embedder's value where it happens to be, which may be
/// within a task of tokio: a delegate that owns a runtime, for example, would panic there, and take the
/// driver with it. A thread of its own drops it then.
#[derive(Clone)]
pub(crate) struct Delegate(Arc<Held>);

struct Held(ManuallyDrop<Arc<dyn SessionDelegate>>);

impl Delegate {
    /// Holds a delegate.
    pub(crate) fn new(delegate: Arc<dyn SessionDelegate>) -> Self {
        Self(Arc::new(Held(ManuallyDrop::new(delegate))))
    }
}

impl Deref for Delegate {
    type Target = dyn SessionDelegate;

    fn deref(&self) -> &Self::Target {
        &**self.0.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: this is the only place that takes the value, it runs once, and nothing can use the
        // field after it.
        let delegate = unsafe { ManuallyDrop::take(&mut self.0) };
        if tokio::runtime::Handle::try_current().is_err() {
            return drop(delegate);
        }
        let dropping = thread::Builder::new()
            .name("code-mode-drop".to_owned())
            .spawn(move || drop(delegate));
        if let Err(error) = dropping {
            // The delegate went with the closure, right here, which is all that is left to do.
            tracing::warn!(%error, "failed to start a thread that drops a delegate");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use code_mode_api::{
        BoxFuture, CancellationSignal, Notification, RawJson, ToolError, ToolInvocation,
    };

    use super::*;

    /// A delegate that runs its tools on a runtime of its own, and says when it is gone.
    struct OwnsARuntime {
        _runtime: tokio::runtime::Runtime,
        _gone: mpsc::Sender<()>,
    }

    impl SessionDelegate for OwnsARuntime {
        fn invoke_tool(
            &self,
            _: ToolInvocation,
            _: CancellationSignal,
        ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
            Box::pin(async { Err(ToolError::new("no tool")) })
        }

        fn notify(
            &self,
            _: Notification,
            _: CancellationSignal,
        ) -> BoxFuture<'static, Result<(), ToolError>> {
            Box::pin(async { Ok(()) })
        }
    }

    #[tokio::test]
    async fn a_delegate_that_owns_a_runtime_is_dropped_outside_of_every_task() {
        let (sender, gone) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let delegate = Delegate::new(Arc::new(OwnsARuntime {
            _runtime: runtime,
            _gone: sender,
        }));
        let last = delegate.clone();
        drop(delegate);
        let task = tokio::spawn(async move { drop(last) });
        task.await.expect("no panic");
        let guard = Duration::from_secs(30);
        assert_eq!(
            gone.recv_timeout(guard),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
    }
}
