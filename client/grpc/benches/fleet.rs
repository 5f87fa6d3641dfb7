// SPDX-License-Identifier: Apache-2.0
//! Load on hosts behind one address, and what becomes of it while hosts are killed, drained and added.
//!
//! Usage: `fleet ADDRESS CLIENTS SECONDS`. Each client has a connection of its own and one session after the
//! other, of [`CELLS_OF_A_SESSION`] cells; every cell calls two tools in parallel and takes [`CELL_MS`]. The token
//! that hosts ask for is in the file that the environment variable `CODE_MODE_TOKEN_FILE` names.
//! Prints a line for each second and one at the end. Exit status 1 when a call hung, or an answer was wrong.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use code_mode_api::{
    BoxFuture, CancellationSignal, CellStatus, CodeModeSession, ContentItem, ExecuteRequest,
    Notification, RawJson, SessionDelegate, SessionError, SessionOptions, SessionProvider,
    ToolError, ToolInvocation,
};
use code_mode_client_grpc::{Address, AddressConfig, AddressSessionProvider};
use code_mode_testsuite::tool;

/// Cells of one session, milliseconds that each waits between its calls and its end, and those that a tool takes.
const CELLS_OF_A_SESSION: usize = 10;
const CELL_MS: u64 = 1_000;
const TOOL_TIME: Duration = Duration::from_millis(20);

/// What has no answer after so long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a client that finds no host waits before it asks again.
const PAUSE: Duration = Duration::from_millis(100);

/// What came of everything that was asked.
#[derive(Default)]
struct Tally {
    started: AtomicU64,
    completed: AtomicU64,
    /// Cells that were running when their host was lost.
    lost: AtomicU64,
    /// Sessions and executes that found no host, or one that was about to end.
    refused: AtomicU64,
    hung: AtomicU64,
    wrong: AtomicU64,
    sessions: AtomicU64,
}

impl Tally {
    fn line(&self, second: u64) -> String {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        format!(
            "{second:>4} s  sessions {:>4}  started {:>7}  completed {:>7}  lost {:>4}  refused {:>4}  hung {}  wrong {}",
            now(&self.sessions),
            now(&self.started),
            now(&self.completed),
            now(&self.lost),
            now(&self.refused),
            now(&self.hung),
            now(&self.wrong),
        )
    }
}

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Answers each call with its input.
struct Echo;

impl SessionDelegate for Echo {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        Box::pin(async move {
            tokio::time::sleep(TOOL_TIME).await;
            Ok(invocation.input)
        })
    }

    fn notify(
        &self,
        _notification: Notification,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Works until the time is over, whatever becomes of the hosts.
async fn client(address: Address, tally: Arc<Tally>, until: Instant) {
    let mut config = AddressConfig::new(address);
    // A host that is about to end is left for another one.
    config.keep_store = false;
    config.token_file = std::env::var_os("CODE_MODE_TOKEN_FILE").map(PathBuf::from);
    while Instant::now() < until {
        let provider = AddressSessionProvider::new(config.clone());
        let opened = provider.open_session(SessionOptions::default(), Arc::new(Echo));
        match tokio::time::timeout(PATIENCE, opened).await {
            Ok(Ok(session)) => {
                one_more(&tally.sessions);
                work(&*session, &tally, until).await;
                tally.sessions.fetch_sub(1, Ordering::Relaxed);
                if tokio::time::timeout(PATIENCE, provider.shutdown())
                    .await
                    .is_err()
                {
                    one_more(&tally.hung);
                }
            }
            Ok(Err(_)) => {
                one_more(&tally.refused);
                tokio::time::sleep(PAUSE).await;
            }
            Err(_) => one_more(&tally.hung),
        }
    }
}

/// Runs the cells of one session, up to the first that finds no host.
async fn work(session: &dyn CodeModeSession, tally: &Tally, until: Instant) {
    for number in 0..CELLS_OF_A_SESSION {
        if Instant::now() >= until {
            return;
        }
        let source = format!(
            "const [a, b] = await Promise.all([tools.echo({number}), tools.echo(1)]);\n\
             await new Promise(done => setTimeout(done, {CELL_MS}));\n\
             text(a + b);"
        );
        let request = ExecuteRequest {
            tools: Arc::new([tool("echo")]),
            ..ExecuteRequest::new(source)
        };
        let cell = match tokio::time::timeout(PATIENCE, session.execute(request)).await {
            Ok(Ok(cell)) => cell,
            // It has no cell: nothing of it is known to run.
            Ok(Err(_)) => return one_more(&tally.refused),
            Err(_) => return one_more(&tally.hung),
        };
        one_more(&tally.started);
        match tokio::time::timeout(PATIENCE, cell.first_response).await {
            Ok(Ok(response)) => {
                let expected = [ContentItem::Text((number + 1).to_string())];
                let completed = CellStatus::Completed { error_text: None };
                if response.status == completed && response.content_items == expected {
                    one_more(&tally.completed);
                } else {
                    println!("wrong: {response:?}");
                    one_more(&tally.wrong);
                }
            }
            Ok(Err(SessionError::RuntimeLost { .. })) => return one_more(&tally.lost),
            Ok(Err(error)) => {
                println!("wrong: {error}");
                return one_more(&tally.wrong);
            }
            Err(_) => return one_more(&tally.hung),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let read = || {
        let [address, clients, seconds] = &arguments[..] else {
            return None;
        };
        Some((
            address.parse::<Address>().ok()?,
            clients.parse::<usize>().ok()?,
            seconds.parse::<u64>().ok()?,
        ))
    };
    let Some((address, clients, seconds)) = read() else {
        println!("usage: fleet ADDRESS CLIENTS SECONDS");
        return ExitCode::from(2);
    };
    let tally = Arc::new(Tally::default());
    let until = Instant::now() + Duration::from_secs(seconds);
    let working: Vec<_> = (0..clients)
        .map(|_| tokio::spawn(client(address.clone(), Arc::clone(&tally), until)))
        .collect();
    for second in 1..=seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!("{}", tally.line(second));
    }
    for client in working {
        if client.await.is_err() {
            one_more(&tally.wrong);
        }
    }
    println!("{}", tally.line(seconds));
    let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let unanswered = now(&tally.started).saturating_sub(
        now(&tally.completed) + now(&tally.lost) + now(&tally.wrong) + now(&tally.hung),
    );
    println!("cells without an answer: {unanswered}");
    ExitCode::from(u8::from(
        now(&tally.hung) > 0 || now(&tally.wrong) > 0 || unanswered > 0,
    ))
}
