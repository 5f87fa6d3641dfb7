use code_mode_protocol::{AgreedCapabilities, DelegateRequestId, HostMessage};

use super::*;

fn frame() -> EncodedFrame {
    let message = HostMessage::DelegateCancel {
        id: DelegateRequestId::new(1),
    };
    EncodedFrame::encode(&message, &AgreedCapabilities::none()).unwrap()
}

fn queue(frames: usize, bytes: usize, hard: usize) -> Outgoing {
    Outgoing::new(&ConnectionLimits {
        outgoing_frames: frames,
        outgoing_bytes: bytes,
        outgoing_bytes_hard: hard,
        ..ConnectionLimits::default()
    })
}

async fn batch(queue: &Outgoing) -> usize {
    match queue.next_batch().await {
        Batch::Frames(frames) => frames.len(),
        other => panic!("frames are queued, not {other:?}"),
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
        queue.push(frame()).unwrap();
    }
    assert_eq!(batch(&queue).await, 3);
    assert!(!is_ready(queue.next_batch()));
    queue.close();
    assert!(matches!(queue.next_batch().await, Batch::End));
}

#[tokio::test]
async fn the_queue_is_full_until_frames_are_written_not_merely_taken() {
    let queue = queue(2, 1 << 20, 1 << 20);
    queue.push(frame()).unwrap();
    assert!(is_ready(queue.room()));
    queue.push(frame()).unwrap();
    assert!(!is_ready(queue.room()));
    assert_eq!(batch(&queue).await, 2);
    assert!(!is_ready(queue.room()));
    queue.written(frame().wire_bytes());
    assert!(is_ready(queue.room()));
}

#[tokio::test]
async fn the_queue_is_full_by_bytes_as_well() {
    let queue = queue(100, frame().wire_bytes() * 2, 1 << 20);
    queue.push(frame()).unwrap();
    assert!(is_ready(queue.room()));
    queue.push(frame()).unwrap();
    assert!(!is_ready(queue.room()));
}

#[tokio::test]
async fn an_answer_never_waits_for_room() {
    let queue = queue(1, 1 << 20, 1 << 20);
    for _ in 0..10 {
        queue.push(frame()).unwrap();
    }
    assert_eq!(batch(&queue).await, 10);
}

#[tokio::test]
async fn passing_the_hard_bound_ends_the_queue_at_once() {
    let bytes = frame().wire_bytes();
    let queue = queue(1, 1, bytes * 2);
    queue.push(frame()).unwrap();
    queue.push(frame()).unwrap();
    assert_eq!(queue.push(frame()), Err(QueueClosed));
    match queue.next_batch().await {
        Batch::Overflow(held) => assert_eq!(held, bytes * 3),
        other => panic!("the queue has overflowed, not {other:?}"),
    }
}

#[test]
fn a_thread_that_waits_for_room_goes_on_when_there_is_some() {
    let queue = queue(1, 1 << 20, 1 << 20);
    queue.push(frame()).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.push_waiting(frame()));
        queue.written(frame().wire_bytes());
        assert_eq!(waiting.join().unwrap(), Ok(()));
    });
}

#[test]
fn threads_that_wait_for_room_are_let_go_when_the_queue_is_closed() {
    let queue = queue(1, 1 << 20, 1 << 20);
    queue.push(frame()).unwrap();
    std::thread::scope(|scope| {
        let waiting = [(); 4].map(|()| scope.spawn(|| queue.push_waiting(frame())));
        queue.close();
        for thread in waiting {
            assert_eq!(thread.join().unwrap(), Err(QueueClosed));
        }
    });
    assert!(is_ready(queue.room()));
}

#[test]
fn nobody_waits_any_more_once_waiting_is_over() {
    let queue = queue(1, 1 << 20, 1 << 20);
    queue.push(frame()).unwrap();
    queue.stop_waiting();
    assert_eq!(queue.push_waiting(frame()), Ok(()));
    assert!(is_ready(queue.room()));
}

#[test]
fn a_stall_is_counted_from_the_last_progress_while_the_queue_is_full() {
    let queue = queue(1, 1 << 20, 1 << 20);
    let deadline = Duration::from_secs(5);
    let start = Instant::now();
    assert_eq!(queue.stalls_at(start, deadline), None);
    queue.push(frame()).unwrap();
    let later = Instant::now() + Duration::from_secs(60);
    assert!(
        queue
            .stalls_at(start, deadline)
            .is_some_and(|at| at < later)
    );
    assert_eq!(queue.stalls_at(later, deadline), Some(later + deadline));
}
