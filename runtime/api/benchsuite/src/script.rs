// SPDX-License-Identifier: Apache-2.0
//! The requests that the scenarios execute.

use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{ExecuteRequest, ToolDefinition, ToolKind, ToolName};

use crate::delegate::PARK;

/// How long an observer waits for a cell, and a round for a tool call; longer than any scenario.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The shortest script that gives something.
pub(crate) const SHORT: &str = "text('x')";

/// A request with this many tools, of which the first two are `echo` and `park`.
pub(crate) fn request(source: impl Into<String>, tools: usize) -> ExecuteRequest {
    ExecuteRequest {
        exec_call_id: "bench".to_owned(),
        tools: (0..tools).map(tool).collect::<Arc<[_]>>(),
        yield_time: Some(PATIENCE),
        ..ExecuteRequest::new(source)
    }
}

fn tool(number: usize) -> ToolDefinition {
    let name = match number {
        0 => "echo".to_owned(),
        1 => PARK.to_owned(),
        number => format!("tool_{number}"),
    };
    let schema = r#"{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"number"}}}"#;
    ToolDefinition {
        name: name.clone(),
        tool_name: ToolName {
            name,
            namespace: None,
        },
        description: "A tool of the benchmark, with a description of ordinary length.".to_owned(),
        kind: ToolKind::Function,
        input_schema: serde_json::value::RawValue::from_string(schema.to_owned()).ok(),
        output_schema: None,
    }
}

/// A loop of about a second on a processor of today, which gives its sum so that nobody leaves it out.
pub(crate) const HOT_LOOP: &str =
    "let sum = 0; for (let n = 0; n < 120_000_000; n++) sum = (sum * 31 + n) | 0; text(sum)";

/// About a second of objects that are kept for a while: each is found by the young generation's collector, some grow old.
pub(crate) const COLLECTOR_LOAD: &str = "const kept = [];
for (let n = 0; n < 3_000_000; n++) {
  const before = kept[(n * 7919) % 50_000];
  kept[n % 50_000] = { n, name: 'object ' + n, before: before && { n: before.n } };
}
text(kept.length)";

/// A script of at least `bytes` bytes: functions that are compiled lazily, if at all, and one text.
pub(crate) fn long_script(bytes: usize) -> String {
    let mut source = String::new();
    for number in 0.. {
        if source.len() + SHORT.len() >= bytes {
            break;
        }
        source += &format!("function f{number}(a, b) {{ return a * {number} + b; }}\n");
    }
    source + SHORT
}

/// A script as agents write them, with types in nearly every line and at least `bytes` bytes of length;
/// or, if not `typed`, the same without them.
pub(crate) fn script_with_types(bytes: usize, typed: bool) -> String {
    let mut source = String::new();
    let mut length = 0;
    for number in 0.. {
        if length + SHORT.len() >= bytes {
            break;
        }
        let with_types = format!(
            "interface Row{number} {{ id: number; name: string | null }}\n\
             const rows{number}: Row{number}[] = [];\n\
             function take{number}(row: Row{number}, n: number = {number}): string {{\n  \
               return `${{(row as Row{number}).name!}} ${{n}}`;\n}}\n"
        );
        length += with_types.len();
        source += &match typed {
            true => with_types,
            false => format!(
                "const rows{number} = [];\n\
                 function take{number}(row, n = {number}) {{\n  return `${{row.name}} ${{n}}`;\n}}\n"
            ),
        };
    }
    source + SHORT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_numbered_after_the_two_that_scripts_call_and_all_have_a_schema() {
        let request = request(SHORT, 4);
        let names: Vec<_> = request.tools.iter().map(|tool| &tool.name).collect();
        assert_eq!(names, ["echo", "park", "tool_2", "tool_3"]);
        assert!(request.tools.iter().all(|tool| tool.input_schema.is_some()));
    }

    #[test]
    fn a_script_with_types_is_as_long_as_it_says_and_shorter_without() {
        let typed = script_with_types(20 << 10, true);
        assert!(
            (20 << 10..21 << 10).contains(&typed.len()),
            "{}",
            typed.len()
        );
        let plain = script_with_types(20 << 10, false);
        assert!(plain.len() < typed.len() && !plain.contains("interface"));
    }

    #[test]
    fn a_long_script_is_as_long_as_it_says_and_hardly_longer() {
        let length = long_script(20 << 10).len();
        assert!((20 << 10..(20 << 10) + 100).contains(&length), "{length}");
    }
}
