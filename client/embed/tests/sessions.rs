// SPDX-License-Identifier: Apache-2.0
//! Sessions, cells and their errors, over a real host.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use code_mode_embed::{
    CellEvent, CellLimits, Exec, ExecError, HostExit, OpenError, Position, Progress, Session,
    SessionError, SideEffects, Tool, ToolSet, ToolSetError,
};
use pretty_assertions::assert_eq;
use support::{echo, in_time, json, kill_host, provider, session, texts};

const LONG: Duration = Duration::from_secs(50);
const HANGS: &str = "await new Promise(() => {})";

/// Events in few words.
fn told(event: &CellEvent) -> String {
    match event {
        CellEvent::Output(item) => match &**item {
            code_mode_embed::ContentItem::Text(text) => format!("text {text}"),
            other => format!("{other:?}"),
        },
        CellEvent::Yielded => "yielded".to_owned(),
        CellEvent::Notification(text) => format!("notification {text}"),
        CellEvent::ToolCall { call_id, input, .. } => format!("{call_id} called with {input}"),
        CellEvent::ToolResult {
            call_id, result, ..
        } => match result {
            Ok(value) => format!("{call_id} gave {value}"),
            Err(error) => format!("{call_id} failed: {error}"),
        },
        CellEvent::Ended(Ok(_)) => "ended".to_owned(),
        CellEvent::Ended(Err(ExecError::Script(error))) => format!("failed: {}", error.message),
        other => format!("{other:?}"),
    }
}

async fn all_events(mut cell: code_mode_embed::Cell) -> Vec<String> {
    let mut events = Vec::new();
    while let Some(event) = in_time(cell.next()).await {
        events.push(told(&event));
    }
    events
}

#[tokio::test]
async fn a_script_runs_to_its_end_and_gives_its_output() {
    let session = session(ToolSet::new().with(echo())).await;
    let output = in_time(session.exec("text('a'); text(await tools.echo({b: 1}))")).await;
    assert_eq!(output.unwrap().text(), "a\n{\"b\":1}");
    assert!(session.cells().is_empty());
    in_time(session.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_stream_tells_all_that_happens_in_its_order() {
    let session = session(ToolSet::new().with(echo())).await;
    let source = "text('before'); await tools.echo('x'); text('after'); notify('note')";
    let cell = in_time(session.start(source)).await.unwrap();
    let mut second = cell.events();
    assert_eq!(
        all_events(cell).await,
        [
            "text before",
            "tool-1 called with \"x\"",
            "tool-1 gave \"x\"",
            "text after",
            "notification note",
            "ended"
        ]
    );
    let mut last = None;
    while let Some(event) = in_time(second.next()).await {
        last = Some(told(&event));
    }
    assert_eq!(last.as_deref(), Some("ended"));
}

#[tokio::test]
async fn a_script_that_yields_says_so() {
    let session = session(ToolSet::new()).await;
    let source = "await new Promise(resolve => setTimeout(resolve, 1)); text('so far');
        yield_control(); await new Promise(() => {})";
    // Nobody asks for the output meanwhile, so that only the script can have yielded.
    let exec = Exec::new(source).first_look(LONG);
    let mut cell = in_time(session.start(exec)).await.unwrap();
    loop {
        match in_time(cell.next()).await.expect("it runs on") {
            CellEvent::Yielded => break,
            event => assert_eq!(told(&event), "text so far"),
        }
    }
    let output = in_time(cell.terminate()).await.unwrap();
    assert_eq!(output.text(), "so far");
}

#[tokio::test]
async fn a_failed_script_is_an_error_with_its_place_and_its_output() {
    let session = session(ToolSet::new()).await;
    let error = in_time(session.exec("text('kept');\nconsole.log(1)"))
        .await
        .unwrap_err();
    assert_eq!(error.side_effects(), SideEffects::Possible);
    assert_eq!(texts(error.output().unwrap()), ["kept"]);
    let ExecError::Script(failure) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(failure.name.as_deref(), Some("ReferenceError"));
    assert_eq!(failure.message, "console is not defined");
    assert_eq!(failure.position, Some(Position { line: 2, column: 1 }));
    assert!(
        failure.hint.as_ref().unwrap().contains("text("),
        "{failure:?}"
    );
    let source = std::error::Error::source(&error).expect("the script's own error");
    assert!(source.is::<code_mode_embed::ScriptError>() || source.to_string().contains("console"));
}

#[tokio::test]
async fn a_limit_of_the_session_or_the_exec_ends_a_script() {
    let limits = |timers| CellLimits {
        timers: Some(timers),
        ..CellLimits::default()
    };
    let session = Session::builder(provider()).limits(limits(1));
    let session = in_time(session.open()).await.unwrap();
    let source = "for (let i = 0; i < 2; i++) setTimeout(() => {}, 1); text('both')";
    let error = in_time(session.exec(source)).await.unwrap_err();
    let ExecError::Script(failure) = error else {
        panic!("{error:?}");
    };
    assert_eq!(failure.name.as_deref(), Some("LimitError"));
    let output = in_time(session.exec(Exec::new(source).limits(limits(2)))).await;
    assert_eq!(output.unwrap().text(), "both");
}

#[tokio::test]
async fn a_script_ends_when_its_cell_is_dropped() {
    let session = session(ToolSet::new()).await;
    let cell = in_time(session.start(HANGS)).await.unwrap();
    let mut events = cell.events();
    drop(cell);
    let end = in_time(events.next()).await.expect("its end");
    assert!(
        matches!(end, CellEvent::Ended(Err(ExecError::Terminated { .. }))),
        "{end:?}"
    );
    assert!(session.cells().is_empty());
}

#[tokio::test]
async fn a_script_ends_when_the_future_of_its_exec_is_dropped() {
    let (told, mut heard) = tokio::sync::mpsc::channel(1);
    let runs = Tool::new("runs", "Says that the script runs.", move |()| {
        let told = told.clone();
        async move { told.send(()).await }
    });
    let session = session(ToolSet::new().with(runs)).await;
    let mut exec = Box::pin(session.exec(format!("await tools.runs(); {HANGS}")));
    in_time(async {
        tokio::select! {
            ended = &mut exec => panic!("{ended:?}"),
            runs = heard.recv() => assert_eq!(runs, Some(())),
        }
    })
    .await;
    let cell = session.cells().pop().expect("the script");
    drop(exec);
    let end = in_time(cell.wait()).await;
    assert!(matches!(end, Err(ExecError::Terminated { .. })), "{end:?}");
    assert!(session.cells().is_empty());
}

#[tokio::test]
async fn a_detached_script_runs_on_and_is_found_until_its_result_was_had() {
    let session = session(ToolSet::new()).await;
    let source = "text(1); await new Promise(resolve => setTimeout(resolve, 30)); text(2)";
    let id = in_time(session.start(source))
        .await
        .unwrap()
        .detach()
        .id()
        .clone();
    let cell = in_time(session.cell(&id)).await.unwrap();
    assert_eq!(in_time(cell.wait()).await.unwrap().text(), "1\n2");
    let error = in_time(session.cell(&id)).await.unwrap_err();
    assert!(
        matches!(error, ExecError::Session(SessionError::CellFinished { .. })),
        "{error:?}"
    );
    let unknown = code_mode_embed::CellId::new("99");
    let error = in_time(session.cell(&unknown)).await.unwrap_err();
    assert!(
        matches!(error, ExecError::Session(SessionError::MissingCell { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_observer_gets_what_came_since_its_last_look() {
    let (open, opened) = tokio::sync::watch::channel(false);
    let gate = Tool::new("gate", "Waits.", move |()| {
        let mut opened = opened.clone();
        async move { opened.wait_for(|open| *open).await.map(|open| *open) }
    });
    let session = session(ToolSet::new().with(gate)).await;
    let source = "text('first'); await tools.gate(); text('second')";
    let cell = in_time(session.start_detached(source)).await.unwrap();
    let first = loop {
        match in_time(cell.observe(Duration::from_millis(1))).await {
            Progress::Running(output) if output.is_empty() => {}
            Progress::Running(output) => break output,
            progress => panic!("{progress:?}"),
        }
    };
    assert_eq!(first.text(), "first");
    open.send_replace(true);
    let progress = in_time(cell.observe(LONG)).await;
    let Progress::Ended { output, result, .. } = progress else {
        panic!("{progress:?}");
    };
    assert_eq!(output.text(), "second");
    assert_eq!(result, Ok(()));
    assert!(session.cells().is_empty());
}

#[tokio::test]
async fn an_observer_is_told_at_once_when_the_script_yields() {
    let session = session(ToolSet::new()).await;
    let source = format!("text('now'); yield_control(); {HANGS}");
    let exec = Exec::new(source).first_look(LONG);
    let cell = in_time(session.start_detached(exec)).await.unwrap();
    let progress = tokio::time::timeout(LONG / 2, cell.observe(LONG)).await;
    let Ok(Progress::Running(output)) = progress else {
        panic!("{progress:?}");
    };
    assert_eq!(output.text(), "now");
}

#[tokio::test]
async fn a_script_that_takes_too_long_is_terminated_with_what_it_had() {
    let session = session(ToolSet::new()).await;
    let mut cell = in_time(session.start(format!("text('a'); {HANGS}")))
        .await
        .unwrap();
    assert_eq!(told(&in_time(cell.next()).await.unwrap()), "text a");
    let after = Duration::from_millis(50);
    let error = in_time(cell.finish_within(after)).await.unwrap_err();
    assert_eq!(texts(error.output().unwrap()), ["a"]);
    assert!(matches!(error, ExecError::TimedOut { after: told, .. } if told == after));
    let quick = in_time(session.start("text('b')")).await.unwrap();
    assert_eq!(
        in_time(quick.finish_within(LONG)).await.unwrap().text(),
        "b"
    );
}

#[tokio::test]
async fn scripts_end_with_the_last_handle_of_their_session() {
    let session = session(ToolSet::new()).await;
    let cell = in_time(session.start_detached(HANGS)).await.unwrap();
    let clone = session.clone();
    drop(session);
    assert_eq!(clone.cells().len(), 1);
    drop(clone);
    let end = in_time(cell.wait()).await;
    assert!(matches!(end, Err(ExecError::Terminated { .. })), "{end:?}");
}

#[tokio::test]
async fn a_lost_host_is_an_error_that_says_whether_the_script_may_have_acted() {
    let provider = provider();
    let session = Session::open(provider.clone(), ToolSet::new())
        .await
        .unwrap();
    let cell = in_time(session.start(format!("text('a'); {HANGS}")))
        .await
        .unwrap();
    let mut events = cell.events();
    while told(&in_time(events.next()).await.unwrap()) != "text a" {}
    kill_host(&provider).await;
    let error = in_time(cell.wait()).await.unwrap_err();
    let ExecError::HostLost(lost) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(lost.side_effects, SideEffects::Possible);
    assert_eq!(texts(&lost.output), ["a"]);
    assert_eq!(lost.exit, Some(HostExit::Signal(9)));
    assert!(lost.cause.contains("signal 9"), "{}", lost.cause);
    let source = std::error::Error::source(&**lost).expect("a source");
    assert!(source.is::<SessionError>());
}

#[tokio::test]
async fn stored_values_are_there_again_after_a_host_was_lost() {
    let provider = provider();
    let first = BTreeMap::from([("given".to_owned(), json("1"))]);
    let session = Session::builder(provider.clone()).store(first);
    let session = in_time(session.open()).await.unwrap();
    in_time(session.exec("store('kept', load('given') + 1)"))
        .await
        .unwrap();
    // The values are copied beside; this makes sure of it.
    assert_eq!(in_time(session.stored_values()).await.unwrap().len(), 2);
    kill_host(&provider).await;
    let mut cell = in_time(session.start("text(load('given') + load('kept'))"))
        .await
        .unwrap();
    let mut restored = None;
    let output = loop {
        match in_time(cell.next()).await.expect("its end") {
            CellEvent::StateLost { restored: was, .. } => restored = Some(was),
            CellEvent::Ended(result) => break result.unwrap(),
            _ => {}
        }
    };
    assert_eq!(output.text(), "3");
    assert_eq!(restored, Some(true));
}

#[tokio::test]
async fn a_session_without_a_copy_loses_its_values_with_the_host() {
    let provider = provider();
    let session = Session::builder(provider.clone()).without_store_copy();
    let session = in_time(session.open()).await.unwrap();
    in_time(session.exec("store('k', 1)")).await.unwrap();
    let cell = in_time(session.start(HANGS)).await.unwrap();
    kill_host(&provider).await;
    in_time(cell.wait()).await.unwrap_err();
    let output = in_time(session.exec("text(String(load('k')))"))
        .await
        .unwrap();
    assert_eq!(output.text(), "undefined");
}

#[tokio::test]
async fn values_of_a_script_that_was_lost_are_those_of_the_last_copy() {
    let provider = provider();
    let session = Session::open(provider.clone(), ToolSet::new())
        .await
        .unwrap();
    in_time(session.exec("store('k', 'old')")).await.unwrap();
    in_time(session.stored_values()).await.unwrap();
    let cell = in_time(session.start(format!("store('k', 'new'); text(1); {HANGS}"))).await;
    let cell = cell.unwrap();
    kill_host(&provider).await;
    assert!(matches!(
        in_time(cell.wait()).await,
        Err(ExecError::HostLost(_))
    ));
    let values = in_time(session.stored_values()).await.unwrap();
    assert_eq!(values["k"].get(), "\"old\"");
    let output = in_time(session.exec("text(load('k'))")).await.unwrap();
    assert_eq!(output.text(), "old");
}

#[tokio::test]
async fn tools_can_be_exchanged_between_scripts() {
    let session = session(ToolSet::new().with(echo())).await;
    session
        .set_tools(&ToolSet::new().with(echo()).in_namespace("new"))
        .unwrap();
    let output = in_time(session.exec("text(ALL_TOOLS.map(tool => tool.name))")).await;
    assert_eq!(output.unwrap().text(), "[\"new__echo\"]");
    let twice = ToolSet::new().with(echo()).with(echo());
    assert!(session.set_tools(&twice).is_err());
    assert_eq!(session.tools().len(), 1);
}

#[tokio::test]
async fn tools_that_cannot_be_told_apart_open_no_session() {
    let twice = ToolSet::new().with(echo()).with(echo());
    let error = Session::open(provider(), twice).await.unwrap_err();
    assert!(
        matches!(error, OpenError::Tools(ToolSetError::DuplicateName { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_tool_that_panics_fails_its_call_and_nothing_else() {
    let run = |input: Option<u32>| async move {
        Ok::<_, String>(input.expect("the test gives no input"))
    };
    let bad = Tool::new("bad", "", run);
    let worse = Tool::new("worse", "", run).cancel_grace(Duration::from_secs(1));
    let session = session(ToolSet::from_iter([bad, worse])).await;
    let source = "for (const name of ['bad', 'worse'])
        try { await tools[name]() } catch (error) { text(error.message) }";
    let output = in_time(session.exec(source)).await.unwrap();
    assert_eq!(texts(&output), ["tool panicked", "tool panicked"]);
}

#[tokio::test]
async fn cells_are_listed_with_what_started_them() {
    let session = session(ToolSet::new()).await;
    let one = in_time(session.start(Exec::new(HANGS).call_id("one")))
        .await
        .unwrap();
    let two = in_time(session.start(HANGS)).await.unwrap();
    let cells = session.cells();
    let ids: Vec<_> = cells.iter().map(|cell| cell.exec_call_id()).collect();
    assert_eq!(ids, ["one", "exec-2"]);
    assert!(!cells[0].has_ended());
    in_time(one.terminate()).await.unwrap();
    in_time(two.terminate()).await.unwrap();
    assert!(session.cells().is_empty());
    let _: Arc<[_]> = session.tools();
}

#[tokio::test]
async fn a_stream_that_must_miss_nothing_holds_its_script_back() {
    const PIECES: usize = 6_000;
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = {
        let calls = Arc::clone(&calls);
        Tool::new("count", "Counts its calls.", move |number: usize| {
            calls.store(number, std::sync::atomic::Ordering::Relaxed);
            async move { Ok::<_, String>(number) }
        })
    };
    let session = session(ToolSet::new().with(count)).await;
    let source = format!(
        "for (let i = 1; i <= {PIECES}; i++) {{
            text(`${{i}} ${{'x'.repeat(200)}}`);
            if (i % 2 === 0) await tools.count(i);
        }}"
    );
    let mut cell = in_time(session.start(Exec::new(source).lossless()))
        .await
        .unwrap();
    let mut others = cell.events();
    // The first does not read until its queue is full.
    for _ in 0..code_mode_embed::MAX_WAITING_EVENTS {
        in_time(others.next()).await.expect("the script runs on");
    }
    assert!(calls.load(std::sync::atomic::Ordering::Relaxed) < PIECES);
    let mut number = 0;
    while let Some(event) = in_time(cell.next()).await {
        match &event {
            CellEvent::Output(item) => {
                number += 1;
                let code_mode_embed::ContentItem::Text(text) = &**item else {
                    panic!("{item:?}");
                };
                assert_eq!(text.split(' ').next(), Some(number.to_string().as_str()));
            }
            CellEvent::Missed { events } => panic!("{events} are missing"),
            CellEvent::Ended(result) => assert!(result.is_ok(), "{result:?}"),
            _ => {}
        }
    }
    assert_eq!(number, PIECES);
}

#[tokio::test]
async fn a_cell_that_is_asked_to_stop_tells_its_last_output_and_its_end() {
    let session = session(ToolSet::new()).await;
    let source = format!("text('last'); yield_control(); {HANGS}");
    let mut cell = in_time(session.start(source)).await.unwrap();
    while !matches!(in_time(cell.next()).await, Some(CellEvent::Output(_))) {}
    cell.stop();
    let mut last = None;
    while let Some(event) = in_time(cell.next()).await {
        last = Some(event);
    }
    assert!(
        matches!(&last, Some(CellEvent::Ended(Err(ExecError::Terminated { output })))
            if texts(output) == ["last"]),
        "{last:?}"
    );
}

#[tokio::test]
async fn the_first_values_are_told_before_a_script_has_run() {
    let values = BTreeMap::from([("n".to_owned(), json("1"))]);
    let session = Session::builder(provider())
        .store(values)
        .without_store_copy();
    let session = in_time(session.open()).await.unwrap();
    let stored = in_time(session.stored_values()).await.unwrap();
    assert_eq!(stored["n"].get(), "1");
}

#[tokio::test]
async fn no_script_runs_before_the_first_values_are_stored() {
    let large = json(&format!("\"{}\"", "x".repeat(2 << 20)));
    let values = BTreeMap::from([("large".to_owned(), large)]);
    let session = in_time(Session::builder(provider()).store(values).open()).await;
    let session = session.unwrap();
    for _ in 0..2 {
        let refused = in_time(session.exec("text('ran')")).await.unwrap_err();
        assert!(
            matches!(refused, ExecError::Session(SessionError::Limit { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_session_chooses_the_globals_and_an_exec_may_choose_others() {
    let session = Session::builder(provider()).globals(code_mode_embed::Globals::Web);
    let session = in_time(session.open()).await.unwrap();
    let source = "text(typeof URL)";
    let output = in_time(session.exec(source)).await;
    assert_eq!(output.unwrap().text(), "function");
    let contract = Exec::new(source).globals(code_mode_embed::Globals::Contract);
    let output = in_time(session.exec(contract)).await;
    assert_eq!(output.unwrap().text(), "undefined");
}
