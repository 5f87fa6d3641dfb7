// SPDX-License-Identifier: Apache-2.0
//! Output, calls and notifications come in the order in which the script makes them.

use pretty_assertions::assert_eq;
use serde_json::Value;

use super::support::Fixture;

fn events(fixture: &Fixture, code: &str) -> Vec<String> {
    let outcome = fixture.run(&["run", "-e", code, "--json", "--tools", "tools.json"]);
    let name = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        let kind = event["event"].as_str().unwrap().to_owned();
        match event["text"].as_str().or(event["input"].as_str()) {
            Some(text) => format!("{kind} {text}"),
            None => kind,
        }
    };
    outcome.stdout.lines().map(name).collect()
}

#[test]
fn what_a_script_puts_out_before_a_call_is_shown_before_it() {
    let fixture = Fixture::new();
    fixture.tools(&[("echo", "cat")]);
    let code = "text('a'); await tools.echo('1'); text('b'); await tools.echo('2'); text('c');";
    assert_eq!(
        events(&fixture, code),
        [
            "started",
            "text a",
            "tool_call 1",
            "tool_result",
            "text b",
            "tool_call 2",
            "tool_result",
            "text c",
            "ended"
        ]
    );
}

#[test]
fn it_stays_so_over_many_calls() {
    let fixture = Fixture::new();
    fixture.tools(&[("echo", "cat")]);
    let code = "for (let i = 0; i < 50; i++) { text(`${i}`); await tools.echo(`${i}`); }";
    let mut expected = vec!["started".to_owned()];
    for i in 0..50 {
        expected.extend([
            format!("text {i}"),
            format!("tool_call {i}"),
            "tool_result".to_owned(),
        ]);
    }
    expected.push("ended".to_owned());
    assert_eq!(events(&fixture, code), expected);
}

#[test]
fn a_notification_comes_after_the_output_before_it() {
    let fixture = Fixture::new();
    fixture.tools(&[("echo", "cat")]);
    let code = "text('a'); notify('n'); await tools.echo('1'); text('b')";
    let shown = events(&fixture, code);
    let at = |name: &str| shown.iter().position(|shown| shown == name).unwrap();
    assert!(at("text a") < at("notification n"), "{shown:?}");
    assert!(at("notification n") < at("text b"), "{shown:?}");
}
