// SPDX-License-Identifier: Apache-2.0
use pretty_assertions::assert_eq;
use serde_json::value::RawValue;

use super::*;
use crate::output::testing::kept_printer;

async fn shown(view: View, events: Vec<Report>) -> (String, String) {
    let (printer, stdout, stderr) = kept_printer(false);
    let reporter = Reporter::new(printer, view);
    for event in events {
        reporter.report(event).await;
    }
    reporter.printer().flush().await;
    (stdout.text(), stderr.text())
}

fn image(url: &str, detail: Option<ImageDetail>) -> Report {
    let item = ContentItem::Image {
        image_url: url.into(),
        detail,
    };
    Report::Output {
        cell: CellId::new("1"),
        item: Arc::new(item),
    }
}

fn all_kinds() -> Vec<Report> {
    let cell = CellId::new("1");
    let script = || "a.js".to_owned();
    let lost = SessionError::RuntimeLost {
        cause: "it was killed".into(),
        side_effects: code_mode_embed::SideEffects::Possible,
    };
    vec![
        Report::Started {
            script: script(),
            cell: cell.clone(),
        },
        Report::Output {
            cell: cell.clone(),
            item: Arc::new(ContentItem::Text("hi".into())),
        },
        image("data:image/png;base64,AAAA", Some(ImageDetail::High)),
        Report::ToolCall {
            cell: cell.clone(),
            call: "tool-1".into(),
            tool: ToolName {
                name: "wc".into(),
                namespace: None,
            },
            input: Arc::from(RawValue::NULL.to_owned()),
        },
        Report::ToolResult {
            cell: cell.clone(),
            call: "tool-1".into(),
            tool: "wc".into(),
            result: Ok(Arc::from(RawValue::TRUE.to_owned())),
            took: Duration::from_millis(3),
        },
        Report::ToolResult {
            cell: cell.clone(),
            call: "tool-2".into(),
            tool: "wc".into(),
            result: Err("no".into()),
            took: Duration::ZERO,
        },
        Report::Notification {
            cell,
            text: "half way".into(),
        },
        Report::StateLost {
            lost: StateLost {
                lost_generation: 1,
                cause: "gone".into(),
                restored: None,
            },
            restored: false,
        },
        Report::Ended {
            script: script(),
            end: CellEnd::Completed,
        },
        Report::Ended {
            script: script(),
            end: CellEnd::Failed {
                error_text: "Error: x".into(),
            },
        },
        Report::Ended {
            script: script(),
            end: CellEnd::Terminated(Termination::Timeout(Duration::from_secs(2))),
        },
        Report::Ended {
            script: script(),
            end: CellEnd::Error(lost),
        },
        Report::Problem("no host".into()),
    ]
}

#[tokio::test]
async fn people_see_output_on_stdout_and_everything_else_on_stderr() {
    let (stdout, stderr) = shown(View::default(), all_kinds()).await;
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
    let (stdout, _stderr) = shown(View::json(), all_kinds()).await;
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
        {"event": "state_lost", "lost_generation": 1, "cause": "gone",
         "restored": false},
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
    let (stdout, _stderr) = shown(View::default(), events).await;
    assert_eq!(
        stdout,
        "[image 1: image/jpeg, 12 KiB]\n\
         [image 2: image/png, 1 bytes, detail original]\n\
         [image 3: text/plain, 4 bytes]\n"
    );
}

fn at(loudness: Loudness) -> View {
    View {
        loudness,
        ..View::default()
    }
}

#[tokio::test]
async fn quiet_leaves_results_and_errors() {
    let mut events = all_kinds();
    events.push(Report::Notice("by the way".into()));
    let (stdout, stderr) = shown(at(Loudness::Quiet), events).await;
    assert_eq!(stdout, "hi\n[image 1: image/png, 3 bytes, detail high]\n");
    assert!(
        !stderr.contains("[notify]") && !stderr.contains("by the way"),
        "{stderr}"
    );
    assert!(stderr.contains("a.js failed: Error: x"), "{stderr}");
}

#[tokio::test]
async fn verbose_shows_tool_calls() {
    let (_stdout, stderr) = shown(at(Loudness::Verbose), all_kinds()).await;
    let calls = "[tool-1] wc null\n[tool-1] wc done (3 ms)\n[tool-2] wc failed: no (0 ms)\n";
    assert!(stderr.starts_with(calls), "{stderr}");
}

#[tokio::test]
async fn colours_are_used_where_they_are_wanted() {
    let view = View {
        colors: Colors {
            stdout: false,
            stderr: true,
        },
        ..View::default()
    };
    let (stdout, stderr) = shown(view, all_kinds()).await;
    assert!(!stdout.contains('\u{1b}'), "{stdout}");
    assert!(
        stderr.contains(&format!("{ERROR}a.js{ERROR:#} failed: Error: x")),
        "{stderr}"
    );
}

#[tokio::test]
async fn images_are_saved_and_one_that_cannot_be_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (printer, stdout, stderr) = kept_printer(false);
    let reporter = Reporter::new(printer, View::default()).saving_images(folder.path().into());
    reporter
        .report(image("data:image/png;base64,AAEC", None))
        .await;
    assert!(!reporter.has_lost_images());
    reporter
        .report(image("data:image/png;base64,*", None))
        .await;
    reporter.printer().flush().await;
    let path = folder.path().join("image-1.png");
    assert_eq!(std::fs::read(&path).unwrap(), [0, 1, 2]);
    assert_eq!(
        stdout.text(),
        format!(
            "[image 1: image/png, 3 bytes, saved as {}]\n[image 2: image/png, 23 bytes]\n",
            path.display()
        )
    );
    assert!(
        stderr.text().contains("failed to save image 2"),
        "{}",
        stderr.text()
    );
    assert!(reporter.has_lost_images());
}
