// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use code_mode_testsuite::Alive;
use pretty_assertions::assert_eq;
use tokio::time::timeout;

use super::*;

/// Guard against a hang; no test waits for it.
const GUARD: Duration = Duration::from_secs(60);

fn shell(script: &str) -> ToolCommand {
    ToolCommand {
        program: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
    }
}

async fn call_shell(script: &str, input: &str) -> Result<String, String> {
    let input = RawValue::from_string(input.into()).unwrap();
    let starter = Starter::new(Guard::absent());
    timeout(GUARD, starter.call(&shell(script), Path::new("/"), &input))
        .await
        .unwrap()
        .map(|value| value.get().to_owned())
        .map_err(|error| error.message)
}

#[tokio::test]
async fn the_input_comes_on_standard_input_and_json_output_is_json() {
    assert_eq!(
        call_shell("cat", r#"{"a": [1, 2]}"#).await.unwrap(),
        r#"{"a": [1, 2]}"#
    );
    assert_eq!(call_shell("echo 42", "null").await.unwrap(), "42");
}

#[tokio::test]
async fn other_output_is_text_as_it_is() {
    assert_eq!(
        call_shell("echo 'two words'", "null").await.unwrap(),
        r#""two words\n""#
    );
    assert_eq!(call_shell(":", "null").await.unwrap(), r#""""#);
}

#[tokio::test]
async fn a_failure_carries_the_end_of_standard_error() {
    assert_eq!(
        call_shell("echo no such file >&2; exit 3", "null")
            .await
            .unwrap_err(),
        "sh failed with exit status: 3: no such file"
    );
    assert_eq!(
        call_shell("kill -9 $$", "null").await.unwrap_err(),
        "sh failed with signal: 9 (SIGKILL) and said nothing on standard error"
    );
}

#[tokio::test]
async fn only_the_end_of_a_long_standard_error_is_kept() {
    let script = "yes noise | head -c 1000000 >&2; echo the end >&2; exit 1";
    let message = call_shell(script, "null").await.unwrap_err();
    assert!(message.ends_with("the end"), "{message}");
    assert!(
        message.len() <= MAX_STDERR_TAIL_BYTES + 100,
        "{}",
        message.len()
    );
}

#[tokio::test]
async fn a_tool_that_writes_without_end_is_stopped() {
    assert_eq!(
        call_shell("yes", "null").await.unwrap_err(),
        "sh: its output exceeds 16777216 bytes"
    );
}

#[tokio::test]
async fn output_that_is_not_text_is_an_error() {
    assert_eq!(
        call_shell(r"printf '\377'", "null").await.unwrap_err(),
        "sh: its output is not UTF-8 text"
    );
}

#[tokio::test]
async fn a_tool_need_not_read_its_input() {
    let large = format!("\"{}\"", "x".repeat(1_000_000));
    assert_eq!(call_shell("echo 1", &large).await.unwrap(), "1");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let command = ToolCommand {
        program: "/nonexistent/tool".into(),
        arguments: Vec::new(),
    };
    let error = Starter::new(Guard::absent())
        .call(&command, Path::new("/"), RawValue::NULL)
        .await
        .unwrap_err();
    assert_eq!(
        error.message,
        "failed to start /nonexistent/tool: No such file or directory (os error 2)"
    );
}

#[tokio::test]
async fn a_working_folder_that_is_gone_is_not_taken_for_the_program() {
    let error = Starter::new(Guard::absent())
        .call(&shell("echo 1"), Path::new("/nonexistent"), RawValue::NULL)
        .await
        .unwrap_err();
    assert_eq!(
        error.message,
        "failed to start sh: the working folder /nonexistent is not there"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_cancelled_call_takes_its_whole_process_group_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let alive = Alive::new(folder.path());
    let command = shell(&alive.script());
    let running = tokio::spawn(async move {
        let starter = Starter::new(Guard::absent());
        starter.call(&command, Path::new("/"), RawValue::NULL).await
    });
    alive.wait_until_up();
    running.abort();
    alive.wait_until_gone();
}

#[tokio::test]
async fn a_call_that_is_cancelled_before_it_has_heard_of_its_program_does_too() {
    let folder = tempfile::tempdir().unwrap();
    let alive = Alive::new(folder.path());
    let command = shell(&alive.script());
    let starter = Starter::new(Guard::absent());
    let mut call = Box::pin(starter.call(&command, Path::new("/"), RawValue::NULL));
    tokio::select! {
        biased;
        _ = &mut call => panic!("it ends with its program"),
        () = std::future::ready(()) => {}
    }
    // Nobody looks at the call meanwhile: this thread waits.
    alive.wait_until_up();
    drop(call);
    alive.wait_until_gone();
}
