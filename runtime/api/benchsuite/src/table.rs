// SPDX-License-Identifier: Apache-2.0
//! A report as a Markdown table that is readable as it is.

use crate::report::{Measured, Report, Row, label};

const LEGEND: &str = "\
Times in µs. `p50 / A's`: this p50 over that of A in the same scenario, so 10 means that A is ten
times as fast. Memory: growth of the resident size of a fresh process in KiB, the largest of the
rounds; of a start, all of it.
";

const HEADINGS: [&str; 10] = [
    "scenario",
    "of",
    "n",
    "mean",
    "p50",
    "p95",
    "p99",
    "p50 / A's",
    "memory",
    "",
];

/// The legend and the table, with a line break at the end.
pub(crate) fn table(report: &Report) -> String {
    let mut text = String::new();
    for (number, subject) in report.subjects.iter().enumerate() {
        text += &format!("{}: {subject}\n", label(number));
    }
    text += "\n";
    text += LEGEND;
    text += "\n";
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    for row in &report.rows {
        for (number, measured) in row.results.iter().enumerate() {
            lines.push(line(row, number, measured));
        }
    }
    let width = |column: usize| {
        let lengths = lines.iter().map(|line| line[column].chars().count());
        lengths.max().unwrap_or(0).max(2)
    };
    let widths: [usize; HEADINGS.len()] = std::array::from_fn(width);
    for (number, line) in lines.iter().enumerate() {
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            text += &match is_text(column) {
                true => format!("| {cell:<width$} "),
                false => format!("| {cell:>width$} "),
            };
        }
        text += "|\n";
        if number == 0 {
            for (column, width) in widths.into_iter().enumerate() {
                let end = if is_text(column) { '-' } else { ':' };
                text += &format!("|{}{end}", "-".repeat(width + 1));
            }
            text += "|\n";
        }
    }
    text
}

fn is_text(column: usize) -> bool {
    matches!(column, 0 | 1) || column + 1 == HEADINGS.len()
}

fn line(row: &Row, number: usize, measured: &Measured) -> [String; HEADINGS.len()] {
    let figures = measured.figures();
    let time = |pick: fn(&crate::Figures) -> f64| {
        let micros = figures.as_ref().map(pick);
        micros.map_or_else(String::new, |micros| match micros {
            ..100.0 => format!("{micros:.1}"),
            _ => format!("{micros:.0}"),
        })
    };
    let ratio = row.ratio(measured);
    let memory = measured.growth_kib();
    [
        row.scenario.name(),
        label(number),
        figures.map_or(0, |figures| figures.count).to_string(),
        time(|figures| figures.mean),
        time(|figures| figures.p50),
        time(|figures| figures.p95),
        time(|figures| figures.p99),
        ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        memory.map_or_else(String::new, |kib| kib.to_string()),
        remarks(row, measured),
    ]
}

pub(crate) fn remarks(row: &Row, measured: &Measured) -> String {
    let mut remarks = Vec::new();
    if let Some(rate) = row.per_second(measured) {
        remarks.push(format!("{rate:.0} exec/s"));
    }
    if let Some(kib) = row.kib_per_cell(measured) {
        remarks.push(format!("{kib:.0} KiB per cell"));
    }
    if let Some(kib) = row.machine_kib_per_cell(measured) {
        remarks.push(format!("{kib:.0} of the machine"));
    }
    remarks.extend(measured.note().map(str::to_owned));
    remarks.extend(measured.failure().map(|failure| {
        // A line break or a bar would end the cell of the table.
        let failure = failure.replace(['\n', '\r', '|'], " ");
        format!("failed: {failure}")
    }));
    remarks.join(", ")
}
