// SPDX-License-Identifier: Apache-2.0
use std::io::{PipeReader, Read};

use code_mode_api::{CellId, SessionId};
use code_mode_protocol::{AgreedCapabilities, DelegateRequestId, HostMessage};
use tokio::net::unix::pipe;

use super::*;
use crate::ServeError;
use crate::writer::write_frames;

fn frame() -> EncodedFrame {
    let message = HostMessage::DelegateCancel {
        id: DelegateRequestId::new(1),
    };
    EncodedFrame::encode(&message, &AgreedCapabilities::none()).unwrap()
}

fn queue(frames: usize, bytes: usize, hard: usize) -> Outgoing {
    Outgoing::new(&limits(frames, bytes, hard), None)
}

fn limits(frames: usize, bytes: usize, hard: usize) -> ConnectionLimits {
    ConnectionLimits {
        outgoing_frames: frames,
        outgoing_bytes: bytes,
        outgoing_bytes_hard: hard,
        ..ConnectionLimits::default()
    }
}

/// Takes note of so many of the test's frames.
fn note_written(queue: &Outgoing, frames: usize) {
    let bytes = frames * frame().wire_bytes();
    queue.written(Written { frames, bytes });
}

async fn batch(queue: &Outgoing) -> usize {
    match queue.next_batch().await {
        Batch::Frames(frames) => frames.slices().len(),
        Batch::Failed(_) | Batch::Overflow(_) | Batch::End => panic!("frames are queued"),
    }
}

/// Whether a future resolves without waiting for anything.
fn is_ready(future: impl Future) -> bool {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    future.as_mut().poll(&mut context).is_ready()
}

#[tokio::test]
async fn frames_that_are_ready_together_come_together() {
    let queue = queue(8, 1 << 20, 1 << 20);
    for _ in 0..3 {
        queue.push(frame(), None).unwrap();
    }
    assert_eq!(batch(&queue).await, 3);
    assert!(!is_ready(queue.next_batch()));
    queue.close();
    assert!(matches!(queue.next_batch().await, Batch::End));
}

#[tokio::test]
async fn the_queue_is_full_until_frames_are_written_not_merely_taken() {
    let queue = queue(2, 1 << 20, 1 << 20);
    queue.push(frame(), None).unwrap();
    assert!(is_ready(queue.room()));
    queue.push(frame(), None).unwrap();
    assert!(!is_ready(queue.room()));
    assert_eq!(batch(&queue).await, 2);
    assert!(!is_ready(queue.room()));
    note_written(&queue, 1);
    assert!(is_ready(queue.room()));
}

#[tokio::test]
async fn the_queue_is_full_by_bytes_as_well() {
    let queue = queue(100, frame().wire_bytes() * 2, 1 << 20);
    queue.push(frame(), None).unwrap();
    assert!(is_ready(queue.room()));
    queue.push(frame(), None).unwrap();
    assert!(!is_ready(queue.room()));
}

#[tokio::test]
async fn an_answer_never_waits_for_room() {
    let queue = queue(1, 1 << 20, 1 << 20);
    for _ in 0..10 {
        queue.push(frame(), None).unwrap();
    }
    assert_eq!(batch(&queue).await, 10);
}

#[tokio::test]
async fn passing_the_hard_bound_ends_the_queue_at_once() {
    let bytes = frame().wire_bytes();
    let queue = queue(1, 1, bytes * 2);
    queue.push(frame(), None).unwrap();
    queue.push(frame(), None).unwrap();
    assert_eq!(queue.push(frame(), None), Err(QueueClosed));
    match queue.next_batch().await {
        Batch::Overflow(held) => assert_eq!((held.frames, held.bytes), (3, bytes * 3)),
        Batch::Frames(_) | Batch::Failed(_) | Batch::End => panic!("the queue has overflowed"),
    }
}

#[tokio::test]
async fn passing_the_hard_bound_of_frames_ends_the_queue_at_once() {
    let limits = ConnectionLimits {
        outgoing_frames_hard: 2,
        ..limits(1, 1 << 20, 1 << 20)
    };
    let queue = Outgoing::new(&limits, None);
    queue.push(frame(), None).unwrap();
    queue.push(frame(), None).unwrap();
    assert_eq!(queue.push(frame(), None), Err(QueueClosed));
    match queue.next_batch().await {
        Batch::Overflow(held) => assert_eq!(held.frames, 3),
        Batch::Frames(_) | Batch::Failed(_) | Batch::End => panic!("the queue has overflowed"),
    }
}

#[tokio::test]
async fn whoever_waits_for_room_goes_on_when_there_is_some_and_when_there_never_will_be() {
    for end in [
        |queue: &Outgoing| note_written(queue, 1),
        Outgoing::close,
        Outgoing::stop_waiting,
    ] {
        let queue = Arc::new(queue(1, 1 << 20, 1 << 20));
        queue.push(frame(), None).unwrap();
        assert!(!queue.has_room());
        let waiting = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.room().await }
        });
        tokio::task::yield_now().await;
        end(&queue);
        waiting.await.unwrap();
        assert!(queue.has_room());
    }
}

#[test]
fn a_stall_is_counted_from_the_last_progress_while_the_queue_is_full() {
    let queue = queue(1, 1 << 20, 1 << 20);
    let deadline = Duration::from_secs(5);
    let start = Instant::now();
    assert_eq!(queue.stalls_at(start, deadline), None);
    queue.push(frame(), None).unwrap();
    let later = Instant::now() + Duration::from_secs(60);
    assert!(
        queue
            .stalls_at(start, deadline)
            .is_some_and(|at| at < later)
    );
    assert_eq!(queue.stalls_at(later, deadline), Some(later + deadline));
}

/// A queue whose frames threads write into a pipe, the pipe's end, and the writer task's output.
fn piped(limits: &ConnectionLimits) -> (Outgoing, PipeReader, pipe::Sender) {
    let (client, output) = std::io::pipe().unwrap();
    let second = output.try_clone().unwrap();
    let sender = pipe::Sender::from_owned_fd(output.into()).unwrap();
    let direct = DirectOutput::new(second.into());
    (Outgoing::new(limits, Some(direct)), client, sender)
}

/// A frame that names its sender and its place among that one's frames, and has this length.
fn numbered(sender: usize, number: usize, length: usize) -> EncodedFrame {
    let message = HostMessage::CellClosed {
        session_id: SessionId::new("x".repeat(length)).unwrap(),
        cell_id: CellId::new(format!("{sender}/{number}")),
    };
    EncodedFrame::encode(&message, &AgreedCapabilities::none()).unwrap()
}

/// The payload of the next frame; `None` at the end.
fn payload(client: &mut PipeReader) -> Option<serde_json::Value> {
    let mut length = [0; 4];
    client.read_exact(&mut length).ok()?;
    let mut payload = vec![0; u32::from_le_bytes(length) as usize];
    client.read_exact(&mut payload).expect("frames are whole");
    Some(serde_json::from_slice(&payload).expect("frames hold JSON"))
}

/// Reads frames on a thread of its own, so that a writer that waits in vain fails by its deadline.
fn read_all(mut client: PipeReader) -> std::thread::JoinHandle<Vec<serde_json::Value>> {
    std::thread::spawn(move || std::iter::from_fn(|| payload(&mut client)).collect())
}

const GUARD: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_thread_writes_its_frame_by_itself_while_the_client_reads() {
    // Nothing but the pushes could write: there is no writer task.
    let (queue, mut client, _sender) = piped(&limits(8, 1 << 20, 1 << 20));
    for number in 0..100 {
        queue.push(numbered(0, number, 1), None).unwrap();
        let frame = payload(&mut client).unwrap();
        assert_eq!(frame["cellId"], format!("0/{number}"));
    }
    drop(queue.put(queue.lock(), numbered(0, 100, 1), None).unwrap());
    assert_eq!(queue.lock().unwritten_frames, 1);
    queue.push(numbered(0, 101, 1), None).unwrap();
    assert_eq!(payload(&mut client).unwrap()["cellId"], "0/100");
    assert_eq!(payload(&mut client).unwrap()["cellId"], "0/101");
    assert!(is_ready(queue.room()) && !is_ready(queue.next_batch()));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_many_threads_come_whole_and_in_the_order_of_each_thread() {
    const THREADS: usize = 8;
    const FRAMES: usize = 500;
    // Small bounds, so that threads wait for room; lengths around those of a pipe's pages and of the
    // pipe itself, so that writes stop half way.
    let (queue, client, sender) = piped(&limits(16, 1 << 20, 1 << 30));
    let queue = Arc::new(queue);
    let frames = read_all(client);
    let writer = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { write_frames(sender, &queue, GUARD).await }
    });
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                for number in 0..FRAMES {
                    let length = [1, 100, 4_096, 70_000][(thread + number) % 4];
                    queue.room().await;
                    queue.push(numbered(thread, number, length), None).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.await.unwrap();
    }
    queue.close();
    tokio::time::timeout(GUARD, writer)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let mut next = [0; THREADS];
    for frame in frames.join().unwrap() {
        let (thread, number) = frame["cellId"].as_str().unwrap().split_once('/').unwrap();
        let next = &mut next[thread.parse::<usize>().unwrap()];
        assert_eq!(number.parse(), Ok(*next));
        *next += 1;
    }
    assert_eq!(next, [FRAMES; THREADS]);
    let state = queue.lock();
    assert_eq!((state.unwritten_frames, state.unwritten_bytes), (0, 0));
}

#[tokio::test]
async fn a_client_that_stops_reading_within_a_frame_gets_the_rest_from_the_writer_task() {
    const LENGTH: usize = 4 << 20;
    let (queue, mut client, sender) = piped(&limits(2, 16 << 20, 1 << 30));
    queue.push(numbered(0, 0, LENGTH), None).unwrap();
    // The pipe is full, and the thread went on.
    assert_eq!(queue.lock().turn, Turn::Task);
    client.read_exact(&mut [0; 4]).unwrap();
    // Later frames go behind the rest although there is room for them.
    queue.push(numbered(0, 1, 1), None).unwrap();
    assert!(!is_ready(queue.room()));
    let rest = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        bytes
    });
    queue.close();
    let writing = write_frames(sender, &queue, GUARD);
    tokio::time::timeout(GUARD, writing).await.unwrap().unwrap();
    let expected = [
        numbered(0, 0, LENGTH).as_bytes(),
        numbered(0, 1, 1).as_bytes(),
    ]
    .concat();
    assert!(
        rest.join().unwrap() == expected[4..],
        "the rest is whole and in order"
    );
}

#[tokio::test]
async fn a_client_that_never_reads_the_rest_of_a_frame_stalls_the_connection() {
    let (queue, _client, sender) = piped(&limits(1, 1 << 20, 1 << 30));
    queue.push(numbered(0, 0, 4 << 20), None).unwrap();
    let deadline = Duration::from_millis(20);
    let writing = write_frames(sender, &queue, deadline);
    let error = tokio::time::timeout(GUARD, writing)
        .await
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, ServeError::Stalled { .. }), "{error}");
}

#[tokio::test]
async fn a_thread_that_finds_the_client_gone_fails_the_connection_as_the_writer_task_would() {
    let (queue, client, sender) = piped(&limits(8, 1 << 20, 1 << 20));
    drop(client);
    queue.push(numbered(0, 0, 1), None).unwrap();
    assert_eq!(queue.push(numbered(0, 1, 1), None), Err(QueueClosed));
    let writing = write_frames(sender, &queue, GUARD);
    let error = tokio::time::timeout(GUARD, writing)
        .await
        .unwrap()
        .unwrap_err();
    match error {
        ServeError::Write(error) => assert_eq!(error.kind(), io::ErrorKind::BrokenPipe),
        other => panic!("a write has failed, not {other}"),
    }
}

#[tokio::test]
async fn a_closed_queue_keeps_no_descriptor_of_the_output() {
    let (queue, mut client, sender) = piped(&limits(8, 1 << 20, 1 << 20));
    queue.push(numbered(0, 0, 1), None).unwrap();
    queue.close();
    write_frames(sender, &queue, GUARD).await.unwrap();
    assert!(payload(&mut client).is_some());
    assert_eq!(payload(&mut client), None);
}

#[tokio::test]
async fn a_thread_leaves_the_rest_to_the_writer_task_when_others_queue_more_and_more() {
    let queue = queue(100, 1 << 20, 1 << 20);
    drop(queue.put(queue.lock(), frame(), None).unwrap());
    let mut writes = 0;
    queue.write_by(queue.lock(), |frames| {
        writes += 1;
        // Others push meanwhile; none of them writes, since they do not have the turn.
        queue.push(frame(), None).unwrap();
        queue.push(frame(), None).unwrap();
        Ok(frames.slices().iter().map(|slice| slice.len()).sum())
    });
    assert_eq!(writes, WRITES_IN_A_ROW);
    assert_eq!(queue.lock().unwritten_frames, 2);
    assert_eq!(batch(&queue).await, 2);
}

#[tokio::test]
async fn a_hard_bound_that_is_passed_while_a_write_waits_fails_the_connection_at_once() {
    let (queue, _client, sender) = piped(&limits(1, 1 << 20, 8 << 20));
    let queue = Arc::new(queue);
    queue.push(numbered(0, 0, 4 << 20), None).unwrap();
    let writing = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { write_frames(sender, &queue, GUARD).await }
    });
    // The writer is stuck in the middle of the frame.
    tokio::task::yield_now().await;
    let refused = queue.push(numbered(0, 1, 4 << 20), None);
    assert_eq!(refused, Err(QueueClosed));
    let start = Instant::now();
    let error = writing.await.unwrap().unwrap_err();
    assert!(
        matches!(error, ServeError::OutgoingOverflow { frames: 2, .. }),
        "{error}"
    );
    assert!(start.elapsed() < GUARD);
}

#[tokio::test]
async fn what_waits_for_room_elsewhere_counts_towards_the_hard_bound_of_a_full_queue() {
    let queue = queue(1, 1 << 20, 1_000);
    queue.bound(2_000);
    queue.push(frame(), None).unwrap();
    queue.bound(500);
    assert!(!is_ready(queue.overflowed()));
    queue.bound(1_000);
    assert_eq!(queue.overflowed().await.frames, 1);
    assert_eq!(queue.push(frame(), None), Err(QueueClosed));
}
