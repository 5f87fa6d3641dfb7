// SPDX-License-Identifier: Apache-2.0
//! What many tools cost: bytes of `tools/list` beside the plain list of all tools, and the time of a catalog
//! and of a search. It prints a table and asserts nothing about time.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use code_mode_mcp::DEFAULT_CATALOG_BYTES;
use code_mode_mcp::catalog::{Catalog, Source};
use code_mode_mcp::guide;
use code_mode_mcp::own::{Search, search};
use code_mode_mcp::policy::{Hints, Policy};
use code_mode_mcp::upstream::{ServerTool, Snapshot, Status};
use serde_json::json;
use serde_json::value::to_raw_value;

/// Times that each thing is done; the fastest counts, since the machine may be busy.
const ROUNDS: usize = 20;

/// Tools of one server.
const TOOLS_PER_SERVER: usize = 50;

const VERBS: [&str; 10] = [
    "create", "read", "update", "delete", "list", "search", "export", "merge", "archive", "share",
];
const NOUNS: [&str; 10] = [
    "issue",
    "calendar event",
    "invoice",
    "customer",
    "branch",
    "message",
    "document",
    "deployment",
    "contact",
    "payment",
];

fn tool(number: usize) -> ServerTool {
    let verb = VERBS[number % VERBS.len()];
    let noun = NOUNS[number / VERBS.len() % NOUNS.len()];
    let schema = json!({
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": format!("The id of the {noun}")},
            "title": {"type": "string", "description": "A short title for people"},
            "fields": {"type": "array", "items": {"type": "string"}, "description": "Fields to return"},
            "dry_run": {"type": "boolean", "description": "Say what would be done, and do nothing"},
        },
        "required": ["id"],
    });
    ServerTool {
        name: format!("{verb}_{}_{number}", noun.replace(' ', "_")),
        description: format!(
            "{verb}s one {noun} in the workspace of the team and gives it back as it is then."
        ),
        input_schema: to_raw_value(&schema).ok(),
        output_schema: None,
        hints: Hints::default(),
    }
}

fn snapshot(from: usize, to: usize) -> Snapshot {
    Snapshot {
        status: Status::Starting,
        tools: (from..to).map(tool).collect(),
        warnings: Arc::from([]),
        generation: 0,
    }
}

fn fastest<T>(mut run: impl FnMut() -> T) -> (T, Duration) {
    let mut best = Duration::MAX;
    let mut last = None;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        last = Some(run());
        best = best.min(begun.elapsed());
    }
    (last.expect("at least one round"), best)
}

fn main() {
    println!(
        "| tools | plain tools/list, bytes | our tools/list, bytes | catalog, ms | first search, ms | search, ms |"
    );
    println!("|---|---|---|---|---|---|");
    for count in [10_usize, 100, 2_000] {
        let names: Vec<String> = (0..count.div_ceil(TOOLS_PER_SERVER))
            .map(|at| format!("server{at}"))
            .collect();
        let sources = || {
            let source = |(at, name): (usize, &'static str)| Source {
                name,
                snapshot: snapshot(
                    at * TOOLS_PER_SERVER,
                    ((at + 1) * TOOLS_PER_SERVER).min(count),
                ),
            };
            let names = names.iter().map(|name| &*name.clone().leak());
            names.enumerate().map(source).collect::<Vec<_>>()
        };
        let plain: usize = (0..count)
            .map(|number| {
                let tool = tool(number);
                let shown = json!({
                    "name": tool.name, "description": tool.description, "inputSchema": tool.input_schema,
                });
                shown.to_string().len() + 1
            })
            .sum();
        let given = sources();
        let (catalog, built) = fastest(|| Catalog::new(&given, &[], &Policy::default()));
        let ours = serde_json::to_vec(&guide::tools(&catalog, DEFAULT_CATALOG_BYTES))
            .expect("JSON")
            .len();
        let wanted = Search {
            query: Some("archive a payment".to_owned()),
            ..Search::default()
        };
        let begun = Instant::now();
        let found = search(&catalog, &wanted).expect("a search").total;
        let first = begun.elapsed();
        assert!(found > 0, "nothing was found");
        let (_, again) = fastest(|| search(&catalog, &wanted).map(|found| found.total));
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        println!(
            "| {count} | {plain} | {ours} | {:.2} | {:.2} | {:.3} |",
            ms(built),
            ms(first),
            ms(again)
        );
    }
}
