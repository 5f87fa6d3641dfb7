// SPDX-License-Identifier: Apache-2.0
use pretty_assertions::assert_eq;

use super::*;

#[test]
fn the_total_is_the_line_of_the_summary() {
    assert_eq!(total("events: Ir\nfn=a\n1 2\nsummary: 123\n"), Some(123));
    for text in ["", "events: Ir\n", "summary: many\n"] {
        assert_eq!(total(text), None, "{text}");
    }
}

#[test]
fn what_both_runs_cost_falls_out() {
    let scenario = &SCENARIOS[0];
    let repetitions = u64::from(scenario.many - scenario.few);
    let start = 1_000_000;
    let each = per_repetition(scenario, start, start + 7 * repetitions);
    assert_eq!(each.unwrap(), 7);
}

#[test]
fn a_count_that_does_not_grow_is_no_figure() {
    for many in [0, 10, 11] {
        let each = per_repetition(&SCENARIOS[0], 10, many);
        assert!(matches!(each, Err(Error::Backwards { .. })), "{many}");
    }
}

#[tokio::test]
async fn a_missing_valgrind_is_an_error_that_says_so() {
    let nowhere = Path::new("/nonexistent/valgrind");
    let error = measure(nowhere, Path::new("host"), Path::new("profile"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Valgrind { .. }));
    let text = error.to_string();
    assert!(text.contains("/nonexistent/valgrind"), "{text}");
    assert!(text.contains("Nothing was counted"), "{text}");
}

#[tokio::test]
async fn a_program_that_fails_to_run_is_an_error_and_no_figure() {
    // It stands in for valgrind, takes any argument, and fails.
    let error = measure(
        Path::new("/bin/false"),
        Path::new("host"),
        Path::new("profile"),
    )
    .await
    .unwrap_err();
    assert!(!matches!(error, Error::Valgrind { .. }), "{error}");
}
