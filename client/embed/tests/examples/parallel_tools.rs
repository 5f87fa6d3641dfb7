// SPDX-License-Identifier: Apache-2.0
//! Tools that run side by side: a script starts many calls, and each meets the others.

use std::sync::Arc;

use code_mode_embed::{Tool, ToolSet};
use tokio::sync::Barrier;

/// A tool that only answers when so many of its calls are open at the same time.
pub fn tools(together: usize) -> ToolSet {
    let barrier = Arc::new(Barrier::new(together));
    ToolSet::new().with(Tool::new(
        "meet",
        "Waits for the others.",
        move |name: String| {
            let barrier = Arc::clone(&barrier);
            async move {
                barrier.wait().await;
                Ok::<_, String>(format!("{name} has met the others"))
            }
        },
    ))
}

#[tokio::test]
async fn it_runs() {
    use crate::support::{in_time, session, texts};

    let session = session(tools(3)).await;
    let source = "const met = ['a', 'b', 'c'].map(name => tools.meet(name));
        for (const words of await Promise.all(met)) text(words)";
    let output = in_time(session.exec(source)).await.unwrap();
    assert_eq!(
        texts(&output),
        [
            "a has met the others",
            "b has met the others",
            "c has met the others"
        ]
    );
}
