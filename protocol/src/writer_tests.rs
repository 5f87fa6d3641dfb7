// SPDX-License-Identifier: Apache-2.0
//! Writing: order, number of writes and flushes, and outputs that take little or fail.

use std::pin::Pin;
use std::task::{Context, Poll};

use code_mode_api::ToolError;

use super::*;
use crate::{AgreedCapabilities, ClientMessage, DelegateRequestId, FrameReader, RequestId};

/// Keeps what is written and how.
#[derive(Default)]
struct Recording {
    bytes: Vec<u8>,
    writes: usize,
    flushes: usize,
    /// Most bytes that one write takes.
    most: Option<usize>,
    /// Bytes after which writing fails.
    fails_after: Option<usize>,
}

impl AsyncWrite for Recording {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self
            .fails_after
            .is_some_and(|limit| self.bytes.len() >= limit)
        {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(self.most.unwrap_or(usize::MAX));
        self.writes += 1;
        self.bytes.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn small(id: i64) -> EncodedFrame {
    let cancel = ClientMessage::OperationCancel {
        id: RequestId::new(id),
    };
    EncodedFrame::encode(&cancel, &AgreedCapabilities::none()).unwrap()
}

fn large(bytes: usize) -> EncodedFrame {
    let result = Err(ToolError {
        message: "a".repeat(bytes),
    });
    let response = ClientMessage::DelegateResponse {
        id: DelegateRequestId::new(1),
        result,
    };
    EncodedFrame::encode(&response, &AgreedCapabilities::none()).unwrap()
}

async fn check(frames: &[EncodedFrame], output: Recording) -> Recording {
    let mut writer = FrameWriter::new(output);
    writer.write_batch(frames).await.unwrap();
    assert!(writer.buffer.capacity() <= 2 * WRITE_BUFFER_BYTES);
    let output = writer.into_inner();
    assert_eq!(output.flushes, 1);
    let mut reader = FrameReader::new(output.bytes.as_slice());
    for frame in frames {
        assert_eq!(
            reader.next_payload().await.unwrap().unwrap(),
            frame.payload()
        );
    }
    assert!(reader.next_payload().await.unwrap().is_none());
    output
}

#[tokio::test]
async fn small_frames_go_together_in_one_write() {
    let frames: Vec<EncodedFrame> = (0..100).map(small).collect();
    assert_eq!(check(&frames, Recording::default()).await.writes, 1);
}

#[tokio::test]
async fn a_batch_is_written_in_order_whatever_the_sizes() {
    let frames = vec![
        small(1),
        large(100_000),
        small(2),
        small(3),
        large(WRITE_BUFFER_BYTES),
        small(4),
    ];
    // The small ones between the large ones go together; each large one goes by itself.
    assert_eq!(check(&frames, Recording::default()).await.writes, 5);
}

#[tokio::test]
async fn what_is_gathered_stays_within_the_write_buffer() {
    let frames: Vec<EncodedFrame> = (0..100).map(|_| large(10_000)).collect();
    let output = check(&frames, Recording::default()).await;
    assert_eq!(
        output.writes,
        output.bytes.len().div_ceil(6 * frames[0].wire_bytes())
    );
}

#[tokio::test]
async fn an_output_that_takes_few_bytes_gets_all_of_them() {
    let frames = vec![small(1), large(100_000), small(2)];
    check(
        &frames,
        Recording {
            most: Some(7),
            ..Recording::default()
        },
    )
    .await;
}

#[tokio::test]
async fn an_empty_batch_writes_nothing() {
    assert_eq!(check(&[], Recording::default()).await.writes, 0);
}

#[tokio::test]
async fn an_output_that_fails_is_an_error() {
    let output = Recording {
        fails_after: Some(0),
        ..Recording::default()
    };
    let error = FrameWriter::new(output).write(&small(1)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
