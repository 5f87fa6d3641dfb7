// SPDX-License-Identifier: Apache-2.0
//! The example of README.md compiles, runs, and is what README.md shows.

#[path = "embedding/example.rs"]
mod example;

#[tokio::test]
async fn the_example_of_the_readme_runs() {
    example::embed(tokio::runtime::Handle::current())
        .await
        .expect("the example works");
}

#[test]
fn the_readme_shows_the_example_as_it_is() {
    assert!(
        include_str!("../README.md").contains(include_str!("embedding/example.rs")),
        "copy tests/embedding/example.rs into the code block of README.md"
    );
}
