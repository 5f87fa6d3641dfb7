// SPDX-License-Identifier: Apache-2.0
//! A policy: reading is free, writing is asked about, everything else is refused.

use code_mode_embed::{Decision, PolicyCall, Question, Session, SessionProvider, Tool, ToolSet};
use std::sync::Arc;

fn tools() -> ToolSet {
    let read = Tool::freeform("read", "Reads a file.", |path, _| async move {
        Ok::<_, String>(format!("the text of {path}"))
    });
    let write = Tool::freeform("write", "Writes a file.", |path, _| async move {
        Ok::<_, String>(format!("{path} is written"))
    });
    let remove = Tool::freeform("remove", "Removes a file.", |path, _| async move {
        Ok::<_, String>(format!("{path} is removed"))
    });
    ToolSet::from_iter([read, write, remove])
}

async fn decide(call: PolicyCall) -> Decision {
    match call.tool.tool_name.name.as_str() {
        "read" => Decision::Allow,
        "write" => Decision::ask(format!("May the script write {}?", call.input)),
        other => Decision::deny(format!("{other} is not for scripts")),
    }
}

/// The user at the keyboard, who trusts one folder.
fn answer(question: Question) {
    if question.call.input.get().starts_with("\"notes/") {
        question.allow();
    } else {
        question.deny("the user says no");
    }
}

pub async fn run(provider: Arc<dyn SessionProvider>, source: &str) -> String {
    let session = Session::builder(provider).tools(tools()).policy(decide);
    let session = session.open().await.expect("a session");
    let mut questions = session.questions();
    tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            answer(question);
        }
    });
    session.exec(source).await.expect("an output").text()
}

#[tokio::test]
async fn it_runs() {
    use crate::support::{in_time, provider};

    let source = "const calls = [
            () => tools.read('a'), () => tools.write('notes/b'),
            () => tools.write('/etc/c'), () => tools.remove('a'),
        ];
        for (const call of calls)
            try { text(await call()) } catch (error) { text(error.message) }";
    assert_eq!(
        in_time(run(provider(), source)).await,
        "the text of a\nnotes/b is written\nthe user says no\nremove is not for scripts"
    );
}
