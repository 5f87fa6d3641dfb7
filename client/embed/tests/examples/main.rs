// SPDX-License-Identifier: Apache-2.0
//! The examples of README.md: each is a module that compiles, runs, and is tested at its end.

mod agent_loop;
mod hello;
mod images;
mod many_sessions;
mod one_tool;
mod parallel_tools;
mod policy;
mod restoring_state;
#[path = "../support/mod.rs"]
mod support;
mod web_socket;

/// An example as README.md shows it: without the test.
fn shown(example: &str) -> &str {
    let end = example.find("\n#[tokio::test]").expect("a test at its end");
    example[..end].trim_end()
}

#[test]
fn the_readme_shows_the_shortest_examples_as_they_are() {
    let readme = include_str!("../../README.md");
    assert!(
        readme.contains(shown(include_str!("hello.rs"))),
        "copy tests/examples/hello.rs into README.md, without its test"
    );
}

#[test]
fn hello_takes_ten_lines_and_an_agents_loop_forty() {
    let body = |example: &'static str, start: &str| {
        let at = example.find(start).expect("the function");
        let end = example[at..].find("\n}\n").expect("its end");
        example[at..at + end].lines().count() + 1
    };
    assert!(body(include_str!("hello.rs"), "pub async fn hello(") <= 10);
    assert!(body(include_str!("agent_loop.rs"), "pub async fn answer(") <= 40);
}
