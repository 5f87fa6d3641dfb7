// SPDX-License-Identifier: Apache-2.0
//! What the runtime's own tests share.

use std::sync::Arc;

use code_mode_runtime::{
    Cells, Confinement, Forked, Jit, Program, Runtime, RuntimeConfig, Starter, Supervisor,
};

/// A runtime of this configuration, whose cells run where the test wants them. With processes of their
/// own they live as long as the calling thread.
pub fn runtime(mut config: RuntimeConfig, supervisor: Option<Arc<dyn Supervisor>>) -> Runtime {
    if crate::FORKED {
        config.cells = forked(Confinement::BestEffort);
    }
    let handle = tokio::runtime::Handle::current();
    Runtime::new(config, handle, supervisor).expect("the runtime starts")
}

/// Cells in processes of their own.
pub fn forked(confinement: Confinement) -> Cells {
    let program = Program::At(env!("CARGO_BIN_EXE_zygote").into());
    let starter = Starter::start(&program).expect("a starter starts");
    Cells::Forks(Forked {
        starter: Arc::new(starter),
        confinement,
        jit: Jit::On,
    })
}
