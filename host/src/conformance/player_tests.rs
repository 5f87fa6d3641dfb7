// SPDX-License-Identifier: Apache-2.0
use serde_json::json;

use super::*;

/// Plays `steps` against a host that sends `frames` whatever it is sent.
async fn against(frames: &[Value], steps: &str, end: End) -> Result<(), Mismatch> {
    let (client, mut host) = tokio::io::duplex(1 << 16);
    for frame in frames {
        let payload = frame.to_string();
        host.write_all(&(payload.len() as u32).to_le_bytes())
            .await
            .unwrap();
        host.write_all(payload.as_bytes()).await.unwrap();
    }
    host.shutdown().await.unwrap();
    let transcript = Transcript::parse(steps).unwrap();
    let (reader, writer) = tokio::io::split(client);
    let (signals, heard) = std::sync::mpsc::channel();
    let played = play(
        &transcript,
        Host {
            reader,
            writer,
            terminate: || signals.send(()).map_err(|error| error.to_string()),
            end: async { end },
        },
        Tolerance::Timings,
    )
    .await;
    drop(host);
    let asked = transcript
        .steps
        .iter()
        .filter(|(_, step)| *step == Step::Signal);
    assert_eq!(heard.try_iter().count(), asked.count());
    played
}

#[tokio::test]
async fn a_host_that_keeps_to_the_transcript_passes() {
    let frames = [json!({"a": 1}), json!({"b": 2}), json!({"c": 3})];
    against(
        &frames,
        "< {\"a\":1}\n< {\"c\":3}\n<& {\"b\":2}\nend clean",
        End::Clean,
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_wrong_a_missing_and_a_needless_frame_are_told_apart() {
    let wrong = against(&[json!(1)], "< 2", End::Clean).await.unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "line 1: frame is 1, expected 2; the host sent 1"
    );
    let missing = against(&[], "close\n< 2", End::Clean).await.unwrap_err();
    assert_eq!(missing.to_string(), "line 2: the host closed, expected 2");
    let needless = against(&[json!(1)], "end clean", End::Clean)
        .await
        .unwrap_err();
    assert_eq!(
        needless.to_string(),
        "line 1: the host sent 1, expected it to close"
    );
}

#[tokio::test]
async fn the_way_a_host_ends_is_part_of_the_transcript() {
    let failed = End::Failed("status 1".into());
    against(&[], "end failed", failed.clone()).await.unwrap();
    assert!(against(&[], "end failed", End::Clean).await.is_err());
    assert!(against(&[], "end clean", failed.clone()).await.is_err());
    assert!(against(&[], "close", failed).await.is_err());
}

#[tokio::test]
async fn timings_are_overlooked_only_where_they_are_tolerated() {
    let tolerated = json!({"result": {"value": {"Result": {"code_mode_host_duration_ns": 5}}}});
    against(
        &[tolerated],
        "< {\"result\":{\"value\":{\"Result\":{}}}}",
        End::Clean,
    )
    .await
    .unwrap();
    let elsewhere = json!({"result": {"code_mode_host_duration_ns": 5}});
    assert!(
        against(&[elsewhere], "< {\"result\":{}}", End::Clean)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn frames_that_are_like_each_other_are_overlooked_however_many_there_are() {
    for count in [0, 1, 5] {
        let mut frames = vec![json!({"a": 1}); count];
        frames.push(json!({"b": 2}));
        against(
            &frames,
            "<* {\"a\":\"$any\"}\n<* {\"c\":1}\n< {\"b\":2}\nend clean",
            End::Clean,
        )
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_host_that_was_told_to_end_is_asked_until_it_refuses() {
    let answer =
        |id: i64, result: Value| json!({"type": "operation/response", "id": id, "result": result});
    let refusal = json!({"status": "error", "message": "I drain"});
    let frames = [
        answer(-1_002, json!({"status": "ok"})),
        answer(-1_003, json!({"status": "ok"})),
        answer(-1_004, refusal),
    ];
    let steps = "signal\nrefuses drain\nend clean";
    against(&frames, steps, End::Clean).await.unwrap();
    let otherwise = against(&frames, "signal\nrefuses full", End::Clean);
    assert_eq!(
        otherwise.await.unwrap_err().to_string(),
        "line 2: the host refused with \"I drain\", expected \"full\""
    );
    let gone = against(&frames[..1], steps, End::Clean).await.unwrap_err();
    assert!(gone.message.contains("the host closed"), "{gone}");
}
