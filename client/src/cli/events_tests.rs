use pretty_assertions::assert_eq;
use serde_json::value::RawValue;

use super::super::output::testing::kept_printer;
use super::*;

async fn shown(json: bool, events: Vec<Event>) -> (String, String) {
    let (printer, stdout, stderr) = kept_printer(false);
    let reporter = Reporter::new(printer, json);
    for event in events {
        reporter.report(event).await;
    }
    reporter.printer().flush().await;
    (stdout.text(), stderr.text())
}

fn image(url: &str, detail: Option<ImageDetail>) -> Event {
    let item = ContentItem::Image {
        image_url: url.into(),
        detail,
    };
    Event::Output {
        cell: CellId::new("1"),
        item,
    }
}

fn all_kinds() -> Vec<Event> {
    let cell = CellId::new("1");
    let script = || "a.js".to_owned();
    let lost = SessionError::RuntimeLost {
        cause: "it was killed".into(),
        side_effects: code_mode_api::SideEffects::Possible,
    };
    vec![
        Event::Started {
            script: script(),
            cell: cell.clone(),
        },
        Event::Output {
            cell: cell.clone(),
            item: ContentItem::Text("hi".into()),
        },
        image("data:image/png;base64,AAAA", Some(ImageDetail::High)),
        Event::ToolCall {
            cell: cell.clone(),
            call: "tool-1".into(),
            tool: ToolName {
                name: "wc".into(),
                namespace: None,
            },
            input: RawValue::NULL.to_owned(),
        },
        Event::ToolResult {
            cell: cell.clone(),
            call: "tool-1".into(),
            result: Ok(RawValue::TRUE.to_owned()),
            took: Duration::from_millis(3),
        },
        Event::ToolResult {
            cell: cell.clone(),
            call: "tool-2".into(),
            result: Err("no".into()),
            took: Duration::ZERO,
        },
        Event::Notification {
            cell,
            text: "half way".into(),
        },
        Event::StateLost(StateLost {
            lost_generation: 1,
            cause: "gone".into(),
        }),
        Event::Ended {
            script: script(),
            end: CellEnd::Completed,
        },
        Event::Ended {
            script: script(),
            end: CellEnd::Failed {
                error_text: "Error: x".into(),
            },
        },
        Event::Ended {
            script: script(),
            end: CellEnd::Terminated(Termination::Timeout(Duration::from_secs(2))),
        },
        Event::Ended {
            script: script(),
            end: CellEnd::Error(lost),
        },
        Event::Problem("no host".into()),
    ]
}

#[tokio::test]
async fn people_see_output_on_stdout_and_everything_else_on_stderr() {
    let (stdout, stderr) = shown(false, all_kinds()).await;
    assert_eq!(stdout, "hi\n[image 1: image/png, 3 bytes, detail high]\n");
    assert_eq!(
        stderr,
        "[notify] half way\n\
         the session's stored values and running cells were lost with its host: gone\n\
         a.js failed: Error: x\n\
         a.js was terminated: timed out after 2s\n\
         a.js: the code-mode runtime was lost: it was killed (side effects: possible)\n\
         code_mode: no host\n"
    );
}

#[tokio::test]
async fn each_event_is_one_json_line() {
    let (stdout, _stderr) = shown(true, all_kinds()).await;
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected = json!([
        {"event": "started", "script": "a.js", "cell": "1"},
        {"event": "text", "cell": "1", "text": "hi"},
        {"event": "image", "cell": "1", "image_url": "data:image/png;base64,AAAA", "detail": "high"},
        {"event": "tool_call", "cell": "1", "call": "tool-1",
         "tool": {"name": "wc", "namespace": null}, "input": null},
        {"event": "tool_result", "cell": "1", "call": "tool-1", "duration_ms": 3, "result": true},
        {"event": "tool_result", "cell": "1", "call": "tool-2", "duration_ms": 0, "error": "no"},
        {"event": "notification", "cell": "1", "text": "half way"},
        {"event": "state_lost", "lost_generation": 1, "cause": "gone"},
        {"event": "ended", "script": "a.js", "status": "completed"},
        {"event": "ended", "script": "a.js", "status": "failed", "error": "Error: x"},
        {"event": "ended", "script": "a.js", "status": "timed_out",
         "error": "terminated: timed out after 2s"},
        {"event": "ended", "script": "a.js", "status": "error", "side_effects": "possible",
         "error": "the code-mode runtime was lost: it was killed (side effects: possible)"},
        {"event": "problem", "message": "no host"},
    ]);
    assert_eq!(Value::Array(lines), expected);
}

#[tokio::test]
async fn images_are_numbered_and_sized() {
    let large = format!("data:image/jpeg;base64,{}", "A".repeat(16_384));
    let events = vec![
        image(&large, None),
        image("data:image/png;base64,AA==", Some(ImageDetail::Original)),
        image("data:,text", None),
    ];
    let (stdout, _stderr) = shown(false, events).await;
    assert_eq!(
        stdout,
        "[image 1: image/jpeg, 12 KiB]\n\
         [image 2: image/png, 1 bytes, detail original]\n\
         [image 3: text/plain, 4 bytes]\n"
    );
}

#[test]
fn sizes_are_readable() {
    assert_eq!(readable_size(1023), "1023 bytes");
    assert_eq!(readable_size(1025), "2 KiB");
    assert_eq!(readable_size(3 * 1_048_576 / 2), "1.5 MiB");
}
