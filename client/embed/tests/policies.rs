// SPDX-License-Identifier: Apache-2.0
//! Policies, questions and cancellation, over a real host.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use code_mode_embed::{
    CallContext, Decision, Exec, ExecError, Globals, Policy, PolicyCall, Session, Tool, ToolSet,
};
use pretty_assertions::assert_eq;
use support::{echo, in_time, json, provider, session, texts};
use tokio::sync::mpsc;

const HANGS: &str = "await new Promise(() => {})";

/// A script that calls `echo` with 1 and puts out what comes of it.
const CALLS: &str = "try { text(await tools.echo(1)) } catch (error) { text(error.message) }";

async fn with_policy(policy: impl Policy) -> Session {
    let builder = Session::builder(provider()).tools(ToolSet::new().with(echo()));
    in_time(builder.policy(policy).open())
        .await
        .expect("a session")
}

/// What `CALLS` puts out under a policy that always says this.
async fn under(decision: Decision) -> String {
    let session = with_policy(move |_| std::future::ready(decision.clone())).await;
    in_time(session.exec(CALLS))
        .await
        .expect("an output")
        .text()
}

#[tokio::test]
async fn a_policy_allows_changes_and_denies() {
    assert_eq!(under(Decision::Allow).await, "1");
    assert_eq!(under(Decision::Change(json("[2]"))).await, "[2]");
    assert_eq!(under(Decision::deny("not today")).await, "not today");
}

#[tokio::test]
async fn a_policy_sees_session_cell_exec_call_tool_and_input() {
    let seen: Arc<Mutex<Vec<PolicyCall>>> = Arc::default();
    let sees = Arc::clone(&seen);
    let session = with_policy(move |call: PolicyCall| {
        sees.lock().unwrap().push(call);
        std::future::ready(Decision::Allow)
    })
    .await;
    let cell = session.start(Exec::new("await tools.echo({a: [1]})").call_id("call_7"));
    let cell = in_time(cell).await.unwrap();
    in_time(cell.wait()).await.unwrap();
    let calls = seen.lock().unwrap();
    let call = calls.first().expect("a call");
    assert_eq!(call.session_id, *session.id());
    assert_eq!(call.cell_id, *cell.id());
    assert_eq!(&*call.exec_call_id, "call_7");
    assert_eq!(&*call.call_id, "tool-1");
    assert_eq!(call.tool.name, "echo");
    assert_eq!(call.input.get(), "{\"a\":[1]}");
}

#[tokio::test]
async fn a_policy_that_panics_runs_no_tool() {
    let session = with_policy(|call: PolicyCall| async move {
        assert_ne!(call.tool.name, "echo", "the test says so");
        Decision::Allow
    })
    .await;
    assert_eq!(
        in_time(session.exec(CALLS)).await.unwrap().text(),
        "tool panicked"
    );
}

#[tokio::test]
async fn a_question_waits_for_somebodys_word() {
    let session = with_policy(|call: PolicyCall| async move {
        Decision::ask(format!("May it be {}?", call.input))
    })
    .await;
    let mut questions = session.questions();
    let asked = tokio::spawn(async move {
        let first = questions.next().await.expect("a question");
        assert_eq!(first.text, "May it be 1?");
        first.allow();
        questions
            .next()
            .await
            .expect("a question")
            .change(json("3"));
        questions
            .next()
            .await
            .expect("a question")
            .deny("the user says no");
        let dropped = questions.next().await.expect("a question");
        assert!(!dropped.is_moot());
        drop(dropped);
        // The last is taken, and answered when no other can be.
        let last = questions.next().await.expect("a question");
        drop(questions);
        last.allow();
    });
    let output = in_time(session.exec([CALLS; 5].join("\n"))).await.unwrap();
    assert_eq!(
        texts(&output),
        [
            "1",
            "3",
            "the user says no",
            "the call of echo was not permitted",
            "1"
        ]
    );
    in_time(asked).await.unwrap();
}

#[tokio::test]
async fn a_question_that_nobody_takes_is_denied() {
    let session = with_policy(|_| std::future::ready(Decision::ask("May it?"))).await;
    let nobody = "nobody is there to permit the call of echo";
    assert_eq!(in_time(session.exec(CALLS)).await.unwrap().text(), nobody);
    drop(session.questions());
    assert_eq!(in_time(session.exec(CALLS)).await.unwrap().text(), nobody);
    // Who takes questions again is asked again.
    let mut questions = session.questions();
    let taking = async { questions.next().await.expect("a question").allow() };
    let (output, ()) = in_time(async { tokio::join!(session.exec(CALLS), taking) }).await;
    assert_eq!(output.unwrap().text(), "1");
}

#[tokio::test]
async fn a_question_in_a_channel_that_everybody_has_left_is_denied() {
    let (asked, mut asks) = mpsc::channel(1);
    let session = with_policy(move |_| {
        let asked = asked.clone();
        async move {
            asked.send(()).await.expect("the test waits");
            Decision::ask("May it?")
        }
    })
    .await;
    let questions = session.questions();
    let leaving = async {
        asks.recv().await.expect("a call");
        drop(questions);
    };
    let (output, ()) = in_time(async { tokio::join!(session.exec(CALLS), leaving) }).await;
    assert_eq!(
        output.unwrap().text(),
        "nobody is there to permit the call of echo"
    );
}

#[tokio::test]
async fn a_question_whose_script_was_terminated_is_moot() {
    let session = with_policy(|_| std::future::ready(Decision::ask("May it?"))).await;
    let mut questions = session.questions();
    let cell = in_time(session.start(CALLS)).await.unwrap();
    let question = in_time(questions.next()).await.expect("a question");
    in_time(cell.terminate()).await.unwrap();
    in_time(async {
        while !question.is_moot() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A tool that says what happens to it, and answers never.
fn hanging(told: mpsc::UnboundedSender<&'static str>, cleans_up: bool) -> Tool {
    struct OnDrop(mpsc::UnboundedSender<&'static str>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            _ = self.0.send("dropped");
        }
    }
    Tool::with_context("hang", "Hangs.", move |(), context: CallContext| {
        let told = told.clone();
        async move {
            let _dropped = OnDrop(told.clone());
            _ = told.send("called");
            context.cancelled.cancelled().await;
            _ = told.send("cancelled");
            if cleans_up {
                tokio::task::yield_now().await;
                _ = told.send("cleaned up");
                return Err::<(), _>("cancelled");
            }
            std::future::pending().await
        }
    })
}

async fn history(mut told: mpsc::UnboundedReceiver<&'static str>) -> Vec<&'static str> {
    let mut history = Vec::new();
    while let Some(what) = in_time(told.recv()).await {
        history.push(what);
        if what == "dropped" {
            break;
        }
    }
    history
}

#[tokio::test]
async fn a_cancelled_tool_is_dropped_unless_it_has_a_grace() {
    let (told, heard) = mpsc::unbounded_channel();
    let session = session(ToolSet::new().with(hanging(told, true))).await;
    in_time(session.exec("tools.hang(); await new Promise(done => setTimeout(done, 50))"))
        .await
        .unwrap();
    let history = history(heard).await;
    assert_eq!(
        (history.first(), history.last()),
        (Some(&"called"), Some(&"dropped"))
    );
}

#[tokio::test]
async fn a_cancelled_tool_with_a_grace_cleans_up() {
    let (told, heard) = mpsc::unbounded_channel();
    let tool = hanging(told, true).cancel_grace(Duration::from_secs(30));
    let session = session(ToolSet::new().with(tool)).await;
    let cell = in_time(session.start(format!("tools.hang(); {HANGS}")))
        .await
        .unwrap();
    let mut events = cell.events();
    in_time(events.next()).await.expect("the call");
    in_time(cell.terminate()).await.unwrap();
    let history = history(heard).await;
    assert_eq!(history, ["called", "cancelled", "cleaned up", "dropped"]);
}

#[tokio::test]
async fn a_call_that_its_script_aborts_is_cancelled_while_the_script_runs_on() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let go = Arc::new(tokio::sync::Notify::new());
    let gone = Arc::clone(&go);
    let tools = ToolSet::new()
        .with(hanging(told, true).cancel_grace(Duration::from_secs(30)))
        .with(Tool::new("go", "Waits for the test.", move |()| {
            let gone = Arc::clone(&gone);
            async move {
                gone.notified().await;
                Ok::<_, String>(())
            }
        }));
    let session = Session::builder(provider())
        .tools(tools)
        .globals(Globals::Web);
    let session = in_time(session.open()).await.unwrap();
    let source = "const stop = new AbortController();
        const call = tools.hang(null, { signal: stop.signal });
        await tools.go();
        stop.abort('enough');
        try { await call; } catch (reason) { text(reason); }
        await tools.go();
        text('ran on');";
    let cell = in_time(session.start(source)).await.unwrap();
    assert_eq!(in_time(heard.recv()).await, Some("called"));
    go.notify_one();
    let history = history(heard).await;
    assert_eq!(history, ["cancelled", "cleaned up", "dropped"]);
    assert!(!cell.has_ended());
    go.notify_one();
    let output = in_time(cell.wait()).await.unwrap();
    assert_eq!(texts(&output), ["enough", "ran on"]);
}

#[tokio::test]
async fn a_tool_that_does_not_end_in_its_grace_is_dropped() {
    let (told, heard) = mpsc::unbounded_channel();
    let tool = hanging(told, false).cancel_grace(Duration::from_millis(20));
    let session = session(ToolSet::new().with(tool)).await;
    let cell = in_time(session.start(format!("tools.hang(); {HANGS}")))
        .await
        .unwrap();
    let mut events = cell.events();
    in_time(events.next()).await.expect("the call");
    let end = in_time(cell.terminate()).await;
    assert!(!matches!(end, Err(ExecError::HostLost(_))), "{end:?}");
    assert_eq!(history(heard).await, ["called", "cancelled", "dropped"]);
}
