// SPDX-License-Identifier: Apache-2.0
//! The behaviour that every provider of sessions must show.
//!
//! # Purpose
//! One suite runs against the in-process runtime and against the client of a host process, so that
//! an embedder can change from one to the other. It knows nothing but the traits of `code_mode_api`.
//! Most cases are data (`cases/`), which the clients of other languages play too.
//! [`host_program`] is where tests over a real host find it, and [`ListeningHost`] is one at an address;
//! [`Alive`] tells when what a tool has started is gone.
//!
//! # Life cycle
//! [`suite!`] takes a function that makes a provider and expands to one test per case. Each test
//! opens a session of its own and shuts it down.
//!
//! # Threads
//! Tests run on tokio's multi-threaded runtime.
//!
//! # Limits
//! Nothing here sleeps to wait for something; [`PATIENCE`] only guards against hanging.

mod alive;
mod cases;
mod cut_output;
mod errors;
mod fixture;
mod life_cycle;
mod listening;
mod no_tools;
mod play;
mod programs;
mod public_helpers;

pub use fixture::{Call, Fixture, MakeProvider, PATIENCE, Recorder, json, texts_of, tool, within};

pub use alive::Alive;
pub use cut_output::*;
pub use errors::*;
pub use life_cycle::*;
pub use listening::ListeningHost;
pub use no_tools::NoTools;
pub use play::play;
pub use programs::host_program;
pub use public_helpers::*;

/// Expands to one `#[tokio::test]` for each case of the suite.
///
/// The argument is an expression of a function `fn() -> BoxFuture<'static, Arc<dyn
/// SessionProvider>>`, called within the test's tokio runtime.
#[macro_export]
macro_rules! suite {
    ($make:expr) => {
        $crate::data_cases! { play_cases $make }
        $crate::cases! { $make;
            a_long_source_line_is_shown_in_part
            a_dropped_wait_frees_the_place_of_the_observer
            a_provider_goes_on_after_its_session
            cells_are_listed_with_what_they_do
            output_that_is_not_cut_is_not_read_again
            audio_takes_every_documented_form
            content_takes_blocks_and_iterables_of_them
            promises_come_in_the_order_in_which_they_settle
            settled_helpers_work_after_every_global_is_overwritten
            tools_with_one_normalised_name_are_reached_by_their_full_names
            tools_may_have_the_names_of_builtins
            bigints_are_written_as_the_integers_they_are
            a_script_that_prints_an_integer_that_has_changed_is_told_once
            errors_are_shown_with_what_caused_them
            large_collections_are_shown_in_part
        }
    };
}

/// What those promise beside [`suite!`] whose hosts can cut output. Expands to tests.
#[macro_export]
macro_rules! suite_of_cut_output {
    ($make:expr) => {
        $crate::cases! { $make;
            what_a_host_cuts_is_read_again
        }
    };
}

/// What those promise beside [`suite!`] whose execs can ask for exact integers. Expands to tests.
#[macro_export]
macro_rules! suite_of_exact_integers {
    ($make:expr) => {
        $crate::cases! { $make;
            exact_integers_are_read_as_bigints_where_the_exec_asks
        }
    };
}

/// Hands the names of the cases that are data to another macro, since a test needs its name when it
/// is compiled. A test below compares them with the files.
#[doc(hidden)]
#[macro_export]
macro_rules! data_cases {
    ($then:ident $($argument:expr)?) => {
        $crate::$then! { $($argument)?;
            text_shows_each_kind_of_value
            objects_that_json_would_hide_are_readable
            circular_and_throwing_values_throw_catchable_errors
            images_take_every_documented_form
            misused_images_throw_the_documented_messages
            a_generated_image_gives_the_image_and_then_its_hint
            notifications_arrive_before_the_result
            a_blank_notification_throws
            removed_globals_are_absent_and_helpers_present
            typescript_runs_without_its_types
            a_fence_around_the_source_is_taken_off
            intl_has_full_data
            one_cell_sees_nothing_of_anothers_globals
            helpers_work_after_every_global_is_overwritten
            strange_values_cross_without_harm
            modules_can_be_imported_statically_and_dynamically
            other_modules_are_refused_with_a_hint
            exit_ends_the_cell_and_cannot_be_swallowed
            timers_fire_in_order_and_can_be_cleared
            timers_do_not_keep_a_cell_alive
            misused_timers_throw_the_documented_message
            promise_jobs_run_before_the_next_timer
            uncaught_errors_carry_their_position
            thrown_strings_are_the_error_text_itself
            syntax_errors_show_line_and_caret
            common_mistakes_get_a_hint
            typescript_that_cannot_be_run_says_why
            an_error_in_a_timer_ends_the_cell
            forgotten_rejections_are_reported
            handled_rejections_are_not_reported
            deep_recursion_is_a_range_error
            tools_get_their_own_name_and_json_input
            tool_results_arrive_as_values
            failed_tools_reject_with_an_error
            structured_tool_errors_reach_the_script
            tool_calls_run_concurrently_and_are_numbered
            missing_tools_get_v8s_error_and_the_nearest_names
            all_tools_lists_normalised_names
            input_that_json_cannot_hold_throws
            open_calls_are_cancelled_when_the_cell_ends
            stored_values_are_shared_between_cells
            a_store_is_seen_at_once_by_its_own_cell
            values_are_stored_even_when_the_cell_fails
            what_json_cannot_hold_is_not_stored
            stores_can_be_exported_and_imported
            cells_are_numbered_from_one
            a_cell_yields_after_its_time
            yield_control_hands_out_what_has_come
            an_unobserved_result_is_kept_for_one_wait
            unknown_and_finished_cells_are_told_apart
            only_one_observer_at_a_time
            terminate_ends_a_spinning_cell
            terminate_ends_a_waiting_cell_and_its_observer
            terminate_ends_every_kind_of_busy_cell
            shutdown_ends_running_cells
            a_shut_down_session_refuses_everything
            a_request_lowers_limits
        }
    };
}

/// Expands to the tests of cases that are data; see [`suite!`].
#[doc(hidden)]
#[macro_export]
macro_rules! play_cases {
    ($make:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::play($make, stringify!($case)).await;
            }
        )*
    };
}

/// Expands to the tests; see [`suite!`].
#[doc(hidden)]
#[macro_export]
macro_rules! cases {
    ($make:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::$case($make).await;
            }
        )*
    };
}

/// Expands to the names of the cases that are data.
#[doc(hidden)]
#[macro_export]
macro_rules! case_names {
    (; $($case:ident)*) => {
        [$(stringify!($case)),*]
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_case_of_the_files_is_a_test_and_every_step_has_one_action() {
        let cases = crate::cases::all();
        for step in cases.iter().flat_map(|case| &case.steps) {
            step.action();
        }
        let in_files: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        let listed = crate::data_cases!(case_names);
        let distinct: BTreeSet<&str> = listed.iter().copied().collect();
        assert_eq!(distinct.len(), listed.len());
        assert_eq!(distinct, in_files.iter().copied().collect());
        assert_eq!(in_files.len(), listed.len());
    }
}
