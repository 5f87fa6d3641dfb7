// SPDX-License-Identifier: Apache-2.0
//! How fast messages are encoded, decoded and read, for a small message and for results of 1 MiB
//! and 32 MiB; run with `cargo bench -p code_mode_protocol`.
//!
//! Each figure is the best of several rounds, which is what the code can do when nothing else
//! disturbs it. A plain copy of the same bytes is given for comparison.

#![expect(
    clippy::print_stdout,
    reason = "the figures are what a benchmark is run for"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use code_mode_api::{
    CellId, CellResponse, CellStatus, CellTimings, ContentItem, SessionId, WaitRequest,
};
use code_mode_protocol::{
    AgreedCapabilities, ClientMessage, DelegateRequestId, DelegateValue, EncodedFrame, FrameReader,
    HostMessage, Message, OperationRequest, RequestId, decode,
};

/// Rounds of which the best counts.
const ROUNDS: usize = 25;

/// Bytes that a round handles at least.
const BYTES_PER_ROUND: usize = 2 << 20;

/// Most repetitions in a round.
const MAX_REPETITIONS: usize = 10_000;

/// The best time of one repetition.
fn best(bytes: usize, mut work: impl FnMut()) -> Duration {
    let repetitions = (BYTES_PER_ROUND / bytes).clamp(1, MAX_REPETITIONS);
    let round = || {
        let start = Instant::now();
        for _ in 0..repetitions {
            work();
        }
        start.elapsed() / u32::try_from(repetitions).unwrap_or(u32::MAX)
    };
    std::iter::repeat_with(round)
        .take(ROUNDS)
        .min()
        .unwrap_or_default()
}

fn report(name: &str, bytes: usize, time: Duration) {
    let rate = bytes as f64 / time.as_secs_f64() / 1e6;
    println!("{name:<44} {bytes:>9} bytes  {time:>12.3?}  {rate:>9.0} MB/s");
}

fn measure<M: Message>(name: &str, message: &M) {
    let agreed = AgreedCapabilities::none();
    let frame = EncodedFrame::encode(message, &agreed).expect("the message fits a frame");
    let bytes = frame.wire_bytes();
    let encode = || {
        black_box(EncodedFrame::encode(black_box(message), &agreed).expect("it did before"));
    };
    report(&format!("{name}, encode"), bytes, best(bytes, encode));
    let decode = || {
        let decoded: M = decode(black_box(frame.payload()), &agreed).expect("it was encoded");
        black_box(decoded);
    };
    report(&format!("{name}, decode"), bytes, best(bytes, decode));
    let copy = || {
        black_box(black_box(frame.as_bytes()).to_vec());
    };
    report(&format!("{name}, plain copy"), bytes, best(bytes, copy));
}

fn measure_reader(name: &str, frame: &EncodedFrame, count: usize) {
    let stream = frame.as_bytes().repeat(count);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let read = || {
        runtime.block_on(async {
            let mut reader = FrameReader::new(black_box(stream.as_slice()));
            while let Some(payload) = reader.next_payload().await.expect("whole frames") {
                black_box(payload);
            }
        });
    };
    let time = best(stream.len(), read) / u32::try_from(count).unwrap_or(u32::MAX);
    report(name, frame.wire_bytes(), time);
}

/// A tool's result of about this size: raw JSON, an array of small objects.
fn tool_result(bytes: usize) -> ClientMessage {
    let entry = r#"{"id":1234567,"name":"a name","tags":["x","y"],"score":0.25}"#;
    let json = format!("[{}]", vec![entry; bytes / (entry.len() + 1)].join(","));
    let result = serde_json::value::RawValue::from_string(json).expect("it is JSON");
    let result = Ok(DelegateValue::ToolResult { result });
    ClientMessage::DelegateResponse {
        id: DelegateRequestId::new(1),
        result,
    }
}

/// A cell's result of about this size: one text with a line break in every 64 bytes.
fn cell_result(bytes: usize) -> HostMessage {
    let text = format!("{}\n", "a".repeat(63)).repeat(bytes / 64);
    let result = Ok(CellResponse {
        cell_id: CellId::new("1"),
        status: CellStatus::Completed { error_text: None },
        content_items: vec![ContentItem::Text(text)],
        timings: CellTimings::default(),
        state_lost: None,
    });
    HostMessage::ExecuteInitialResponse {
        id: RequestId::new(1),
        result,
    }
}

fn main() {
    let small = ClientMessage::OperationRequest {
        id: RequestId::new(3),
        request: OperationRequest::Wait {
            session_id: SessionId::new("s1").expect("not empty"),
            request: WaitRequest {
                cell_id: CellId::new("1"),
                yield_time: Some(Duration::from_millis(50)),
            },
            max_output_tokens: None,
            output_range: None,
        },
    };
    measure("small message (a wait)", &small);
    for mib in [1, 32] {
        measure(
            &format!("{mib} MiB tool result, raw JSON"),
            &tool_result(mib << 20),
        );
        measure(
            &format!("{mib} MiB cell result, text"),
            &cell_result(mib << 20),
        );
    }
    let agreed = AgreedCapabilities::none();
    let small = EncodedFrame::encode(&small, &agreed).expect("it did before");
    measure_reader("small frames, read", &small, 10_000);
    let large = EncodedFrame::encode(&tool_result(32 << 20), &agreed).expect("it did before");
    measure_reader("32 MiB frame, read", &large, 1);
}
