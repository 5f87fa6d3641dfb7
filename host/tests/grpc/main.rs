// SPDX-License-Identifier: Apache-2.0
//! The built program with its gRPC listeners, as its clients and operators have it.

mod leases;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use code_mode_grpc::tonic::transport::{Channel, Endpoint};
use code_mode_grpc::tonic::{Code, Request, Streaming};
use code_mode_grpc::tonic_health::pb::HealthCheckRequest;
use code_mode_grpc::tonic_health::pb::health_client::HealthClient;
use code_mode_grpc::v1;
use code_mode_grpc::v1::code_mode_host_client::CodeModeHostClient;
use code_mode_grpc::v1::execute_event::Event;
use code_mode_grpc::v1::execution_outcome::Outcome;

/// How long a host may take to end.
const GUARD: Duration = Duration::from_secs(30);

/// A program of this package: Cargo and Bazel say where it is.
fn host_program() -> String {
    program(
        option_env!("CARGO_BIN_EXE_code_mode_host"),
        "CODE_MODE_HOST",
    )
}

fn program(built: Option<&str>, variable: &str) -> String {
    let named = built.map(str::to_owned);
    let named = named.or_else(|| std::env::var(variable).ok());
    named.unwrap_or_else(|| panic!("neither Cargo nor {variable} says where the program is"))
}

struct Host {
    child: Child,
    /// The lines of standard output that were read: one for each address.
    places: Vec<String>,
}

impl Host {
    /// Starts a host that announces so many places.
    fn start(arguments: &[&str], places: usize) -> Self {
        Self::logging("warn", arguments, places)
    }

    /// As [`start`](Self::start), and it logs what `filter` lets through.
    fn logging(filter: &str, arguments: &[&str], places: usize) -> Self {
        let mut child = Command::new(host_program())
            .args(arguments)
            .env("RUST_LOG", filter)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the host starts");
        let stdout = child.stdout.as_mut().expect("it has one");
        let lines = BufReader::new(stdout).lines().take(places);
        let places = lines.collect::<Result<_, _>>().expect("they are text");
        Self { child, places }
    }

    /// Starts a host that is handed this socket, as systemd does it, and announces one place.
    fn handed(socket: OwnedFd, arguments: &[&str]) -> Self {
        let mut child = Command::new("sh")
            // The standard library hands descriptors over as the standard ones alone.
            .args([
                "-c",
                "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"",
                "sh",
            ])
            .arg(host_program())
            .args(arguments)
            .stdin(Stdio::from(socket))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the host starts");
        let stdout = child.stdout.as_mut().expect("it has one");
        let lines = BufReader::new(stdout).lines().take(1);
        let places = lines.collect::<Result<_, _>>().expect("they are text");
        Self { child, places }
    }

    async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.places[0].clone())
            .expect("is an address")
            .connect()
            .await
            .expect("it connects")
    }

    /// The lines of its log, as they come.
    fn log(&mut self) -> std::sync::mpsc::Receiver<String> {
        let stderr = self.child.stderr.take().expect("it has one");
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // A test that wants no more of them has ended.
            let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line))
        });
        lines
    }

    fn terminate(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// The exit status, once it has ended.
    fn ended(mut self) -> (Option<i32>, String) {
        let mut stderr = self.child.stderr.take().expect("it has one");
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).map(|_| text)
        });
        let (sender, ended) = std::sync::mpsc::channel();
        let pid = self.child.id();
        std::thread::spawn(move || {
            if ended.recv_timeout(GUARD).is_err() {
                // A host that hangs is killed, which the status shows.
                let _ = Command::new("kill")
                    .args(["-KILL", &pid.to_string()])
                    .status();
            }
        });
        let status = self.child.wait().expect("it can be waited for");
        // The watch may be over.
        let _ = sender.send(());
        let text = reader.join().expect("no panic").expect("is text");
        (status.code(), text)
    }
}

fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("tokio starts")
}

fn finish(arguments: &[&str]) -> Output {
    let mut command = Command::new(host_program());
    let command = command.args(arguments).stdin(Stdio::null());
    command.output().expect("the host starts")
}

/// Opens a session and gives its lease and id.
async fn open(client: &mut CodeModeHostClient<Channel>) -> (Streaming<v1::SessionEvent>, String) {
    let opened = client.open_session(v1::OpenSessionRequest::default()).await;
    let mut lease = opened.expect("it opens").into_inner();
    let event = lease.message().await.expect("no error").expect("an event");
    match event.event {
        Some(v1::session_event::Event::Opened(opened)) => (lease, opened.session_id),
        other => panic!("{other:?}"),
    }
}

/// Takes every tool call of a session.
async fn subscribe(
    client: &mut CodeModeHostClient<Channel>,
    session_id: &str,
) -> Streaming<v1::ToolCall> {
    let subscribe = v1::SubscribeToToolCallsRequest {
        session_id: session_id.to_owned(),
        tool_names: Vec::new(),
    };
    let subscribed = client.subscribe_to_tool_calls(subscribe).await;
    subscribed.expect("it subscribes").into_inner()
}

/// A request to run a script that may call the tool `a`.
fn execute(session_id: &str, source: &str) -> v1::ExecuteRequest {
    v1::ExecuteRequest {
        session_id: session_id.to_owned(),
        execution_id: "e".to_owned(),
        tool_call_id: "call".to_owned(),
        source: source.to_owned(),
        enabled_tools: vec![v1::ToolDefinition {
            name: "a".to_owned(),
            tool_name: Some(v1::ToolName {
                name: "a".to_owned(),
                namespace: None,
            }),
            kind: 1,
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The answer 1 to a tool call.
fn complete(session_id: &str, call: v1::ToolCall) -> v1::CompleteToolCallRequest {
    let succeeded = v1::ToolCallSucceeded {
        output_json: "1".into(),
    };
    v1::CompleteToolCallRequest {
        session_id: session_id.to_owned(),
        invocation_id: call.invocation_id,
        outcome: Some(v1::complete_tool_call_request::Outcome::Succeeded(
            succeeded,
        )),
    }
}

#[test]
fn the_built_program_keeps_every_rule_of_grpc() {
    let runner = program(
        option_env!("CARGO_BIN_EXE_conformance_grpc"),
        "CODE_MODE_CONFORMANCE_GRPC",
    );
    let run = |arguments: &[&str]| Command::new(&runner).args(arguments).output();
    let output = run(&["--host", &host_program()]).expect("the runner starts");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{table}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        table.contains("cells/result") && table.ends_with(", 0 differ\n"),
        "{table}"
    );
    let wrong = run(&[
        "--host",
        &host_program(),
        "--rule",
        "health",
        "--",
        "--nonsense",
    ]);
    assert!(
        wrong.is_ok_and(|output| output.status.code() == Some(0)),
        "no rule was played"
    );
    let broken = run(&["--host", "/bin/true", "--rule", "sessions/health"]);
    assert!(broken.is_ok_and(|output| output.status.code() != Some(0)));
}

#[test]
fn sigterm_lets_a_running_cell_end_and_opens_nothing_new() {
    let host = Host::start(&["--listen", "grpc://127.0.0.1:0", "--drain", "600"], 1);
    assert!(host.places[0].starts_with("http://127.0.0.1:"));
    tokio().block_on(async {
        let channel = host.channel().await;
        let mut client = CodeModeHostClient::new(channel.clone());
        let mut health = HealthClient::new(channel.clone());
        let watched = health.watch(HealthCheckRequest::default()).await;
        let mut watched = watched.expect("it is watched").into_inner();
        let mut status = async || {
            let status = watched.message().await.expect("no error");
            status.expect("it goes on").status
        };
        assert_eq!(status().await, 1);
        let (mut lease, session_id) = open(&mut client).await;
        let mut calls = subscribe(&mut client, &session_id).await;
        let execute = execute(&session_id, "await tools.a(); text('done')");
        let started = client.execute(execute).await;
        let mut events = started.expect("it starts").into_inner();
        let call = calls.message().await.expect("no error").expect("a call");
        host.terminate();
        assert_eq!(status().await, 2, "it serves no more");
        let complete = complete(&session_id, call);
        let again = client.open_session(v1::OpenSessionRequest::default()).await;
        assert_eq!(again.expect_err("it drains").code(), Code::Unavailable);
        let completed = client.complete_tool_call(complete).await;
        completed.expect("a running cell gets its answers");
        let mut last = None;
        while let Ok(Some(event)) = events.message().await {
            last = event.event;
        }
        let Some(Event::Outcome(outcome)) = last else {
            panic!("{last:?}");
        };
        assert_eq!(
            outcome.outcome,
            Some(Outcome::Completed(v1::Completed { error_text: None }))
        );
        while lease.message().await.is_ok_and(|event| event.is_some()) {}
    });
    assert_eq!(host.ended().0, Some(0));
}

#[test]
fn sigterm_ends_a_cell_whose_time_is_over() {
    let host = Host::start(&["--listen", "grpc://127.0.0.1:0", "--drain", "0"], 1);
    tokio().block_on(async {
        let mut client = CodeModeHostClient::new(host.channel().await);
        let (mut lease, session_id) = open(&mut client).await;
        let started = client.execute(execute(&session_id, "for (;;) {}")).await;
        let mut events = started.expect("it starts").into_inner();
        assert!(events.message().await.expect("no error").is_some());
        host.terminate();
        while events.message().await.is_ok_and(|event| event.is_some()) {}
        while lease.message().await.is_ok_and(|event| event.is_some()) {}
    });
    assert_eq!(host.ended().0, Some(0));
}

#[test]
fn a_client_that_closes_standard_input_ends_the_host() {
    let host = Host::start(&["--listen", "grpc+stdio://"], 0);
    assert_eq!(host.ended(), (Some(0), String::new()));
}

#[test]
fn standard_input_ends_the_other_listeners_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("s");
    let listen = format!("grpc+unix://{}", socket.display());
    let host = Host::start(&["--listen", "grpc+stdio://", "--listen", &listen], 0);
    let (status, said) = host.ended();
    assert_eq!(status, Some(0));
    assert!(said.contains(&listen), "{said}");
    assert!(!socket.exists());
}

#[test]
fn a_tcp_socket_that_is_handed_over_is_served() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    let host = Host::handed(listener.into(), &["--listen", "grpc+systemd://"]);
    assert_eq!(host.places, [format!("http://{address}")]);
    tokio().block_on(async {
        let mut client = CodeModeHostClient::new(host.channel().await);
        let (_lease, _session) = open(&mut client).await;
    });
    host.terminate();
    assert_eq!(host.ended().0, Some(0));
}

#[test]
fn a_unix_socket_that_is_handed_over_is_served_and_its_path_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("it listens");
    let host = Host::handed(
        listener.into(),
        &["--listen", "grpc+systemd://", "--confine", "strict"],
    );
    assert_eq!(host.places, [format!("grpc+unix://{}", path.display())]);
    let mut client = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    client.set_read_timeout(Some(GUARD)).expect("a socket");
    let no_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    client
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .and_then(|()| client.write_all(&no_settings))
        .expect("is sent");
    let mut frame = [0; 9];
    client.read_exact(&mut frame).expect("it answers");
    assert_eq!(frame[3], 4, "the first frame of a server of HTTP/2");
    drop(client);
    host.terminate();
    assert_eq!(host.ended().0, Some(0));
    // Whoever has bound it listens on, and starts the next host.
    assert!(path.exists());
}

#[test]
fn metrics_count_what_was_done() {
    const FILLS_ITS_HEAP: &str = "const all = []; for (;;) all.push(new Array(1000).fill(1.5))";
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("it has one").to_string();
    drop(free);
    let arguments = ["--listen", "grpc://127.0.0.1:0", "--metrics", &address];
    let host = Host::start(&arguments, 1);
    tokio().block_on(async {
        let mut client = CodeModeHostClient::new(host.channel().await);
        let (_lease, session_id) = open(&mut client).await;
        for (number, source) in ["text(1)", "throw 1", FILLS_ITS_HEAP]
            .into_iter()
            .enumerate()
        {
            let execute = v1::ExecuteRequest {
                session_id: session_id.clone(),
                execution_id: number.to_string(),
                tool_call_id: "call".to_owned(),
                source: source.to_owned(),
                ..Default::default()
            };
            let events = client.execute(execute).await;
            let mut events = events.expect("it starts").into_inner();
            while events.message().await.expect("no error").is_some() {}
        }
        let mut stream = TcpStream::connect(&address).expect("it listens");
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").expect("is sent");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("is read");
        assert!(page.contains("\ncode_mode_grpc_sessions 1\n"), "{page}");
        for told in [
            "\ncode_mode_v8_threads ",
            "\ncode_mode_active_cells 0\n",
            "\ncode_mode_birth_seconds_bucket{le=\"+Inf\"} 3\n",
            "\ncode_mode_birth_seconds_count 3\n",
            "\ncode_mode_tool_call_seconds_count 0\n",
            "\ncode_mode_ends_total{how=\"completed\"} 1\n",
            "\ncode_mode_ends_total{how=\"failed\"} 1\n",
            "\ncode_mode_ends_total{how=\"limit\"} 1\n",
        ] {
            assert!(page.contains(told), "{told} is not in {page}");
        }
    });
    host.terminate();
    assert_eq!(host.ended().0, Some(0));
}

#[test]
fn a_trace_is_found_in_the_calls_of_its_script_and_in_the_log_of_its_cell() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for cells in ["forks", "threads"] {
        let arguments = ["--listen", "grpc://127.0.0.1:0", "--cells", cells];
        let mut host = Host::logging("code_mode::timing=debug", &arguments, 1);
        let log = host.log();
        tokio().block_on(async {
            let mut client = CodeModeHostClient::new(host.channel().await);
            let (mut lease, session_id) = open(&mut client).await;
            let mut calls = subscribe(&mut client, &session_id).await;
            let mut request = Request::new(execute(&session_id, "await tools.a()"));
            let value = TRACE.parse().expect("is ASCII");
            request.metadata_mut().insert("traceparent", value);
            let started = client.execute(request).await;
            let mut events = started.expect("it starts").into_inner();
            let call = calls.message().await.expect("no error").expect("a call");
            assert_eq!(call.traceparent.as_deref(), Some(TRACE));
            let completed = client.complete_tool_call(complete(&session_id, call)).await;
            completed.expect("it is taken");
            while events.message().await.expect("no error").is_some() {}
            assert!(lease.message().await.expect("no error").is_some());
        });
        // They come when the last that belongs to the cell is gone, after its client was told.
        let mut missing = vec![
            "}:queue{",
            "}:cell{",
            " cell=\"1\"}: code_mode::timing: close",
        ];
        let trace = format!("traceparent=\"{TRACE}\"");
        while !missing.is_empty() {
            let line = log.recv_timeout(GUARD);
            let line = line.unwrap_or_else(|_| panic!("{cells}: {missing:?} never came"));
            missing.retain(|step| !line.contains(&trace) || !line.contains(step));
        }
        host.terminate();
        let status = host.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0));
    }
}

#[test]
fn what_cannot_be_listened_on_is_said() {
    for (arguments, reason) in [
        (&["--listen", "grpc://0.0.0.0:0"][..], "beyond this machine"),
        (
            &["--listen", "grpc+unix:///nowhere/x"],
            "Failed to listen on /nowhere/x",
        ),
        (
            &["--listen", "grpc+systemd://"],
            "Failed to listen on grpc+systemd://: no socket was handed over",
        ),
        (
            &["--listen", "grpc://127.0.0.1:0", "--token-file", "/nowhere"],
            "Failed to read the tokens from /nowhere",
        ),
        (
            &[
                "--listen",
                "grpc://127.0.0.1:0",
                "--tls-cert",
                "/nowhere",
                "--tls-key",
                "/nowhere",
            ],
            "Failed to read the certificate from /nowhere",
        ),
    ] {
        let refused = finish(arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(refused.stdout.is_empty());
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains(reason), "{said}");
    }
}
