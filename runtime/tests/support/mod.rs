//! What the runtime's own tests share.

use std::sync::Arc;

use code_mode_runtime::{Runtime, RuntimeConfig, Supervisor};

/// A runtime of this configuration.
pub fn runtime(config: RuntimeConfig, supervisor: Option<Arc<dyn Supervisor>>) -> Runtime {
    let handle = tokio::runtime::Handle::current();
    Runtime::new(config, handle, supervisor).expect("the runtime starts")
}
