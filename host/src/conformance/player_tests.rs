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
    let played = play(&transcript, reader, writer, Tolerance::Timings, async {
        end
    })
    .await;
    drop(host);
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
