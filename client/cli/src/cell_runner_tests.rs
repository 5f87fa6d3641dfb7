// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use code_mode_embed::{SessionError, ToolSet};
use pretty_assertions::assert_eq;
use tokio::time::timeout;

use super::*;
use crate::background::Background;
use crate::fake_session::FakeProvider;
use crate::output::testing::{Kept, kept_printer};
use crate::reporter::View;

/// Guard against a hang; no test waits for it.
const GUARD: Duration = Duration::from_secs(60);

struct Fixture {
    session: Session,
    reporter: Reporter,
    interrupts: Interrupts,
    stdout: Kept,
}

impl Fixture {
    async fn new() -> Self {
        Self::over(FakeProvider::default()).await
    }

    async fn over(provider: FakeProvider) -> Self {
        let (printer, stdout, _stderr) = kept_printer(false);
        let reporter = Reporter::new(printer, View::default());
        let session = Session::open(Arc::new(provider), ToolSet::new()).await;
        Self {
            session: session.unwrap(),
            reporter,
            interrupts: Interrupts::listen().unwrap(),
            stdout,
        }
    }

    async fn run(&mut self, source: &str, patience: Patience) -> CellRun {
        let mut runner = CellRunner::new(&self.reporter, &mut self.interrupts);
        let run = runner.run(&self.session, "a.js", source, patience);
        let ended = timeout(GUARD, run).await.unwrap();
        self.reporter.printer().flush().await;
        ended
    }

    /// The end of a script that ends.
    async fn end_of(&mut self, source: &str, patience: Patience) -> CellEnd {
        match self.run(source, patience).await {
            CellRun::Ended(end) => end,
            CellRun::Left(cell) => panic!("cell {} runs on", cell.id()),
        }
    }
}

#[tokio::test]
async fn a_script_that_ends_is_shown_whole() {
    let mut fixture = Fixture::new().await;
    let end = fixture.end_of("text a\ntext b", Patience::Endless).await;
    assert_eq!(end, CellEnd::Completed);
    assert_eq!(fixture.stdout.text(), "a\nb\n");
}

#[tokio::test]
async fn a_failed_script_keeps_its_output() {
    let mut fixture = Fixture::new().await;
    let end = fixture
        .end_of("text a\nfail Error: no", Patience::Endless)
        .await;
    assert_eq!(
        end,
        CellEnd::Failed {
            error_text: "Error: no".into()
        }
    );
    assert_eq!(fixture.stdout.text(), "a\n");
}

#[tokio::test]
async fn a_script_that_yields_is_waited_for() {
    let mut fixture = Fixture::new().await;
    let end = fixture
        .end_of("text a\nyield\ntext b\nyield\ntext c", Patience::Endless)
        .await;
    assert_eq!(end, CellEnd::Completed);
    assert_eq!(fixture.stdout.text(), "a\nb\nc\n");
}

#[tokio::test]
async fn a_script_that_times_out_is_terminated_and_its_output_shown_once() {
    let mut fixture = Fixture::new().await;
    let after = Duration::from_millis(10);
    let end = fixture
        .end_of("text a\nhang", Patience::TerminateAfter(after))
        .await;
    assert_eq!(end, CellEnd::Terminated(Termination::Timeout(after)));
    assert_eq!(fixture.stdout.text(), "a\n");
}

#[tokio::test]
async fn a_script_that_is_left_can_be_resumed_and_terminated() {
    let mut fixture = Fixture::new().await;
    let patience = Patience::LeaveAfter(Duration::from_millis(10));
    let CellRun::Left(cell) = fixture.run("text a\nhang", patience).await else {
        panic!("the cell ended");
    };
    let id = cell.id().clone();
    let background = Background::keep(cell, fixture.reporter.clone());
    assert!(!background.has_ended());
    let (cell, before) = timeout(GUARD, background.take()).await.unwrap().unwrap();
    let mut runner = CellRunner::new(&fixture.reporter, &mut fixture.interrupts);
    let resumed = timeout(GUARD, runner.resume(cell, before, patience)).await;
    let CellRun::Left(cell) = resumed.unwrap() else {
        panic!("the cell ended");
    };
    assert_eq!(*cell.id(), id);
    let terminating = runner.terminate(cell, Vec::new(), Termination::Elsewhere);
    let end = timeout(GUARD, terminating).await.unwrap();
    assert_eq!(end, CellEnd::Terminated(Termination::Elsewhere));
    fixture.reporter.printer().flush().await;
    assert_eq!(fixture.stdout.text(), "a\n");
}

#[tokio::test]
async fn a_lost_host_is_the_cells_end() {
    let mut fixture = Fixture::new().await;
    let end = fixture
        .end_of("text a\nlose it was killed", Patience::Endless)
        .await;
    let CellEnd::Error(SessionError::RuntimeLost { cause, .. }) = end else {
        panic!("{end:?}");
    };
    assert_eq!(cause, "it was killed");
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_host_takes_to_start_is_not_the_scripts() {
    let mut fixture = Fixture::over(FakeProvider {
        start_time: Duration::from_secs(20),
        ..FakeProvider::default()
    })
    .await;
    let patience = Patience::TerminateAfter(Duration::from_secs(1));
    let end = fixture.end_of("yield", patience).await;
    assert_eq!(end, CellEnd::Completed);
}

#[tokio::test]
async fn output_for_the_prompt_is_not_shown() {
    let mut fixture = Fixture::new().await;
    let mut runner = CellRunner::new(&fixture.reporter, &mut fixture.interrupts);
    let source = format!("text {KEPT_MARK}1\ntext a");
    let run = runner.run(&fixture.session, "a.js", source, Patience::Endless);
    timeout(GUARD, run).await.unwrap();
    assert_eq!(runner.take_kept(), [format!("{KEPT_MARK}1")]);
    fixture.reporter.printer().flush().await;
    assert_eq!(fixture.stdout.text(), "a\n");
}

#[tokio::test]
async fn a_notification_does_not_wait_for_output_for_ever() {
    let mut fixture = Fixture::over(FakeProvider {
        silent_while_notifying: true,
        ..FakeProvider::default()
    })
    .await;
    let end = fixture
        .end_of("text a\nnotify n\ntext b", Patience::Endless)
        .await;
    assert_eq!(end, CellEnd::Completed);
    assert_eq!(fixture.stdout.text(), "a\nb\n");
}

#[tokio::test]
async fn what_a_cell_puts_out_in_the_background_is_shown_when_it_is_asked_for() {
    let mut fixture = Fixture::new().await;
    let source = "text a\nnotify n\ntext b\nhang";
    let cell = fixture.session.start(source).await.unwrap();
    let mut others = cell.events();
    let background = Background::keep(cell, fixture.reporter.clone());
    let mut texts = 0;
    while texts < 1 {
        let event = timeout(GUARD, others.next()).await.unwrap();
        texts += usize::from(matches!(event, Some(CellEvent::Output(_))));
    }
    fixture.reporter.printer().flush().await;
    assert_eq!(fixture.stdout.text(), "");
    let (cell, before) = timeout(GUARD, background.take()).await.unwrap().unwrap();
    let mut runner = CellRunner::new(&fixture.reporter, &mut fixture.interrupts);
    let terminating = runner.terminate(cell, before, Termination::Elsewhere);
    timeout(GUARD, terminating).await.unwrap();
    fixture.reporter.printer().flush().await;
    assert_eq!(fixture.stdout.text(), "a\nb\n");
}
