// SPDX-License-Identifier: Apache-2.0
//! The runtime's figures, in the text format of Prometheus.

use std::fmt::Write;

use code_mode_runtime::{CellEnd, Figures, Runtime, TIME_CLASSES, Times};

/// What a runtime has counted, as text.
pub(crate) fn render(runtime: &Runtime) -> String {
    let mut text = String::new();
    let threads = Runtime::v8_threads();
    let help = "V8 threads that were made and have not ended.";
    head(&mut text, "code_mode_v8_threads", "gauge", help);
    line(&mut text, "code_mode_v8_threads", "", threads);
    figures(&mut text, &runtime.figures());
    text
}

fn figures(text: &mut String, figures: &Figures) {
    let gauges = [
        (
            "code_mode_active_cells",
            "Cells that run, or wait for what they will run in.",
            figures.active_cells,
        ),
        (
            "code_mode_event_bytes",
            "Bytes of events that no client has taken.",
            figures.event_bytes,
        ),
        (
            "code_mode_answer_bytes",
            "Bytes of tools' answers that no cell has had.",
            figures.answer_bytes,
        ),
        (
            "code_mode_unread_bytes",
            "Bytes of output that nobody has read.",
            figures.unread_bytes,
        ),
    ];
    for (name, help, value) in gauges {
        head(text, name, "gauge", help);
        line(text, name, "", value);
    }

    let help = "From the start of a cell until its script began.";
    times(text, "code_mode_birth_seconds", help, &figures.births);
    let help = "From a tool call until its answer.";
    times(
        text,
        "code_mode_tool_call_seconds",
        help,
        &figures.tool_calls,
    );

    let help = "Cells that have ended, by how.";
    head(text, "code_mode_ends_total", "counter", help);
    for (end, count) in &figures.ends {
        let known = CellEnd::NAMES.iter().find(|(known, _)| known == end);
        let name = known.map_or("other", |(_, name)| name);
        line(
            text,
            "code_mode_ends_total",
            &format!("{{how=\"{name}\"}}"),
            *count,
        );
    }

    let help = "Sessions, cells and imports that were refused, by the bound that was reached.";
    head(text, "code_mode_refusals_total", "counter", help);
    for (bound, count) in &figures.refusals {
        let code = bound.code();
        let name = code.strip_prefix("limit/").unwrap_or(code);
        line(
            text,
            "code_mode_refusals_total",
            &format!("{{bound=\"{name}\"}}"),
            *count,
        );
    }
}

/// A histogram: the text format counts in each class all that is in those below it.
fn times(text: &mut String, name: &str, help: &str, times: &Times) {
    head(text, name, "histogram", help);
    let bucket = format!("{name}_bucket");
    let mut below = 0;
    for (bound, count) in TIME_CLASSES.iter().zip(&times.counts) {
        below += count;
        let class = format!("{{le=\"{}\"}}", bound.as_secs_f64());
        line(text, &bucket, &class, below);
    }
    let all: u64 = times.counts.iter().sum();
    line(text, &bucket, "{le=\"+Inf\"}", all);
    line(text, &format!("{name}_sum"), "", times.total.as_secs_f64());
    line(text, &format!("{name}_count"), "", all);
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    // As above.
    let _ = writeln!(text, "{name}{labels} {value}");
}
