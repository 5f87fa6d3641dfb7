// SPDX-License-Identifier: Apache-2.0
use std::future::poll_fn;

use code_mode_protocol::{DelegateRequestId, FrameReader};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::time::{Instant, timeout};

use super::*;
use crate::messages;

/// Virtual time that a host has for a batch.
const DEADLINE: Duration = Duration::from_secs(3);
/// Bytes that the simulated pipe holds; less than most frames here.
const PIPE_BYTES: usize = 64;

fn frame(id: i64, text: &str) -> Frame {
    Frame {
        bytes: messages::delegate_error_frame(DelegateRequestId::new(id), text)
            .expect("a small frame"),
        request: None,
        _share: None,
    }
}

fn fixture() -> (Writer, FrameReader<DuplexStream>) {
    let (input, host) = duplex(PIPE_BYTES);
    (
        Writer::new(Box::new(input), DEADLINE),
        FrameReader::new(host),
    )
}

async fn write_once(writer: &mut Writer, outbox: &mut Vec<Frame>) -> Result<(), ConnectionFailure> {
    poll_fn(|context| Poll::Ready(writer.write(outbox, context))).await
}

/// Writes for as long as the host takes something, as the driver does.
async fn write_on(writer: &mut Writer, outbox: &mut Vec<Frame>) -> ConnectionFailure {
    poll_fn(|context| match writer.write(outbox, context) {
        Ok(()) => Poll::Pending,
        Err(failure) => Poll::Ready(failure),
    })
    .await
}

fn due(writer: &Writer) -> Option<Instant> {
    writer.overdue.as_ref().map(|overdue| overdue.deadline())
}

async fn next(host: &mut FrameReader<DuplexStream>) -> Vec<u8> {
    let payload = host.next_payload().await.expect("a whole frame");
    payload.expect("the input is open").to_vec()
}

#[tokio::test(start_paused = true)]
async fn frames_arrive_whole_and_in_order_through_a_pipe_smaller_than_each() {
    let (mut writer, mut host) = fixture();
    let count = 3 * MAX_FRAMES_PER_WRITE as i64;
    let frames = || (0..count).map(|id| frame(id, &"x".repeat(id as usize)));
    let mut outbox: Vec<_> = frames().collect();
    let reading = async {
        for expected in frames() {
            assert_eq!(next(&mut host).await, expected.bytes.payload());
        }
    };
    tokio::select! {
        failure = write_on(&mut writer, &mut outbox) => panic!("{failure}"),
        () = reading => {}
    }
    write_once(&mut writer, &mut outbox).await.expect("written");
    assert!(outbox.is_empty() && writer.batch.is_empty());
    assert!(writer.overdue.is_none(), "nothing is under way");
}

#[tokio::test(start_paused = true)]
async fn frames_that_become_ready_meanwhile_wait_for_the_next_batch() {
    let (mut writer, mut host) = fixture();
    let large = "x".repeat(PIPE_BYTES);
    let mut outbox = vec![frame(1, &large)];
    write_once(&mut writer, &mut outbox).await.expect("begun");
    let due = due(&writer).expect("the pipe is full");
    outbox.push(frame(2, &large));
    write_once(&mut writer, &mut outbox).await.expect("begun");
    assert_eq!((outbox.len(), self::due(&writer)), (1, Some(due)));

    tokio::time::advance(DEADLINE / 2).await;
    let first = tokio::select! {
        failure = write_on(&mut writer, &mut outbox) => panic!("{failure}"),
        first = next(&mut host) => first,
    };
    assert_eq!(first, frame(1, &large).bytes.payload());
    write_once(&mut writer, &mut outbox).await.expect("begun");
    assert!(outbox.is_empty());
    assert!(
        self::due(&writer) > Some(due),
        "the next batch has a deadline of its own"
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_that_takes_nothing_for_the_deadline_is_a_failure_and_its_input_is_closed() {
    let (mut writer, mut host) = fixture();
    let mut outbox = vec![frame(1, &"x".repeat(4 * PIPE_BYTES))];
    write_once(&mut writer, &mut outbox).await.expect("begun");
    tokio::time::advance(DEADLINE / 2).await;
    assert!(
        timeout(Duration::ZERO, host.next_payload()).await.is_err(),
        "only a part has come"
    );
    write_once(&mut writer, &mut outbox).await.expect("begun");
    // From here on the host reads no more, so what it has read before counts for nothing.
    tokio::time::advance(DEADLINE).await;
    let failure = write_once(&mut writer, &mut outbox).await;
    assert!(
        matches!(failure, Err(ConnectionFailure::WriteDeadline(DEADLINE))),
        "{failure:?}"
    );
    assert!(host.next_payload().await.is_err(), "it ends within a frame");
    // What comes after that stays where it is: it was never sent.
    outbox.push(frame(2, ""));
    write_once(&mut writer, &mut outbox).await.expect("nothing");
    assert_eq!(outbox.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_slow_but_steady_gets_a_batch_of_any_size() {
    let (input, mut host) = duplex(PIPE_BYTES);
    let mut writer = Writer::new(Box::new(input), DEADLINE);
    let large = frame(1, &"x".repeat(100 * PIPE_BYTES));
    let bytes = large.bytes.wire_bytes();
    let mut outbox = vec![large];
    let begun = Instant::now();
    let reading = async {
        let mut piece = [0; PIPE_BYTES];
        let mut read = 0;
        while read < bytes {
            tokio::time::sleep(DEADLINE * 2 / 3).await;
            read += host.read(&mut piece).await.expect("the input is open");
        }
    };
    tokio::select! {
        failure = write_on(&mut writer, &mut outbox) => panic!("{failure}"),
        () = reading => {}
    }
    assert!(begun.elapsed() > 50 * DEADLINE);
    assert!(writer.has_written_all());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_has_closed_its_input_is_a_failure() {
    let (mut writer, host) = fixture();
    drop(host);
    let failure = write_once(&mut writer, &mut vec![frame(1, "")]).await;
    assert!(
        matches!(failure, Err(ConnectionFailure::Write(_))),
        "{failure:?}"
    );
}

#[tokio::test]
async fn closing_ends_the_input_in_the_middle_of_a_frame() {
    let (input, mut host) = duplex(PIPE_BYTES);
    let mut writer = Writer::new(Box::new(input), DEADLINE);
    let mut outbox = vec![frame(1, &"x".repeat(2 * PIPE_BYTES))];
    write_once(&mut writer, &mut outbox).await.expect("begun");
    writer.close();
    let mut part = Vec::new();
    host.read_to_end(&mut part).await.expect("it has ended");
    assert_eq!(part.len(), PIPE_BYTES);
}
