// SPDX-License-Identifier: Apache-2.0
//! Every limit of a cell is reached here; see `code_mode_runtime::limits`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{CellLimits, CellResponse, CellStatus, LimitName, SessionError};
use code_mode_runtime::{AdmittedCell, RuntimeConfig, limits};
use code_mode_testsuite::{Call, Fixture, json, tool, within};
use pretty_assertions::assert_eq;

use crate::support::runtime;

/// A session in a runtime of this configuration.
pub(crate) async fn fixture(config: RuntimeConfig) -> Fixture {
    Fixture::on(Arc::new(runtime(config, None))).await
}

/// Runs a script with these limits, and gives its error text and its texts.
pub(crate) async fn run_limited(
    fixture: &Fixture,
    source: &str,
    lower: impl FnOnce(&mut CellLimits),
) -> (String, Vec<String>) {
    let mut request = Fixture::request(source);
    lower(&mut request.limits);
    let cell = fixture
        .execute(request)
        .await
        .expect("the script is admitted");
    let response = within(cell.first_response).await.expect("the cell answers");
    let texts = code_mode_testsuite::texts_of(&response);
    match response.status {
        CellStatus::Completed { error_text } => (error_text.unwrap_or_default(), texts),
        other => panic!("{source} gave {other:?}"),
    }
}

/// How an error text names a limit.
pub(crate) fn limit_text(limit: LimitName, maximum: u64) -> String {
    format!("LimitError: the limit of {maximum} {limit} is reached; the cell was ended")
}

/// Asserts that an operation was refused because of this limit.
#[track_caller]
pub(crate) fn assert_refused<T>(result: Result<T, SessionError>, wanted: LimitName, value: u64) {
    match result {
        Err(SessionError::Limit { limit, maximum, .. }) => {
            assert_eq!((limit, maximum), (wanted, value));
        }
        Err(other) => panic!("refused with {other}"),
        Ok(_) => panic!("not refused"),
    }
}

/// Starts a cell and waits for what it gives first.
async fn first_response(cell: AdmittedCell) -> CellResponse {
    let (sender, response) = tokio::sync::oneshot::channel();
    cell.start(Box::new(move |response| {
        sender.send(response).expect("the test waits")
    }));
    within(response)
        .await
        .expect("an answer")
        .expect("a response")
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_cell_end_it_with_their_name_and_its_output_so_far() {
    let fixture = fixture(RuntimeConfig::default()).await;
    type Lower = fn(&mut CellLimits);
    let cases: [(&str, Lower, LimitName, u64); 10] = [
        (
            "const a = []; for (;;) a.push([a.length]);",
            |l| l.heap_bytes = Some(16 << 20),
            LimitName::HeapBytes,
            16 << 20,
        ),
        (
            "const a = []; for (;;) a.push(new Array(1000).fill(1));",
            |l| l.heap_bytes = Some(16 << 20),
            LimitName::HeapBytes,
            16 << 20,
        ),
        (
            "try { new ArrayBuffer(2 << 20) } catch {} for (;;);",
            |l| l.external_bytes = Some(1 << 20),
            LimitName::ExternalBytes,
            1 << 20,
        ),
        (
            "const a = []; for (;;) a.push(new Uint8Array(1 << 18));",
            |l| l.external_bytes = Some(8 << 20),
            LimitName::ExternalBytes,
            8 << 20,
        ),
        (
            "for (;;) { try { for (;;); } catch {} }",
            |l| l.cpu_time = Some(Duration::from_millis(50)),
            LimitName::CpuTimeMs,
            50,
        ),
        (
            "await new Promise(() => {});",
            |l| l.wall_time = Some(Duration::from_millis(50)),
            LimitName::WallTimeMs,
            50,
        ),
        (
            "for (;;) text('12345');",
            |l| l.output_bytes = Some(16),
            LimitName::OutputBytes,
            16,
        ),
        (
            "for (;;) tools.hang();",
            |l| l.open_tool_calls = Some(5),
            LimitName::OpenToolCalls,
            5,
        ),
        (
            "for (;;) await tools.echo();",
            |l| l.total_tool_calls = Some(7),
            LimitName::TotalToolCalls,
            7,
        ),
        (
            "for (;;) setTimeout(() => {}, 1e6);",
            |l| l.timers = Some(9),
            LimitName::Timers,
            9,
        ),
    ];
    for (source, lower, limit, maximum) in cases {
        let source = format!("text('so far'); {source}");
        let (error, texts) = run_limited(&fixture, &source, lower).await;
        assert_eq!(error, limit_text(limit, maximum), "{source}");
        assert_eq!(
            texts.first().map(String::as_str),
            Some("so far"),
            "{source}"
        );
    }
    assert_eq!(
        fixture.texts("text('the session goes on')").await,
        ["the session goes on"]
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_cannot_be_caught() {
    let fixture = fixture(RuntimeConfig::default()).await;
    let source = "try { for (;;) text('x') } catch { text('caught') } finally { text('finally') }";
    let (error, texts) = run_limited(&fixture, source, |l| l.output_items = Some(2)).await;
    assert_eq!(error, limit_text(LimitName::OutputItems, 2));
    assert_eq!(texts, ["x", "x"]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn freed_buffers_do_not_count() {
    let fixture = fixture(RuntimeConfig::default()).await;
    let source = "for (let i = 0; i < 200; i++) new Uint8Array(1 << 20).fill(1); text('done');";
    let (error, texts) = run_limited(&fixture, source, |l| l.external_bytes = Some(8 << 20)).await;
    assert_eq!((error.as_str(), texts), ("", vec!["done".to_owned()]));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cpu_time_stands_still_while_a_cell_waits() {
    let fixture = fixture(RuntimeConfig::default()).await;
    let source = "await new Promise(resolve => setTimeout(resolve, 1500)); text('waited')";
    let lower = |l: &mut CellLimits| l.cpu_time = Some(Duration::from_millis(1_000));
    assert_eq!(
        run_limited(&fixture, source, lower).await,
        (String::new(), vec!["waited".to_owned()])
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_the_operator_end_cells() {
    let config = RuntimeConfig {
        max_value_bytes: 100,
        max_stored_value_bytes: 50,
        max_store_bytes: 120,
        ..RuntimeConfig::default()
    };
    let fixture = fixture(config).await;
    for (source, limit, maximum) in [
        ("notify('x'.repeat(101))", LimitName::ValueBytes, 100),
        (
            "store('k', 'x'.repeat(49))",
            LimitName::StoredValueBytes,
            50,
        ),
        (
            "for (let i = 0; i < 4; i++) store('k' + i, 'x'.repeat(40))",
            LimitName::StoreBytes,
            120,
        ),
    ] {
        let (error, _) = run_limited(&fixture, source, |_| {}).await;
        assert_eq!(error, limit_text(limit, maximum), "{source}");
    }
    let values = within(fixture.session.export_store())
        .await
        .expect("the store");
    assert_eq!(values.keys().collect::<Vec<_>>(), ["k0", "k1"]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_stored_keys_is_bounded() {
    let fixture = fixture(RuntimeConfig {
        max_store_keys: 3,
        ..RuntimeConfig::default()
    })
    .await;
    let (error, _) =
        run_limited(&fixture, "for (let i = 0; ; i++) store('k' + i, 1)", |_| {}).await;
    assert_eq!(error, limit_text(LimitName::StoreKeys, 3));
    // What is there can still be replaced, and an import is all or nothing.
    assert_eq!(
        fixture.texts("store('k0', 2); text(load('k0'))").await,
        ["2"]
    );
    let values = BTreeMap::from([("k1".to_owned(), json("5")), ("new".to_owned(), json("6"))]);
    let refused = within(fixture.session.import_store(values)).await;
    assert_refused(refused, LimitName::StoreKeys, 3);
    assert_eq!(fixture.texts("text(load('k1'))").await, ["1"]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undelivered_notifications_are_bounded() {
    let config = RuntimeConfig {
        max_open_notifications: 4,
        // Nothing is ever delivered here.
        notification_grace: Duration::from_millis(50),
        ..RuntimeConfig::default()
    };
    let provider = Arc::new(runtime(config, None));
    let session = provider
        .open(None, Arc::new(Undelivering))
        .expect("a session opens");
    let request = Fixture::request("for (;;) notify('n')");
    let cell = session.admit(request).expect("it is admitted");
    let response = first_response(cell).await;
    let error_text = Some(limit_text(LimitName::OpenNotifications, 4));
    assert_eq!(response.status, CellStatus::Completed { error_text });
    within(session.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undelivered_notifications_hold_a_result_back_no_longer_than_the_grace() {
    let config = RuntimeConfig {
        notification_grace: Duration::from_millis(50),
        ..RuntimeConfig::default()
    };
    let provider = runtime(config, None);
    let session = provider
        .open(None, Arc::new(Undelivering))
        .expect("a session opens");
    let cell = session
        .admit(Fixture::request("notify('n'); text('end')"))
        .expect("it is admitted");
    // The wall time is an hour: without the grace nothing would ever come.
    let response = first_response(cell).await;
    assert_eq!(response.status, CellStatus::Completed { error_text: None });
    assert_eq!(code_mode_testsuite::texts_of(&response), ["end"]);
    within(session.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undelivered_notifications_hold_a_result_back_no_longer_than_the_wall_time() {
    // Ample for the script itself on a busy machine.
    const WALL_TIME: Duration = Duration::from_secs(3);
    let provider = runtime(RuntimeConfig::default(), None);
    let session = provider
        .open(None, Arc::new(Undelivering))
        .expect("a session opens");
    let held_back = async |source| {
        let mut request = Fixture::request(source);
        request.limits.wall_time = Some(WALL_TIME);
        let started = std::time::Instant::now();
        let cell = session.admit(request).expect("it is admitted");
        let response = first_response(cell).await;
        assert_eq!(response.status, CellStatus::Completed { error_text: None });
        assert!(started.elapsed() >= WALL_TIME, "it did not wait");
        assert!(
            started.elapsed() < limits::DEFAULT_NOTIFICATION_GRACE,
            "it waited for too long"
        );
    };
    tokio::join!(
        held_back("notify('n'); text('end')"),
        held_back("notify('n'); text('end'); exit()"),
    );
    within(session.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_error_texts_lose_their_middle() {
    let fixture = fixture(RuntimeConfig::default()).await;
    let error = fixture.error("throw 'a' + 'ü'.repeat(1e6) + 'z'").await;
    assert!(
        error.len() <= limits::MAX_ERROR_TEXT_BYTES + 100,
        "{} bytes",
        error.len()
    );
    assert!(error.starts_with('a') && error.ends_with('z'));
    assert!(error.contains("bytes left out"));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejections_are_tracked_up_to_a_bound() {
    let fixture = fixture(RuntimeConfig::default()).await;
    let error = fixture
        .error("for (let i = 0; i < 5000; i++) Promise.reject(i)")
        .await;
    let others = limits::MAX_TRACKED_REJECTIONS - 1;
    assert_eq!(
        error,
        format!("Unhandled rejection: 0\n(and {others} more)")
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_heap_still_runs_a_script() {
    let fixture = fixture(RuntimeConfig::default()).await;
    let (error, texts) = run_limited(&fixture, "text('small')", |l| l.heap_bytes = Some(1)).await;
    assert_eq!((error.as_str(), texts), ("", vec!["small".to_owned()]));
    let source = "const a = []; for (;;) a.push([a.length])";
    let (error, _) = run_limited(&fixture, source, |l| l.heap_bytes = Some(1)).await;
    assert_eq!(
        error,
        limit_text(LimitName::HeapBytes, limits::MIN_HEAP_BYTES)
    );
    fixture.end().await;
}

/// A delegate whose notifications are never delivered.
pub(crate) struct Undelivering;

impl code_mode_api::SessionDelegate for Undelivering {
    fn invoke_tool(
        &self,
        _invocation: code_mode_api::ToolInvocation,
        _cancel: code_mode_api::CancellationSignal,
    ) -> code_mode_api::BoxFuture<'static, Result<code_mode_api::RawJson, code_mode_api::ToolError>>
    {
        Box::pin(std::future::pending())
    }

    fn notify(
        &self,
        _notification: code_mode_api::Notification,
        _cancel: code_mode_api::CancellationSignal,
    ) -> code_mode_api::BoxFuture<'static, Result<(), code_mode_api::ToolError>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_input_that_is_too_long_rejects_its_promise_and_makes_no_call() {
    let config = RuntimeConfig {
        max_value_bytes: 100,
        ..RuntimeConfig::default()
    };
    let fixture = fixture(config).await;
    let source = "await tools.echo('x'.repeat(98));
        try { await tools.echo('x'.repeat(99)) } catch (e) { text(e.message); text(e.stack) }
        text(await tools.echo('still here'))";
    assert_eq!(
        fixture.texts(source).await,
        [
            "the limit of 100 bytes of one value is reached by the tool's input",
            "Error: the limit of 100 bytes of one value is reached by the tool's input\n    \
             at tools.echo (exec_main.mjs:2:27)",
            "still here",
        ]
    );
    let calls = fixture.recorder.calls();
    let made = calls
        .iter()
        .filter(|call| matches!(call, Call::Tool { .. }));
    assert_eq!(made.count(), 2);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_result_or_error_that_is_too_long_rejects_its_promise() {
    let config = RuntimeConfig {
        max_value_bytes: 100,
        ..RuntimeConfig::default()
    };
    let provider = runtime(config, None);
    let session = provider
        .open(None, Arc::new(LongAnswer))
        .expect("a session opens");
    let source = "for (const fails of [false, true])
        try { await tools.echo(fails) } catch (e) { text(e.message) }";
    let cell = session
        .admit(Fixture::request(source))
        .expect("it is admitted");
    let response = first_response(cell).await;
    let expected = "the limit of 100 bytes of one value is reached by the tool's result";
    assert_eq!(
        code_mode_testsuite::texts_of(&response),
        [expected, expected]
    );
    within(session.shutdown()).await;
}

/// A delegate whose tools answer at length, and fail so where their input says so.
struct LongAnswer;

impl code_mode_api::SessionDelegate for LongAnswer {
    fn invoke_tool(
        &self,
        invocation: code_mode_api::ToolInvocation,
        _cancel: code_mode_api::CancellationSignal,
    ) -> code_mode_api::BoxFuture<'static, Result<code_mode_api::RawJson, code_mode_api::ToolError>>
    {
        let answer = match invocation.input.get() {
            "true" => Err(code_mode_api::ToolError::new("x".repeat(101))),
            _ => Ok(json(&format!("\"{}\"", "x".repeat(99)))),
        };
        Box::pin(std::future::ready(answer))
    }

    fn notify(
        &self,
        _notification: code_mode_api::Notification,
        _cancel: code_mode_api::CancellationSignal,
    ) -> code_mode_api::BoxFuture<'static, Result<(), code_mode_api::ToolError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_a_bound_are_refused_before_anything_runs() {
    let config = RuntimeConfig {
        max_source_bytes: 100,
        max_tools: 6,
        max_tool_bytes: 1_000,
        ..RuntimeConfig::default()
    };
    let fixture = fixture(config).await;
    let long = format!("text(1){}", " ".repeat(94));
    assert_refused(
        fixture.execute(Fixture::request(&long)).await,
        LimitName::SourceBytes,
        100,
    );
    let mut request = Fixture::request("text(1)");
    request.tools = ["a", "b", "c", "d", "e", "f", "g"].map(tool).into();
    assert_refused(fixture.execute(request).await, LimitName::Tools, 6);
    let mut request = Fixture::request("text(1)");
    request.tools = [tool(&"n".repeat(500))].into();
    assert_refused(fixture.execute(request).await, LimitName::ToolBytes, 1_000);
    // Nothing of this used up an id.
    assert_eq!(fixture.run("text(1)").await.cell_id.as_str(), "1");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_too_long_for_eval_throws_and_the_cell_goes_on() {
    let fixture = fixture(RuntimeConfig::default()).await;
    let source = "const long = '1+'.repeat(1 << 19) + '1';
        for (const evaluate of [eval, s => new Function('return ' + s)]) {
            try { evaluate(long); text('evaluated') } catch (e) { text(e.name) }
        }
        text(eval('1 + 1')); text(eval(5)); text(new Function('return 3')())";
    assert_eq!(
        fixture.texts(source).await,
        ["EvalError", "EvalError", "2", "5", "3"]
    );
    fixture.end().await;
}

#[test]
fn a_request_lowers_bounds_and_never_raises_them() {
    let operator = CellLimits {
        timers: Some(5),
        ..CellLimits::default()
    };
    let operator = limits::EffectiveLimits::of_operator(&operator, 100, 100);
    let request = CellLimits {
        timers: Some(6),
        output_items: Some(1),
        output_bytes: Some(u64::MAX),
        ..CellLimits::default()
    };
    let effective = operator.lowered_by(&request);
    assert_eq!(effective.timers, 5);
    assert_eq!(effective.output_items, 1);
    assert_eq!(effective.output_bytes, limits::DEFAULT_OUTPUT_BYTES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_too_much_for_the_parser_of_typescript_ends_its_cell_alone() {
    let fixture = fixture(RuntimeConfig::default()).await;
    let deep = format!("let a: T = {}", "[".repeat(100_000));
    let (error, _) = run_limited(&fixture, &deep, |_| {}).await;
    let expect = "SyntaxError: the source could not be read as TypeScript: it is nested too deeply";
    assert_eq!(error, expect);

    // Each of these is read both as arguments of a type and as comparisons, and so all that follows.
    let slow = format!("let a: T; {}", "(a=f<".repeat(100));
    let second = Duration::from_secs(1);
    let (error, _) = run_limited(&fixture, &slow, |limits| limits.cpu_time = Some(second)).await;
    // Which comes first, the end of its time or that of its memory, is the machine's to say.
    let in_time = crate::FORKED && error == limit_text(LimitName::CpuTimeMs, 1_000);
    let starts = "SyntaxError: the source could not be read as TypeScript: it takes ";
    assert!(in_time || error.starts_with(starts), "{error}");

    let (error, texts) = run_limited(&fixture, "const a: number = 1; text(a)", |_| {}).await;
    assert_eq!((error.as_str(), texts), ("", vec!["1".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_may_have_sources_run_as_they_are() {
    let fixture = fixture(RuntimeConfig {
        typescript: false,
        ..RuntimeConfig::default()
    })
    .await;
    let (error, _) = run_limited(&fixture, "const a: number = 1", |_| {}).await;
    assert!(
        error.contains("Hint: the source looks like TypeScript"),
        "{error}"
    );
    let (error, _) = run_limited(&fixture, "```js\ntext(1)\n```", |_| {}).await;
    assert!(
        error.contains("Hint: the source begins with a Markdown fence"),
        "{error}"
    );
}
