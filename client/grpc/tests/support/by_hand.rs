// SPDX-License-Identifier: Apache-2.0
//! A host of HTTP/2 frames by hand, which does with each stream just what a test says.

use std::collections::{HashMap, VecDeque};

use code_mode_client_grpc::Address;
use code_mode_grpc::prost::Message;
use code_mode_grpc::v1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const MAX_CONCURRENT_STREAMS: u8 = 3;

/// Codes of errors, as RFC 9113 numbers them.
pub const NO_ERROR: u32 = 0;
pub const INTERNAL_ERROR: u32 = 2;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;

/// The status of gRPC for a call that a host has not.
const UNIMPLEMENTED: &str = "12";

/// The stream of the session's lease: the first is the question what the host has.
pub const LEASE: u32 = 3;
/// The stream of the session's calls, the last before its first execute.
pub const CALLS: u32 = 5;

/// Where connections are taken by hand.
pub struct ByHand {
    /// Where it listens.
    pub address: Address,
    listener: TcpListener,
}

/// One connection, with one session.
pub struct Connection {
    stream: TcpStream,
    /// Streams that have begun while the message of another one came.
    begun: VecDeque<u32>,
    /// What has come of the messages of these.
    messages: HashMap<u32, (Vec<u8>, bool)>,
}

/// An execute that has come.
pub struct Execute {
    /// Its stream.
    pub stream: u32,
    /// What it is called.
    pub id: String,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl ByHand {
    /// Listens on a port of this machine.
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("it has one").to_string();
        Self {
            address: Address::Http { authority },
            listener,
        }
    }

    /// Takes a connection, and opens the session that is asked for.
    pub async fn opens(&self) -> Connection {
        let mut connection = self.begins_to_open().await;
        connection.begins_to_answer(CALLS).await;
        connection
    }

    /// Takes a connection, has no extensions, and opens the session that is asked for, all but the answer to
    /// the last call before its first execute, which is for [`CALLS`].
    pub async fn begins_to_open(&self) -> Connection {
        let (stream, _) = self.listener.accept().await.expect("a client");
        let mut connection = Connection {
            stream,
            begun: VecDeque::new(),
            messages: HashMap::new(),
        };
        let mut preface = [0; 24];
        let read = connection.stream.read_exact(&mut preface).await;
        read.expect("the preface");
        connection.send(SETTINGS, 0, 0, &[]).await;
        let described = connection.request().await.0;
        let unimplemented = headers(&[("grpc-status", UNIMPLEMENTED)]);
        let flags = END_HEADERS | END_STREAM;
        connection
            .send(HEADERS, flags, described, &unimplemented)
            .await;
        let lease = connection.request().await.0;
        assert_eq!(lease, LEASE);
        connection.begins_to_answer(lease).await;
        let opened = v1::session_event::Event::Opened(v1::SessionOpened {
            session_id: "by-hand".to_owned(),
            ..Default::default()
        });
        connection.says(opened).await;
        let calls = connection.request().await.0;
        assert_eq!(calls, CALLS);
        connection
    }

    /// Whether somebody has connected who was not taken.
    pub async fn has_another(&self) -> bool {
        tokio::select! {
            biased;
            _ = self.listener.accept() => true,
            // Connections to this machine are made before the client goes on.
            () = tokio::task::yield_now() => false,
        }
    }
}

impl Connection {
    /// The next execute, when all of it has come.
    pub async fn execute(&mut self) -> Execute {
        let (stream, message) = self.request().await;
        let request = v1::ExecuteRequest::decode(message.as_slice()).expect("an execute");
        Execute {
            stream,
            id: request.execution_id,
        }
    }

    /// Takes no more streams than these at one time from now on.
    pub async fn takes_streams(&mut self, number: u32) {
        let mut settings = vec![0, MAX_CONCURRENT_STREAMS];
        settings.extend(number.to_be_bytes());
        self.send(SETTINGS, 0, 0, &settings).await;
        loop {
            let frame = self.next().await;
            if frame.kind == SETTINGS && frame.flags & ACK != 0 {
                return;
            }
        }
    }

    /// Answers with headers, and nothing yet.
    pub async fn begins_to_answer(&mut self, stream: u32) {
        self.send(HEADERS, END_HEADERS, stream, &headers(&[])).await;
    }

    /// Runs an execute: its cell starts, completes without output, and is closed.
    pub async fn runs(&mut self, execute: &Execute) {
        use v1::execute_event::Event;
        use v1::execution_outcome::Outcome;
        let cell_id = "1".to_owned();
        let execution_id = execute.id.clone();
        self.begins_to_answer(execute.stream).await;
        let started = Event::Started(v1::ExecutionStarted {
            execution_id: execution_id.clone(),
            cell_id: cell_id.clone(),
        });
        let outcome = Event::Outcome(v1::ExecutionOutcome {
            cell_id: cell_id.clone(),
            outcome: Some(Outcome::Completed(v1::Completed { error_text: None })),
            ..Default::default()
        });
        for event in [started, outcome] {
            let event = v1::ExecuteEvent { event: Some(event) };
            self.message(execute.stream, &event).await;
        }
        let closed = v1::session_event::Event::CellClosed(v1::CellClosed {
            execution_id,
            cell_id,
            final_tool_call_sequence: 0,
        });
        self.says(closed).await;
    }

    /// Breaks a stream off.
    pub async fn resets(&mut self, stream: u32, code: u32) {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    /// Says that it looks at no stream above `last` any more.
    pub async fn goes_away(&mut self, last: u32, code: u32) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend(code.to_be_bytes());
        self.send(GOAWAY, 0, 0, &payload).await;
    }

    /// Says nothing more, and that this is all.
    pub async fn ends(&mut self) {
        self.stream.shutdown().await.expect("the client is there");
    }

    /// Resolves when the client has heard all that was said so far.
    pub async fn is_heard(&mut self) {
        self.send(PING, 0, 0, &[7; 8]).await;
        loop {
            let frame = self.next().await;
            if frame.kind == PING && frame.flags & ACK != 0 {
                return;
            }
        }
    }

    /// Hears the client until it has closed its side.
    pub async fn hears_the_end(&mut self) {
        let mut heard = Vec::new();
        // One that is broken off is closed as well.
        let _ = self.stream.read_to_end(&mut heard).await;
    }

    async fn says(&mut self, event: v1::session_event::Event) {
        let event = v1::SessionEvent { event: Some(event) };
        self.message(LEASE, &event).await;
    }

    async fn message(&mut self, stream: u32, message: &impl Message) {
        let message = message.encode_to_vec();
        let length = u32::try_from(message.len()).expect("short");
        let mut payload = vec![0];
        payload.extend(length.to_be_bytes());
        payload.extend(message);
        self.send(DATA, 0, stream, &payload).await;
    }

    /// The stream of the request that has begun next, once it has come whole, and its message.
    async fn request(&mut self) -> (u32, Vec<u8>) {
        loop {
            if let Some(stream) = self.begun.front()
                && let Some((_, true)) = self.messages.get(stream)
                && let Some(stream) = self.begun.pop_front()
                && let Some((mut message, _)) = self.messages.remove(&stream)
            {
                // What stands before a message: whether it is compressed, and its length.
                return (stream, message.split_off(5));
            }
            let frame = self.next().await;
            if frame.kind == HEADERS {
                self.begun.push_back(frame.stream);
            }
            if frame.kind == DATA {
                let (message, is_whole) = self.messages.entry(frame.stream).or_default();
                message.extend(frame.payload);
                *is_whole = frame.flags & END_STREAM != 0;
            }
        }
    }

    /// The next frame, after those that are answered at once.
    async fn next(&mut self) -> Frame {
        loop {
            let mut head = [0; 9];
            let read = self.stream.read_exact(&mut head).await;
            read.expect("the client is there");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            let read = self.stream.read_exact(&mut payload).await;
            read.expect("the whole frame");
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match kind {
                SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]).await,
                PING if flags & ACK == 0 => self.send(PING, ACK, 0, &payload).await,
                _ => {
                    return Frame {
                        kind,
                        flags,
                        stream,
                        payload,
                    };
                }
            }
        }
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        // A client that has closed the connection hears nothing, and the test sees what it did.
        let _ = self.stream.write_all(&bytes).await;
    }
}

/// The headers of an answer of gRPC, with these more.
fn headers(more: &[(&str, &str)]) -> Vec<u8> {
    let fixed = [(":status", "200"), ("content-type", "application/grpc")];
    let mut bytes = Vec::new();
    for (name, value) in fixed.iter().chain(more) {
        // A literal that is not to be remembered, name and value as they are.
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).expect("short"));
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}
