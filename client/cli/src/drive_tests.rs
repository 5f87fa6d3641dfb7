// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use code_mode_api::{SessionOptions, SessionProvider};
use pretty_assertions::assert_eq;
use tokio::time::timeout;

use super::*;
use crate::delegate::CommandDelegate;
use crate::events::View;
use crate::fake_session::FakeProvider;
use crate::guard::Guard;
use crate::output::testing::{Kept, kept_printer};

/// Guard against a hang; no test waits for it.
const GUARD: Duration = Duration::from_secs(60);

struct Fixture {
    session: Arc<dyn CodeModeSession>,
    order: Arc<Order>,
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
        let delegate = CommandDelegate::new(&[], "/".into(), reporter.clone(), Guard::absent());
        let delegate = Arc::new(delegate);
        let order = delegate.order();
        let session = provider
            .open_session(SessionOptions::default(), delegate)
            .await
            .unwrap();
        Self {
            session,
            order,
            reporter,
            interrupts: Interrupts::listen().unwrap(),
            stdout,
        }
    }

    async fn run(&mut self, source: &str, patience: Patience) -> Driven {
        let mut driver = Driver::new(
            self.session.as_ref(),
            &self.reporter,
            &mut self.interrupts,
            self.order.clone(),
        );
        let run = driver.run("a.js", ExecuteRequest::new(source), patience);
        let driven = timeout(GUARD, run).await.unwrap();
        self.reporter.printer().flush().await;
        driven
    }
}

#[tokio::test]
async fn a_script_that_ends_is_shown_whole() {
    let mut fixture = Fixture::new().await;
    let driven = fixture.run("text a\ntext b", Patience::Endless).await;
    assert_eq!(driven, Driven::Ended(CellEnd::Completed));
    assert_eq!(fixture.stdout.text(), "a\nb\n");
}

#[tokio::test]
async fn a_failed_script_keeps_its_output() {
    let mut fixture = Fixture::new().await;
    let driven = fixture
        .run("text a\nfail Error: no", Patience::Endless)
        .await;
    assert_eq!(
        driven,
        Driven::Ended(CellEnd::Failed {
            error_text: "Error: no".into()
        })
    );
    assert_eq!(fixture.stdout.text(), "a\n");
}

#[tokio::test]
async fn a_script_that_yields_is_waited_for() {
    let mut fixture = Fixture::new().await;
    let driven = fixture
        .run("text a\nyield\ntext b\nyield\ntext c", Patience::Endless)
        .await;
    assert_eq!(driven, Driven::Ended(CellEnd::Completed));
    assert_eq!(fixture.stdout.text(), "a\nb\nc\n");
}

#[tokio::test]
async fn a_script_that_times_out_is_terminated_and_its_output_shown_once() {
    let mut fixture = Fixture::new().await;
    let after = Duration::from_millis(10);
    let driven = fixture
        .run("text a\nhang", Patience::TerminateAfter(after))
        .await;
    assert_eq!(
        driven,
        Driven::Ended(CellEnd::Terminated(Termination::Timeout(after)))
    );
    assert_eq!(fixture.stdout.text(), "a\n");
}

#[tokio::test]
async fn a_script_that_is_left_can_be_resumed_and_terminated() {
    let mut fixture = Fixture::new().await;
    let patience = Patience::LeaveAfter(Duration::from_millis(10));
    let Driven::Left(cell) = fixture.run("text a\nhang", patience).await else {
        panic!("the cell ended");
    };
    let mut driver = Driver::new(
        fixture.session.as_ref(),
        &fixture.reporter,
        &mut fixture.interrupts,
        fixture.order.clone(),
    );
    let resumed = timeout(GUARD, driver.resume(cell.clone(), patience))
        .await
        .unwrap();
    assert_eq!(resumed, Driven::Left(cell.clone()));
    let end = timeout(GUARD, driver.terminate(cell, Termination::Elsewhere))
        .await
        .unwrap();
    assert_eq!(end, CellEnd::Terminated(Termination::Elsewhere));
    fixture.reporter.printer().flush().await;
    assert_eq!(fixture.stdout.text(), "a\n");
}

#[tokio::test]
async fn a_lost_host_is_the_cells_end() {
    let mut fixture = Fixture::new().await;
    let driven = fixture
        .run("text a\nlose it was killed", Patience::Endless)
        .await;
    let Driven::Ended(CellEnd::Error(SessionError::RuntimeLost { cause, .. })) = driven else {
        panic!("{driven:?}");
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
    let driven = fixture.run("yield", patience).await;
    assert_eq!(driven, Driven::Ended(CellEnd::Completed));
}

#[tokio::test]
async fn output_for_the_prompt_is_not_shown() {
    let mut fixture = Fixture::new().await;
    let mut driver = Driver::new(
        fixture.session.as_ref(),
        &fixture.reporter,
        &mut fixture.interrupts,
        fixture.order.clone(),
    );
    let request = ExecuteRequest::new(format!("text {KEPT_MARK}1\ntext a"));
    timeout(GUARD, driver.run("a.js", request, Patience::Endless))
        .await
        .unwrap();
    assert_eq!(driver.take_kept(), [format!("{KEPT_MARK}1")]);
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
    let driven = fixture
        .run("text a\nnotify n\ntext b", Patience::Endless)
        .await;
    assert_eq!(driven, Driven::Ended(CellEnd::Completed));
    assert_eq!(fixture.stdout.text(), "a\nb\n");
}
