// SPDX-License-Identifier: Apache-2.0
//! The example of README.md compiles, runs, and is what README.md shows.

mod support;

#[path = "embedding/example.rs"]
mod example;

#[tokio::test]
async fn the_example_of_the_readme_runs() {
    let host = support::host_program();
    support::in_time(example::run(&host))
        .await
        .expect("the example works");
}

#[test]
fn the_readme_shows_the_example_as_it_is() {
    let readme = include_str!("../README.md");
    assert!(
        readme.contains(include_str!("embedding/example.rs")),
        "copy tests/embedding/example.rs into the code block of README.md"
    );
}
