// SPDX-License-Identifier: Apache-2.0
//! Reading: the outcomes, the memory held, and the number of reads.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::io::AsyncWriteExt;

use super::*;
use crate::ClientMessage;

fn frame(payload: &[u8]) -> Vec<u8> {
    [
        &u32::try_from(payload.len()).unwrap().to_le_bytes(),
        payload,
    ]
    .concat()
}

/// The first outcome of an input that ends after these bytes.
async fn first(bytes: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
    let mut reader = FrameReader::new(bytes);
    Ok(reader.next_payload().await?.map(<[u8]>::to_vec))
}

#[tokio::test]
async fn an_end_at_a_frame_boundary_is_clean() {
    assert!(matches!(first(&[]).await, Ok(None)));
    let bytes = frame(b"{}");
    let mut reader = FrameReader::new(bytes.as_slice());
    assert_eq!(reader.next_payload().await.unwrap().unwrap(), b"{}");
    assert!(matches!(reader.next_payload().await, Ok(None)));
    assert!(matches!(reader.next_payload().await, Ok(None)));
}

#[tokio::test]
async fn an_end_inside_a_length_is_an_error() {
    for count in 1..4 {
        let bytes = vec![0; count];
        let error = first(&bytes).await.unwrap_err();
        assert!(
            matches!(error, ReadError::Truncated { received, expected: None } if received == count),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_end_inside_a_payload_is_an_error_that_stays() {
    let bytes = frame(&vec![b'a'; 3 * READ_BUFFER_BYTES]);
    for count in [
        4,
        5,
        READ_BUFFER_BYTES,
        2 * READ_BUFFER_BYTES + 1,
        bytes.len() - 1,
    ] {
        let mut reader = FrameReader::new(&bytes[..count]);
        for _ in 0..2 {
            let error = reader.next_payload().await.unwrap_err();
            let ReadError::Truncated { received, expected } = error else {
                panic!("{error}")
            };
            assert_eq!((received, expected), (count, Some(bytes.len())));
        }
    }
}

#[tokio::test]
async fn a_length_over_the_cap_is_refused_and_nothing_is_allocated() {
    for length in [MAX_FRAME_BYTES + 1, u32::MAX as usize] {
        let bytes = u32::try_from(length).unwrap().to_le_bytes();
        let mut reader = FrameReader::new(bytes.as_slice());
        for _ in 0..2 {
            let error = reader.next_payload().await.unwrap_err();
            assert!(matches!(error, ReadError::TooLong { length: named } if named == length));
            assert_eq!(reader.payload.capacity(), 0);
        }
    }
}

#[tokio::test]
async fn a_payload_of_exactly_the_cap_is_read() {
    let bytes = frame(&vec![b'a'; MAX_FRAME_BYTES]);
    let payload = first(&bytes).await.unwrap().unwrap();
    assert_eq!(payload.len(), MAX_FRAME_BYTES);
    assert_eq!(payload.capacity(), MAX_FRAME_BYTES);
}

#[tokio::test]
async fn an_empty_payload_is_read_and_is_no_message() {
    assert_eq!(first(&frame(b"")).await.unwrap().unwrap(), b"");
    let bytes = frame(b"");
    let mut reader = FrameReader::new(bytes.as_slice());
    let message = reader
        .next_message::<ClientMessage>(&AgreedCapabilities::none())
        .await;
    assert!(matches!(message, Err(ReadError::Malformed(_))));
}

/// A peer that announces 64 MiB and sends little makes the reader hold little.
#[tokio::test]
async fn the_buffer_grows_with_the_data_received() {
    let (mut peer, input) = tokio::io::duplex(16 * 1024);
    let mut reader = FrameReader::new(input);
    let announced = u32::try_from(MAX_FRAME_BYTES).unwrap().to_le_bytes();
    peer.write_all(&announced).await.unwrap();
    let mut sent = 0;
    for _ in 0..200 {
        let chunk = [b'a'; 10_000];
        peer.write_all(&chunk).await.unwrap();
        sent += chunk.len();
        assert!(poll_once(reader.next_payload()).is_pending());
        assert_eq!(reader.payload.len(), sent);
        assert!(reader.payload.capacity() <= 2 * sent + READ_BUFFER_BYTES);
        // Gives the runtime's budget back, without which a read is pending for no other reason.
        tokio::task::yield_now().await;
    }
}

/// Polls a future once and drops it.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_read_that_is_dropped_at_any_byte_loses_nothing() {
    let payload = br#"{"type":"operation/cancel","id":7}"#;
    let (mut peer, input) = tokio::io::duplex(1024);
    let mut reader = FrameReader::new(input);
    for _ in 0..3 {
        let bytes = frame(payload);
        for (index, byte) in bytes.iter().enumerate() {
            assert!(
                poll_once(reader.next_payload()).is_pending(),
                "byte {index}"
            );
            peer.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(reader.next_payload().await.unwrap().unwrap(), payload);
    }
}

/// Gives all it has and counts how often it is asked.
struct Counted<'a> {
    bytes: &'a [u8],
    reads: usize,
}

impl AsyncRead for Counted<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reads += 1;
        std::pin::Pin::new(&mut self.bytes).poll_read(context, buffer)
    }
}

#[tokio::test]
async fn small_frames_that_come_together_take_one_read() {
    let bytes = frame(b"{}").repeat(1_000);
    let mut reader = FrameReader::new(Counted {
        bytes: &bytes,
        reads: 0,
    });
    for _ in 0..1_000 {
        assert_eq!(reader.next_payload().await.unwrap().unwrap(), b"{}");
    }
    assert_eq!(reader.input.reads, 1);
}

#[tokio::test]
async fn a_large_payload_takes_few_reads_and_leaves_what_follows() {
    let large = vec![b'a'; 8 * 1024 * 1024];
    let bytes = [frame(&large), frame(b"{}")].concat();
    let mut reader = FrameReader::new(Counted {
        bytes: &bytes,
        reads: 0,
    });
    assert_eq!(reader.next_payload().await.unwrap().unwrap(), large);
    assert!(reader.input.reads < 16, "{}", reader.input.reads);
    assert_eq!(reader.next_payload().await.unwrap().unwrap(), b"{}");
    assert!(matches!(reader.next_payload().await, Ok(None)));
}

#[tokio::test]
async fn an_input_that_fails_is_an_error() {
    struct Failing;
    impl AsyncRead for Failing {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
    }
    let error = FrameReader::new(Failing).next_payload().await.unwrap_err();
    assert!(matches!(error, ReadError::Io(_)), "{error}");
}

#[tokio::test]
async fn of_a_large_payload_no_more_room_is_kept_than_the_bound_says() {
    let large = vec![b'a'; KEPT_PAYLOAD_BYTES + READ_BUFFER_BYTES];
    let middle = vec![b'b'; KEPT_PAYLOAD_BYTES / 2];
    let bytes = [frame(&large), frame(b"{}"), frame(&middle)].concat();
    let mut reader = FrameReader::new(bytes.as_slice());
    assert_eq!(reader.next_payload().await.unwrap().unwrap(), large);
    assert!(reader.payload.capacity() >= large.len());
    assert_eq!(reader.next_payload().await.unwrap().unwrap(), b"{}");
    assert_eq!(reader.payload.capacity(), KEPT_PAYLOAD_BYTES);
    let room = reader.payload.as_ptr();
    assert_eq!(reader.next_payload().await.unwrap().unwrap(), middle);
    assert_eq!(
        reader.payload.as_ptr(),
        room,
        "the room that was kept is used"
    );
}
