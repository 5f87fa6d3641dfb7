// SPDX-License-Identifier: Apache-2.0
//! Clients that do what no client should: what they can make the door hold, and that nothing stays behind.

use std::task::{Context, Waker};

use code_mode_api::waist::{Answer, Ask, Event, MINIMUM_EVENT_BYTES};
use code_mode_grpc::v1;
use code_mode_host_grpc::limits::{
    CONNECTION_WINDOW_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_HEADER_BYTES, MAX_STREAMS,
    STREAM_SEND_BYTES, STREAM_WINDOW_BYTES,
};
use code_mode_host_grpc::{ConnectionOptions, Owner, serve_connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, Raw, SERVICE,
    WINDOW_UPDATE, enclosed, frame, headers,
};
use crate::support::{Done, Fixture, OUTBOX_BYTES, PlayedCell, PlayedSession};

/// What the host may send on a stream of a client that reads.
const WINDOW: u32 = 1 << 20;

/// What serves a connection.
type Serving = JoinHandle<Result<(), hyper::Error>>;

async fn connect(fixture: &Fixture, window: u32) -> (Raw, Serving) {
    let (io, serving) = fixture.io();
    (Raw::greet(io, window).await, serving)
}

fn execute(session: &PlayedSession, execution_id: &str) -> v1::ExecuteRequest {
    v1::ExecuteRequest {
        session_id: session.id.to_string(),
        execution_id: execution_id.to_owned(),
        tool_call_id: "call".to_owned(),
        source: "text(1)".to_owned(),
        ..Default::default()
    }
}

async fn open(fixture: &mut Fixture, raw: &mut Raw) -> (u32, PlayedSession) {
    let request = v1::OpenSessionRequest::default();
    let lease = raw.call("OpenSession", &request).await;
    let session = fixture.opened.recv().await.expect("it was opened");
    (lease, session)
}

/// A session whose client takes tool calls, and its cell, which has begun.
async fn begin(fixture: &mut Fixture, raw: &mut Raw) -> (PlayedSession, PlayedCell) {
    let (_, mut session) = open(fixture, raw).await;
    let subscribe = v1::SubscribeToToolCallsRequest {
        session_id: session.id.to_string(),
        tool_names: Vec::new(),
    };
    raw.call("SubscribeToToolCalls", &subscribe).await;
    raw.call("Execute", &execute(&session, "e1")).await;
    let (_, cell) = session.start("1").await;
    assert!(raw.settled().await.is_some());
    (session, cell)
}

/// Plays the end of a session whose client is gone, whatever it was asked before. Gives what it was asked to
/// run.
async fn end(session: &mut PlayedSession) -> Vec<PlayedCell> {
    let mut cells = Vec::new();
    loop {
        match session.next().await {
            Done::Asked(ask, Ask::Execute(_)) => {
                let cell = session.cell(&(100 + cells.len()).to_string());
                let cell_id = cell.id.clone();
                cell.put(Event::Started { ask, cell_id });
                cells.push(cell);
            }
            Done::Asked(ask, Ask::Shutdown) => {
                cells.iter().for_each(PlayedCell::closed);
                session.answer(ask, Ok(Answer::Done));
                return cells;
            }
            _ => {}
        }
    }
}

/// The next ask must be for the end of a cell.
async fn terminated(session: &mut PlayedSession, cell: &PlayedCell) {
    match session.asked().await {
        (_, Ask::Terminate { cell_id }) => assert_eq!(cell_id, cell.id),
        (_, other) => panic!("{other:?}"),
    }
}

/// Nothing is left, and another client is served as ever.
async fn is_unharmed(fixture: &mut Fixture) {
    let door = fixture.served.door().clone();
    door.quiet().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let sessions = door.metrics().sessions.now();
    assert_eq!((sessions, door.metrics().cells.now()), (1, 0));
    let (executed, _) = tokio::join!(client.execute(lease.execute("e1")), session.start("1"));
    executed.expect("it starts");
    drop(lease);
    gone(&mut session).await;
    door.quiet().await;
}

/// Plays the end of a session whose client is gone, and sees the door let go of it.
async fn gone(session: &mut PlayedSession) -> Vec<PlayedCell> {
    let cells = end(session).await;
    while !matches!(session.next().await, Done::Dropped) {}
    cells
}

#[tokio::test]
async fn of_ten_thousand_streams_no_more_than_the_bound_are_served_at_one_time() {
    let mut fixture = Fixture::new().await;
    let (mut raw, serving) = connect(&fixture, WINDOW).await;
    let message = enclosed(&v1::OpenSessionRequest::default());
    let headers = headers(&format!("/{SERVICE}/OpenSession"), "");
    let mut goes_on = true;
    for _ in 0..10_000 {
        let stream = raw.stream();
        let mut bytes = frame(HEADERS, END_HEADERS, stream, &headers);
        bytes.extend(frame(DATA, END_STREAM, stream, &message));
        goes_on &= raw.send(&bytes).await;
    }
    // Whoever does not keep to the number that the host has named is refused, stream by stream or as a whole.
    let seen = raw.settled().await;
    assert_eq!(goes_on, seen.is_some());
    drop(raw);
    let _ = serving.await.expect("no panic");
    let mut opened = 0;
    let metrics = std::sync::Arc::clone(fixture.served.door().metrics());
    loop {
        tokio::task::yield_now().await;
        match fixture.opened.try_recv() {
            Ok(mut session) => {
                opened += 1;
                gone(&mut session).await;
            }
            Err(_) if metrics.sessions.now() == 0 => break,
            Err(_) => {}
        }
    }
    assert!(opened <= MAX_STREAMS, "{opened} were open at one time");
    is_unharmed(&mut fixture).await;
}

#[tokio::test]
async fn ten_thousand_streams_that_are_reset_at_once_leave_nothing() {
    let mut fixture = Fixture::new().await;
    let (mut raw, serving) = connect(&fixture, WINDOW).await;
    let message = enclosed(&v1::OpenSessionRequest::default());
    let headers = headers(&format!("/{SERVICE}/OpenSession"), "");
    for _ in 0..10_000 {
        let stream = raw.stream();
        let mut bytes = frame(HEADERS, END_HEADERS, stream, &headers);
        bytes.extend(frame(DATA, END_STREAM, stream, &message));
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        if !raw.send(&bytes).await {
            break;
        }
    }
    drop(raw);
    // The host may have ended the connection itself.
    let _ = serving.await.expect("no panic");
    let metrics = std::sync::Arc::clone(fixture.served.door().metrics());
    loop {
        // What was begun comes to its end first.
        tokio::task::yield_now().await;
        match fixture.opened.try_recv() {
            Ok(mut session) => {
                gone(&mut session).await;
            }
            Err(_) if metrics.sessions.now() == 0 => break,
            Err(_) => {}
        }
    }
    is_unharmed(&mut fixture).await;
}

#[tokio::test]
async fn streams_that_are_never_read_hold_their_own_cells_back_and_end_with_their_connection() {
    let mut fixture = Fixture::new().await;
    // It gives the host no room to send anything but headers.
    let (mut raw, serving) = connect(&fixture, 0).await;
    let (mut session, cell) = begin(&mut fixture, &mut raw).await;
    let input = format!("\"{}\"", "x".repeat(256 << 10));
    let event = input.len() + MINIMUM_EVENT_BYTES;
    let mut spoken = 0;
    while session.budget.held() + event <= OUTBOX_BYTES {
        spoken += 1;
        cell.call(spoken, "a", &input);
        assert!(spoken < 1_000, "nothing is held back");
    }
    let mut context = Context::from_waker(Waker::noop());
    assert!(cell.outbox.poll_room(256 << 10, &mut context).is_pending());
    drop(raw);
    serving
        .await
        .expect("no panic")
        .expect("the client is gone");
    let cells = gone(&mut session).await;
    assert!(cells.is_empty(), "it had begun before");
    drop(cell);
    assert_eq!(session.budget.held(), 0);
    is_unharmed(&mut fixture).await;
}

#[tokio::test]
async fn a_client_that_gives_room_to_send_and_reads_nothing_is_sent_no_more_than_the_bound() {
    let mut fixture = Fixture::new().await;
    let room = 1_u32 << 30;
    let (mut raw, _serving) = connect(&fixture, room).await;
    raw.frame(WINDOW_UPDATE, 0, 0, &room.to_be_bytes()).await;
    let (session, cell) = begin(&mut fixture, &mut raw).await;
    raw.reads_no_more();
    let input = format!("\"{}\"", "x".repeat(64 << 10));
    let event = input.len() + MINIMUM_EVENT_BYTES;
    let mut spoken = 0;
    while session.budget.held() + event <= OUTBOX_BYTES {
        spoken += 1;
        cell.call(spoken, "a", &input);
        // The connection takes what it may.
        tokio::task::yield_now().await;
        assert!(spoken < 1_000, "nothing is held back");
    }
    let spoken = usize::try_from(spoken).expect("a few") * event;
    let sent = spoken.saturating_sub(session.budget.held());
    // Beside it there are the buffer of the connection and the message that did not fit.
    let most = STREAM_SEND_BYTES + (64 << 10) + 2 * event;
    assert!(STREAM_SEND_BYTES <= sent && sent <= most, "{sent} bytes");
}

#[tokio::test]
async fn an_execute_that_is_reset_while_it_is_sent_leaves_no_cell() {
    let mut fixture = Fixture::new().await;
    for point in 0..4 {
        let (mut raw, serving) = connect(&fixture, WINDOW).await;
        let (_, mut session) = open(&mut fixture, &mut raw).await;
        let message = enclosed(&execute(&session, "e1"));
        let stream = raw.begin(&format!("/{SERVICE}/Execute")).await;
        match point {
            0 => true,
            1 => raw.frame(DATA, 0, stream, &message[..3]).await,
            2 => raw.frame(DATA, 0, stream, &message).await,
            _ => raw.frame(DATA, END_STREAM, stream, &message).await,
        };
        assert!(raw.reset(stream).await);
        assert!(raw.settled().await.is_some(), "the connection goes on");
        drop(raw);
        serving
            .await
            .expect("no panic")
            .expect("the client is gone");
        let cells = gone(&mut session).await;
        assert!(point > 1 || cells.is_empty(), "there was no message");
        is_unharmed(&mut fixture).await;
    }
}

#[tokio::test]
async fn an_execute_that_is_reset_after_it_was_taken_ends_its_cell() {
    let mut fixture = Fixture::new().await;
    let (mut raw, _serving) = connect(&fixture, WINDOW).await;
    let (_, mut session) = open(&mut fixture, &mut raw).await;
    // Before it has a cell, and after.
    let stream = raw.call("Execute", &execute(&session, "e1")).await;
    let (ask, Ask::Execute(_)) = session.asked().await else {
        panic!("no execute");
    };
    assert!(raw.reset(stream).await);
    assert!(raw.settled().await.is_some());
    let cell = session.cell("1");
    let cell_id = cell.id.clone();
    cell.put(Event::Started { ask, cell_id });
    terminated(&mut session, &cell).await;
    cell.closed();
    let stream = raw.call("Execute", &execute(&session, "e2")).await;
    let (_, cell) = session.start("2").await;
    // The start has come.
    while raw
        .next()
        .await
        .is_some_and(|frame| (frame.kind, frame.stream) != (DATA, stream))
    {}
    assert!(raw.reset(stream).await);
    terminated(&mut session, &cell).await;
    cell.closed();
    assert_eq!(fixture.served.door().metrics().cells.now(), 0);
}

#[tokio::test]
async fn huge_headers_are_refused_and_headers_without_an_end_end_the_connection() {
    let mut fixture = Fixture::new().await;
    let (mut raw, serving) = connect(&fixture, WINDOW).await;
    let path = format!("/{SERVICE}/OpenSession");
    let stream = raw.stream();
    // A frame has 16 KiB at most, so they come in two.
    let long = headers(&path, &"x".repeat(MAX_HEADER_BYTES as usize));
    let (first, rest) = long.split_at(16 << 10);
    assert!(raw.frame(HEADERS, END_STREAM, stream, first).await);
    assert!(raw.frame(CONTINUATION, END_HEADERS, stream, rest).await);
    let mut answer = raw.next().await.expect("the connection goes on");
    while answer.stream != stream {
        answer = raw.next().await.expect("the connection goes on");
    }
    assert!(answer.kind == RST_STREAM || answer.flags & END_STREAM != 0);
    let stream = raw.stream();
    raw.frame(HEADERS, END_STREAM, stream, first).await;
    let part = vec![b'x'; 16 << 10];
    let mut sent = 0;
    while raw.frame(CONTINUATION, 0, stream, &part).await {
        sent += 1;
        assert!(sent < 1_000, "16 MiB of headers are taken");
    }
    assert!(serving.await.expect("no panic").is_err());
    assert!(fixture.opened.try_recv().is_err());
    is_unharmed(&mut fixture).await;
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_nothing_is_asked() {
    let mut fixture = Fixture::new().await;
    let (mut raw, _serving) = connect(&fixture, WINDOW).await;
    let (_, mut session) = open(&mut fixture, &mut raw).await;
    // A number where each message has a text or a message, a length beyond the end, a tag that never ends; a
    // prefix that promises more than comes, more than may come, or compression.
    let bodies: [&[u8]; 6] = [
        &[0, 0, 0, 0, 2, 8, 1],
        &[0, 0, 0, 0, 2, 10, 99],
        &[0, 0, 0, 0, 3, 255, 255, 255],
        &[0, 0, 0, 0, 99, 10, 1],
        &[0, 255, 255, 255, 255, 10, 1],
        &[1, 0, 0, 0, 2, 10, 0],
    ];
    let methods = [
        "OpenSession",
        "CloseSession",
        "SubscribeToToolCalls",
        "CompleteToolCall",
        "AcknowledgeNotification",
        "Execute",
        "Wait",
        "YieldObservation",
        "CancelWait",
        "Terminate",
        "NoSuchMethod",
    ];
    let ours = "code_mode.v1.CodeModeExtensions";
    let paths = methods.map(|method| format!("/{SERVICE}/{method}"));
    let ours = ["ExportStore", "ImportStore"].map(|method| format!("/{ours}/{method}"));
    for path in paths.iter().chain(&ours) {
        for body in bodies {
            let stream = raw.begin(path).await;
            assert!(raw.frame(DATA, END_STREAM, stream, body).await);
            loop {
                let frame = raw.next().await.expect("the connection goes on");
                let ends = frame.kind == RST_STREAM || frame.flags & END_STREAM != 0;
                let is_message = frame.kind == DATA && !frame.payload.is_empty();
                assert!(frame.stream != stream || !is_message, "{path}: {body:?}");
                if frame.stream == stream && ends {
                    break;
                }
            }
        }
    }
    assert!(session.done.try_recv().is_err(), "nothing was asked");
    assert!(fixture.opened.try_recv().is_err(), "nothing was opened");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_silent_and_answers_no_ping_is_let_go_in_time() {
    let fixture = Fixture::new().await;
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let options = ConnectionOptions {
        owner: Owner::of_new_connection(),
        tokens: None,
        keepalive: true,
        drain: fixture.drain.clone(),
    };
    let served = fixture.served.clone();
    let serving = tokio::spawn(async move { serve_connection(&served, theirs, options).await });
    let begun = Instant::now();
    // It answers none.
    let _raw = Raw::greet(ours, WINDOW).await;
    let ended = serving.await.expect("no panic");
    assert!(ended.is_err_and(|error| error.is_timeout()));
    let taken = begun.elapsed();
    let most = KEEPALIVE_INTERVAL + KEEPALIVE_TIMEOUT;
    assert!(most <= taken && taken < 2 * most, "{taken:?}");
}

/// A setting of HTTP/2 in the payload of a frame of settings.
fn setting(payload: &[u8], id: u16) -> Option<u32> {
    payload.chunks_exact(6).find_map(|setting| {
        let (name, value) = setting.split_first_chunk()?;
        let value = u32::from_be_bytes(value.try_into().ok()?);
        (u16::from_be_bytes(*name) == id).then_some(value)
    })
}

/// The next frame of a connection: its kind, its stream and its payload.
async fn next_frame(io: &mut DuplexStream) -> (u8, u8, Vec<u8>) {
    let mut head = [0; 9];
    io.read_exact(&mut head).await.expect("it goes on");
    let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    io.read_exact(&mut payload).await.expect("it goes on");
    (head[3], head[8], payload)
}

fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload.try_into().expect("four bytes"))
}

#[tokio::test]
async fn a_client_is_told_its_bounds_and_one_that_sends_more_than_its_window_is_stopped() {
    const SETTINGS: u8 = 4;
    const DEFAULT_WINDOW: u32 = 65_535;
    const FLOW_CONTROL_ERROR: u32 = 3;
    let fixture = Fixture::new().await;
    let (mut io, theirs) = tokio::io::duplex(8 << 20);
    let options = ConnectionOptions {
        owner: Owner::of_new_connection(),
        tokens: None,
        keepalive: false,
        drain: fixture.drain.clone(),
    };
    let served = fixture.served.clone();
    let serving = tokio::spawn(async move { serve_connection(&served, theirs, options).await });
    let mut greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    greeting.extend(frame(SETTINGS, 0, 0, &[]));
    io.write_all(&greeting).await.expect("there is room");
    let (kind, _, settings) = next_frame(&mut io).await;
    assert_eq!(kind, SETTINGS);
    assert_eq!(setting(&settings, 3), Some(MAX_STREAMS));
    assert_eq!(setting(&settings, 4), Some(STREAM_WINDOW_BYTES));
    assert_eq!(setting(&settings, 6), Some(MAX_HEADER_BYTES));
    let window = loop {
        if let (WINDOW_UPDATE, 0, more) = next_frame(&mut io).await {
            break DEFAULT_WINDOW + number(&more);
        }
    };
    assert_eq!(window, CONNECTION_WINDOW_BYTES);
    // All of it is there before the host looks, so it has no time to make room.
    let path = format!("/{SERVICE}/OpenSession");
    let mut burst = frame(HEADERS, END_HEADERS, 1, &headers(&path, ""));
    let part = vec![0; 16 << 10];
    for _ in 0..=STREAM_WINDOW_BYTES as usize / part.len() {
        burst.extend(frame(DATA, 0, 1, &part));
    }
    io.write_all(&burst).await.expect("there is room");
    let stopped = loop {
        match next_frame(&mut io).await {
            (RST_STREAM, 1, code) => break number(&code),
            (GOAWAY, _, why) => break number(&why[4..8]),
            _ => {}
        }
    };
    assert_eq!(stopped, FLOW_CONTROL_ERROR);
    drop(io);
    // Whether that ends the connection is for HTTP/2 to say.
    let _ = serving.await.expect("no panic");
}
