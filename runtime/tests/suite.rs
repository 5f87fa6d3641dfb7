//! The behaviour that every provider shows, run against the runtime in this process.

use std::sync::Arc;

use code_mode_api::{BoxFuture, SessionProvider};
use code_mode_runtime::{Runtime, RuntimeConfig};

fn in_process() -> BoxFuture<'static, Arc<dyn SessionProvider>> {
    Box::pin(async {
        let handle = tokio::runtime::Handle::current();
        let runtime = Runtime::new(RuntimeConfig::default(), handle, None);
        Arc::new(runtime.expect("the runtime starts")) as Arc<dyn SessionProvider>
    })
}

code_mode_testsuite::suite!(in_process);
