// SPDX-License-Identifier: Apache-2.0
//! The log of a door, tied to the traces of its clients.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use code_mode_grpc::tonic::Request;
use code_mode_grpc::v1;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::{DefaultGuard, set_default};
use tracing_subscriber::fmt::format::FmtSpan;

use crate::support::{Fixture, completed, outcome, started};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What this thread logs, as the host writes it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Takes what is logged until the guard is dropped.
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let lines = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::INFO)
            .with_ansi(false)
            .without_time()
            .with_span_events(FmtSpan::CLOSE)
            .with_writer(move || lines.clone())
            .finish();
        (log, set_default(subscriber))
    }

    /// The lines since the last look.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().expect("no panic"));
        let text = String::from_utf8(bytes).expect("it is text");
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A request of a client that traces.
fn traced(request: v1::ExecuteRequest, traceparent: &str) -> Request<v1::ExecuteRequest> {
    let mut request = Request::new(request);
    let value = traceparent.parse().expect("is ASCII");
    request.metadata_mut().insert("traceparent", value);
    request
}

#[tokio::test]
async fn what_is_logged_of_an_execute_names_its_trace_until_its_cell_is_closed() {
    let (log, _logging) = Log::start();
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (mut lease, mut session) = fixture.open(&mut client, Default::default()).await;
    log.take();
    let execute = traced(lease.execute("e1"), TRACE);
    let (executed, (ask, cell)) = tokio::join!(client.execute(execute), session.start("7"));
    let mut events = executed.expect("it starts").into_inner();
    started(&mut events).await;
    let id = lease.id.clone();
    let asked = format!(
        r#" WARN execute{{session="{id}" execution="e1" traceparent="{TRACE}"}}: door_side: a session is asked"#
    );
    assert_eq!(log.take(), [asked]);
    cell.observed(ask, completed(), "done");
    outcome(&mut events).await;
    assert_eq!(log.take(), [""; 0], "its cell is not closed");
    cell.closed();
    lease.event().await;
    let closed = format!(
        r#" INFO execute{{session="{id}" execution="e1" traceparent="{TRACE}" cell="7"}}: code_mode::timing: close"#
    );
    assert_eq!(log.take(), [closed]);
}

#[tokio::test]
async fn an_execute_that_is_refused_or_whose_session_ends_leaves_no_span_open() {
    let (log, _logging) = Log::start();
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let execute = traced(lease.execute("e1"), TRACE);
    let (executed, _cell) = tokio::join!(client.execute(execute), session.start("7"));
    let _events = executed.expect("it starts");
    log.take();
    let refused = client.execute(traced(lease.execute("e1"), TRACE)).await;
    refused.expect_err("the id was used");
    let [line] = &log.take()[..] else {
        panic!("one line");
    };
    assert!(line.contains(TRACE) && line.contains("close"), "{line}");
    assert!(!line.contains("cell="), "{line}");
    let refused = client.execute(traced(lease.execute("e2"), "no trace"));
    let refuse = async {
        let (ask, _) = session.asked().await;
        let message = "no".to_owned();
        session.answer(
            ask,
            Err(code_mode_api::SessionError::InvalidRequest { message }),
        );
    };
    let (refused, ()) = tokio::join!(refused, refuse);
    refused.expect_err("it is");
    let lines = log.take().join("\n");
    assert!(
        lines.contains(r#"execution="e2"}: code_mode::timing: close"#),
        "{lines}"
    );
    drop(lease);
    session.end().await;
    while !matches!(session.next().await, crate::support::Done::Dropped) {}
    let lines = log.take().join("\n");
    let closed =
        format!(r#"execution="e1" traceparent="{TRACE}" cell="7"}}: code_mode::timing: close"#);
    assert!(lines.contains(&closed), "{lines}");
}
