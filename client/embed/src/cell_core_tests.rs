// SPDX-License-Identifier: Apache-2.0
use super::*;

fn core() -> CellCore {
    let core = CellCore::new(CellId::new("1"), "exec".into());
    core.claim();
    core
}

fn notification(text: &str) -> CellEvent {
    CellEvent::Notification(text.into())
}

fn text(bytes: usize) -> ContentItem {
    ContentItem::Text("x".repeat(bytes))
}

#[test]
fn output_beyond_the_bound_is_refused_and_what_was_there_is_kept() {
    let core = core();
    assert!(core.add_output(vec![text(MAX_OUTPUT_BYTES - 1), text(1)]));
    assert!(!core.add_output(vec![text(1)]));
    assert_eq!(core.output().items().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_a_host_that_does_not_answer_for_a_bounded_time() {
    let core = core();
    let noted = core.note(notification("a"));
    let begun = Instant::now();
    core.published(noted).await;
    assert_eq!(begun.elapsed(), ORDER_DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn an_observer_waits_for_a_host_that_does_not_answer_for_a_bounded_time() {
    let core = core();
    let begun = Instant::now();
    let progress = core.observe(Duration::from_secs(5)).await;
    assert!(matches!(progress, Progress::Running(_)), "{progress:?}");
    assert_eq!(begun.elapsed(), Duration::from_secs(5) + ORDER_DEADLINE);
}

#[tokio::test]
async fn notes_come_in_their_order_and_more_than_the_bound_do_not_wait() {
    let core = core();
    let mut events = core.events();
    for number in 0..=MAX_WAITING_EVENTS {
        core.note(notification(&number.to_string()));
    }
    // One did not fit, so the oldest was published without waiting for output.
    core.add_output(vec![text(1)]);
    core.done(core.due());
    // Of a reader's own bound, too, one more than fits was published.
    let first = events.next().await.expect("an event");
    assert!(
        matches!(first, CellEvent::Missed { events: 2 }),
        "{first:?}"
    );
    let second = events.next().await.expect("an event");
    assert!(
        matches!(&second, CellEvent::Notification(text) if &**text == "1"),
        "{second:?}"
    );
}

#[tokio::test]
async fn what_is_noted_before_a_cell_is_claimed_is_kept_for_its_reader() {
    let core = CellCore::new(CellId::new("1"), "exec".into());
    assert!(core.is_followed(), "somebody may follow yet");
    core.note(notification("early"));
    core.note_without_output(notification("second"));
    let mut events = Hub::subscribe_from_start(&core.hub, false);
    core.claim();
    core.done(core.due());
    for expected in ["early", "second"] {
        let event = events.next().await.expect("an event");
        assert!(
            matches!(&event, CellEvent::Notification(text) if &**text == expected),
            "{event:?}"
        );
    }
    drop(events);
    assert!(!core.is_followed());
}

#[tokio::test]
async fn the_end_publishes_what_still_waits_and_counts_once() {
    let core = core();
    let mut events = core.events();
    core.note(notification("last"));
    core.end(Ok(Output::default()), None);
    core.end(
        Err(ExecError::Terminated {
            output: Output::default(),
        }),
        None,
    );
    assert!(matches!(
        events.next().await,
        Some(CellEvent::Notification(_))
    ));
    assert!(matches!(events.next().await, Some(CellEvent::Ended(Ok(_)))));
    assert!(events.next().await.is_none());
    assert_eq!(core.end_of().await, Ok(Output::default()));
}
