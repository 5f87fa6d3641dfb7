// SPDX-License-Identifier: Apache-2.0
use super::*;

fn text(text: impl Into<String>) -> CellEvent {
    CellEvent::Output(Arc::new(ContentItem::Text(text.into())))
}

fn shown(event: Option<CellEvent>) -> String {
    match event {
        Some(CellEvent::Output(item)) => match &*item {
            ContentItem::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        },
        Some(CellEvent::Missed { events }) => format!("missed {events}"),
        Some(CellEvent::Ended(Ok(_))) => "ended".to_owned(),
        None => "over".to_owned(),
        Some(other) => panic!("{other:?}"),
    }
}

fn end() -> CellEvent {
    CellEvent::Ended(Ok(Output::default()))
}

#[tokio::test]
async fn every_reader_gets_every_event_from_when_it_came() {
    let hub = Arc::new(Hub::default());
    let mut first = Hub::subscribe(&hub);
    hub.publish(text("a"));
    let mut second = first.clone();
    hub.publish(text("b"));
    hub.publish(end());
    for expected in ["a", "b", "ended", "over"] {
        assert_eq!(shown(first.next().await), expected);
    }
    for expected in ["b", "ended", "over"] {
        assert_eq!(shown(second.next().await), expected);
    }
}

#[tokio::test]
async fn a_reader_after_the_end_gets_the_end() {
    let hub = Arc::new(Hub::default());
    hub.publish(text("a"));
    hub.publish(end());
    hub.publish(text("too late"));
    let mut late = Hub::subscribe(&hub);
    assert_eq!(shown(late.next().await), "ended");
    assert_eq!(shown(late.next().await), "over");
}

#[tokio::test]
async fn a_slow_reader_misses_the_oldest_events_and_is_told_how_many() {
    let hub = Arc::new(Hub::default());
    let mut slow = Hub::subscribe(&hub);
    let mut quick = Hub::subscribe(&hub);
    for number in 0..MAX_WAITING_EVENTS + 7 {
        hub.publish(text(number.to_string()));
        assert_eq!(shown(quick.next().await), number.to_string());
    }
    hub.publish(end());
    // The end has displaced one more.
    assert_eq!(shown(slow.next().await), "missed 8");
    for number in 8..MAX_WAITING_EVENTS + 7 {
        assert_eq!(shown(slow.next().await), number.to_string());
    }
    assert_eq!(shown(slow.next().await), "ended");
    assert_eq!(shown(quick.next().await), "ended");
}

#[tokio::test]
async fn a_slow_reader_is_bounded_in_bytes_too() {
    let hub = Arc::new(Hub::default());
    let mut slow = Hub::subscribe(&hub);
    let half = "x".repeat(MAX_WAITING_BYTES / 2);
    for _ in 0..3 {
        hub.publish(text(half.clone()));
    }
    hub.publish(text("y"));
    hub.publish(end());
    // Of two halves and one byte, one half had to go as well.
    assert_eq!(shown(slow.next().await), "missed 2");
    assert_eq!(shown(slow.next().await).len(), half.len());
    assert_eq!(shown(slow.next().await), "y");
    assert_eq!(shown(slow.next().await), "ended");
    assert_eq!(slow.held.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn one_event_may_be_larger_than_the_bound() {
    let hub = Arc::new(Hub::default());
    let mut reader = Hub::subscribe(&hub);
    hub.publish(text("small"));
    hub.publish(text("x".repeat(MAX_WAITING_BYTES + 1)));
    assert_eq!(shown(reader.next().await), "missed 1");
    assert_eq!(shown(reader.next().await).len(), MAX_WAITING_BYTES + 1);
}

#[tokio::test]
async fn a_reader_that_was_dropped_is_none() {
    let hub = Arc::new(Hub::default());
    assert!(!hub.has_readers());
    let reader = Hub::subscribe(&hub);
    assert!(hub.has_readers());
    drop(reader);
    assert!(!hub.has_readers());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_must_miss_nothing_is_given_room() {
    let hub = Arc::new(Hub::default());
    let mut slow = Hub::subscribe(&hub);
    let mut lossless = Hub::subscribe_from_start(&hub, true);
    for number in 0..MAX_WAITING_EVENTS {
        hub.room(|| false).await;
        hub.publish(text(number.to_string()));
    }
    assert!(!hub.has_room());
    let wait = std::time::Duration::from_secs(1);
    let waited = tokio::time::timeout(wait, hub.room(|| false)).await;
    assert!(waited.is_err(), "the reader has not read");
    hub.room(|| true).await;
    // What was on its way still comes.
    hub.publish(text("more"));
    assert_eq!(shown(slow.next().await), "missed 1");
    for number in 0..2 {
        assert_eq!(shown(lossless.next().await), number.to_string());
    }
    hub.room(|| false).await;
    let large = text("x".repeat(MAX_WAITING_BYTES));
    hub.publish(large);
    assert!(!hub.has_room(), "full of bytes");
    drop(lossless);
    hub.room(|| false).await;
}
