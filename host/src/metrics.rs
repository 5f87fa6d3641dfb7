// SPDX-License-Identifier: Apache-2.0
//! The runtime's figures, in the text format of Prometheus.

use code_mode_host_grpc::Page;
use code_mode_runtime::{Figures, Runtime, TIME_CLASSES, Times};

/// What a runtime has counted, as text.
pub(crate) fn render(runtime: &Runtime) -> String {
    let mut page = Page::default();
    let help = "V8 threads that were made and have not ended.";
    page.number("code_mode_v8_threads", "gauge", help, Runtime::v8_threads());
    figures(&mut page, &runtime.figures());
    page.into_text()
}

fn figures(page: &mut Page, figures: &Figures) {
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
        page.number(name, "gauge", help, value);
    }

    let help = "From the start of a cell until its script began.";
    times(page, "code_mode_birth_seconds", help, &figures.births);
    let help = "From a tool call until its answer.";
    let calls = &figures.tool_calls;
    times(page, "code_mode_tool_call_seconds", help, calls);

    let name = "code_mode_ends_total";
    page.head(name, "counter", "Cells that have ended, by how.");
    for (end, count) in &figures.ends {
        page.line(name, &format!("{{how=\"{}\"}}", end.name()), count);
    }

    let name = "code_mode_refusals_total";
    let help = "Sessions, cells and imports that were refused, by the bound that was reached.";
    page.head(name, "counter", help);
    for (bound, count) in &figures.refusals {
        let code = bound.code();
        let bound = code.strip_prefix("limit/").unwrap_or(code);
        page.line(name, &format!("{{bound=\"{bound}\"}}"), count);
    }
}

/// A histogram: the text format counts in each class all that is in those below it.
fn times(page: &mut Page, name: &str, help: &str, times: &Times) {
    page.head(name, "histogram", help);
    let bucket = format!("{name}_bucket");
    let mut below = 0;
    for (bound, count) in TIME_CLASSES.iter().zip(&times.counts) {
        below += count;
        let class = format!("{{le=\"{}\"}}", bound.as_secs_f64());
        page.line(&bucket, &class, below);
    }
    let all: u64 = times.counts.iter().sum();
    page.line(&bucket, "{le=\"+Inf\"}", all);
    page.line(&format!("{name}_sum"), "", times.total.as_secs_f64());
    page.line(&format!("{name}_count"), "", all);
}
