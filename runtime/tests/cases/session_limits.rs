// SPDX-License-Identifier: Apache-2.0
//! Every limit of a session, and of all sessions of a runtime together, is reached here.

use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{CellStatus, LimitName, SessionId, SessionOptions};
use code_mode_runtime::{RuntimeConfig, limits};
use code_mode_testsuite::{Call, Fixture, within};
use pretty_assertions::assert_eq;

use crate::cases::{Undelivering, assert_refused, fixture, limit_text, run_limited};
use crate::support::runtime;

#[tokio::test(flavor = "multi_thread")]
async fn active_cells_are_bounded_and_ended_ones_give_their_slot_back() {
    let fixture = fixture(RuntimeConfig {
        max_active_cells: 2,
        ..RuntimeConfig::default()
    })
    .await;
    let first = fixture.start("await tools.hang(1)").await;
    let second = fixture.start("await tools.hang(2)").await;
    let refused = fixture.execute(Fixture::request("text(1)")).await;
    assert_refused(refused, LimitName::ActiveCells, 2);
    fixture
        .terminate(&first.cell_id)
        .await
        .expect("it is terminated");
    fixture
        .terminate(&second.cell_id)
        .await
        .expect("it is terminated");
    for _ in 0..10 {
        fixture.texts("text('slot')").await;
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_cannot_take_every_slot_and_another_finds_some() {
    let greedy = fixture(RuntimeConfig {
        max_active_cells: 16,
        ..RuntimeConfig::default()
    })
    .await;
    let other = greedy.another().await;
    for _ in 0..14 {
        greedy.start("await tools.hang()").await;
    }
    let refused = greedy.execute(Fixture::request("text(1)")).await;
    assert_refused(refused, LimitName::ActiveCells, 16);
    for _ in 0..2 {
        other.start("await tools.hang()").await;
    }
    let refused = other.execute(Fixture::request("text(1)")).await;
    assert_refused(refused, LimitName::ActiveCells, 16);
    other.end().await;
    greedy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_past_the_bytes_of_its_session_rejects_its_call_alone() {
    let fixture = fixture(RuntimeConfig {
        max_session_answer_bytes: 1_000,
        ..RuntimeConfig::default()
    })
    .await;
    let source = "text((await tools.echo('x'.repeat(900))).length);
        try { await tools.echo('x'.repeat(1100)) } catch (e) { text(e.message) }
        text(await tools.echo('still here'))";
    assert_eq!(
        fixture.texts(source).await,
        [
            "900",
            "the limit of 1000 bytes of tools' answers on their way to scripts is reached; \
             await some calls before making others",
            "still here",
        ]
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_a_busy_script_does_not_take_count_until_it_does() {
    let fixture = fixture(RuntimeConfig {
        max_session_answer_bytes: 5 << 19,
        ..RuntimeConfig::default()
    })
    .await;
    let source = "const s = 'x'.repeat(1 << 20);
        const calls = Promise.allSettled([1, 2, 3, 4].map(() => tools.echo(s)));
        const until = Date.now() + 1000; while (Date.now() < until) {}
        const all = await calls;
        const failed = all.filter(one => one.status === 'rejected');
        text(failed.length > 0 && failed.length < 4);
        text(failed.every(one => one.reason.message.startsWith('the limit of 2621440 bytes of tools')));
        text((await tools.echo(s)).length)";
    assert_eq!(fixture.texts(source).await, ["true", "true", "1048576"]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_a_cell_never_took_count_no_more_when_its_end_is_told() {
    let runtime = runtime(RuntimeConfig::default(), None);
    let session = runtime
        .open(None, Arc::new(Echoing))
        .expect("a session opens");
    // More than the socket of a process takes.
    let source = "tools.echo('x'.repeat(3 << 20)); for (;;);";
    let cell = session
        .admit(Fixture::request(source))
        .expect("it is admitted");
    let id = cell.id().clone();
    cell.start(Box::new(|_| {}));
    let answered = async {
        while runtime.figures().answer_bytes == 0 {
            tokio::task::yield_now().await;
        }
    };
    within(answered).await;
    let (sender, told) = tokio::sync::oneshot::channel();
    let figures = runtime.clone();
    let observer = Box::new(move |response: Result<_, _>| {
        let left = figures.figures().answer_bytes;
        sender
            .send((response.map(drop), left))
            .expect("the test waits");
    });
    session.terminate(&id, observer).expect("it runs");
    assert_eq!(within(told).await.expect("an answer"), (Ok(()), 0));
    within(session.shutdown()).await;
}

/// A delegate whose tools answer at once with what they were asked.
struct Echoing;

impl code_mode_api::SessionDelegate for Echoing {
    fn invoke_tool(
        &self,
        invocation: code_mode_api::ToolInvocation,
        _cancel: code_mode_api::CancellationSignal,
    ) -> code_mode_api::BoxFuture<'static, Result<code_mode_api::RawJson, code_mode_api::ToolError>>
    {
        Box::pin(std::future::ready(Ok(invocation.input)))
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
async fn output_that_nobody_has_read_is_bounded_and_ends_the_cell_that_passes_the_bound_alone() {
    let fixture = fixture(RuntimeConfig {
        max_session_unread_bytes: 1_000,
        ..RuntimeConfig::default()
    })
    .await;
    let first = fixture
        .start("text('x'.repeat(600)); await tools.hang()")
        .await;
    let is_call = |call: &Call| matches!(call, Call::Tool { .. });
    fixture.recorder.wait_for(is_call).await;
    let more = "text('y'.repeat(300)); text('z'.repeat(300))";
    let (error, texts) = run_limited(&fixture, more, |_| ()).await;
    assert_eq!(error, limit_text(LimitName::UnreadBytes, 1_000));
    assert_eq!(texts, ["y".repeat(300)]);
    let kept = fixture.terminate(&first.cell_id).await;
    let kept = kept.expect("it is terminated");
    assert_eq!(code_mode_testsuite::texts_of(&kept), ["x".repeat(600)]);
    let (error, texts) = run_limited(&fixture, more, |_| ()).await;
    assert_eq!((error.as_str(), texts.len()), ("", 2));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_session_leaves_unread_takes_no_room_of_another_that_has_less_than_its_share() {
    let greedy = fixture(RuntimeConfig {
        max_unread_bytes: 8_000,
        ..RuntimeConfig::default()
    })
    .await;
    let other = greedy.another().await;
    let first = greedy
        .start("text('x'.repeat(7000)); await tools.hang()")
        .await;
    let is_call = |call: &Call| matches!(call, Call::Tool { .. });
    greedy.recorder.wait_for(is_call).await;
    let (error, _) = run_limited(&greedy, "text('y')", |_| ()).await;
    assert_eq!(error, limit_text(LimitName::UnreadBytes, 8_000));
    let (error, texts) = run_limited(&other, "text('y'.repeat(900))", |_| ()).await;
    assert_eq!((error.as_str(), texts.len()), ("", 1));
    greedy.terminate(&first.cell_id).await.expect("it ends");
    other.end().await;
    greedy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_nobody_reads_are_bounded_and_the_error_names_their_cells() {
    let fixture = fixture(RuntimeConfig {
        max_stored_results: 2,
        ..RuntimeConfig::default()
    })
    .await;
    let mut cells = Vec::new();
    for _ in 1..=2 {
        let cell = fixture.start("yield_control(); text('kept')").await;
        cells.push(cell.cell_id.clone());
        within(cell.first_response).await.expect("the cell yields");
    }
    fixture.cells_have_ended().await;
    let refused = fixture.execute(Fixture::request("text(1)")).await;
    let message = refused
        .as_ref()
        .err()
        .map(ToString::to_string)
        .unwrap_or_default();
    assert!(message.contains("cells 1, 2"), "{message}");
    assert_refused(refused, LimitName::StoredResults, 2);
    for cell in cells {
        fixture
            .wait(&cell, Duration::ZERO)
            .await
            .expect("the result was kept");
    }
    assert_eq!(fixture.texts("text('again')").await, ["again"]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cell_ids_run_out_instead_of_wrapping() {
    let config = RuntimeConfig {
        max_cells_per_session: 2,
        ..RuntimeConfig::default()
    };
    let fixture = fixture(config).await;
    fixture.texts("text(1)").await;
    fixture.texts("text(2)").await;
    let refused = fixture.execute(Fixture::request("text(3)")).await;
    assert_refused(refused, LimitName::CellIds, 2);
    assert!(
        limits::DEFAULT_MAX_CELLS_PER_SESSION
            .checked_add(1)
            .is_some()
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_bounded_and_their_ids_are_not_shared() {
    let fixture = fixture(RuntimeConfig {
        max_sessions: 2,
        ..RuntimeConfig::default()
    })
    .await;
    let id = fixture.session.session_id().clone();
    let options = SessionOptions {
        session_id: Some(id.clone()),
        ..SessionOptions::default()
    };
    let delegate = || Arc::new(Undelivering);
    let duplicate = within(fixture.provider.open_session(options, delegate())).await;
    let duplicate = duplicate.map(drop).expect_err("used").to_string();
    assert_eq!(
        duplicate,
        format!("session id {id} was used before; choose another")
    );
    let second = fixture.another().await;
    let refused = within(
        fixture
            .provider
            .open_session(SessionOptions::default(), delegate()),
    )
    .await;
    assert_refused(refused, LimitName::Sessions, 2);
    second.end().await;
    fixture.another().await.end().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_session_gives_all_back_that_it_and_its_cells_have_had() {
    let provider = runtime(
        RuntimeConfig {
            max_sessions: 1,
            max_active_cells: 1,
            ..RuntimeConfig::default()
        },
        None,
    );
    let id = SessionId::new("again");
    // More than there are seats.
    for _ in 0..=limits::max_cell_threads(1) {
        let session = within(async {
            loop {
                match provider.open(id.clone(), Arc::new(Undelivering)) {
                    Ok(session) => break session,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
        let cell = session
            .admit(Fixture::request("for (;;);"))
            .expect("it is admitted");
        let (sender, ended) = tokio::sync::oneshot::channel();
        cell.start(Box::new(move |response| {
            sender.send(response).expect("the test waits")
        }));
        drop(session);
        let response = within(ended).await.expect("an answer");
        let response = response.expect("a response");
        assert_eq!(response.status, CellStatus::Terminated);
    }
}
