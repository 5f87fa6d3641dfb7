// SPDX-License-Identifier: Apache-2.0
use code_mode_api::ToolName;
use pretty_assertions::assert_eq;
use serde_json::value::to_raw_value;

use super::*;

/// Tools as a list of JSON objects declares them.
fn tools(json: &str) -> Vec<ToolDefinition> {
    let list: Vec<Value> = serde_json::from_str(json).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let schema = |value: &Value| (!value.is_null()).then(|| to_raw_value(value).unwrap());
    let tool = |tool: &Value| ToolDefinition {
        name: text(&tool["name"]),
        tool_name: ToolName {
            name: text(&tool["name"]),
            namespace: tool["namespace"].as_str().map(str::to_owned),
        },
        description: text(&tool["description"]),
        kind: match tool["kind"].as_str() {
            Some("freeform") => ToolKind::Freeform,
            _ => ToolKind::Function,
        },
        input_schema: schema(&tool["input_schema"]),
        output_schema: schema(&tool["output_schema"]),
    };
    list.iter().map(tool).collect()
}

fn described(json: &str) -> String {
    text(&tools(json), Globals::Contract)
}

fn tools_section(text: &str) -> &str {
    let start = text.find("## Tools\n").unwrap();
    let end = text.find("\n# wait\n").unwrap();
    &text[start..end]
}

#[test]
fn tools_are_declared_by_namespace() {
    let text = described(
        r#"[
        {"name": "get-profile", "namespace": "mcp__ologs__",
         "description": "Gets a profile.\nSlow.",
         "input_schema": {"type": "object", "required": ["id"], "properties": {
            "id": {"type": "string", "description": "Whose."}, "full": {"type": "boolean"}}},
         "output_schema": {"type": "object", "properties": {"name": {"type": "string"}}}},
        {"name": "apply_patch", "kind": "freeform", "description": "Applies a patch."},
        {"name": "delete"}
        ]"#,
    );
    assert_eq!(
        tools_section(&text),
        "## Tools

```ts
interface Tools {
  /** Applies a patch. */
  apply_patch(input: string): Promise<unknown>;
  delete(input?: unknown): Promise<unknown>;
}
```

### mcp__ologs__

```ts
interface Tools {
  /**
   * Gets a profile.
   * Slow.
   */
  get_profile(input: {
    /** Whose. */
    id: string;
    full?: boolean;
  }): Promise<{ name?: string }>;
}
```
"
    );
}

#[test]
fn a_session_without_tools_says_so() {
    assert_eq!(
        tools_section(&described("[]")),
        "## Tools\n\nThere are none.\n"
    );
}

#[test]
fn every_global_of_scripts_is_described() {
    let text = described("[]");
    for global in [
        "text",
        "image",
        "audio",
        "content",
        "generatedImage",
        "store",
        "load",
        "notify",
        "yield_control",
        "exit",
        "as_settled",
        "stream_settled",
        "setTimeout",
        "clearTimeout",
    ] {
        assert!(
            text.contains(&format!("declare function {global}(")),
            "{global}"
        );
    }
    for global in ["tools: Tools", "ALL_TOOLS"] {
        assert!(
            text.contains(&format!("declare const {global}")),
            "{global}"
        );
    }
    assert!(text.contains("\n# wait\n"));
}

#[test]
fn a_schema_nested_too_deep_to_read_is_cut_off() {
    let depth = 200;
    let schema = format!("{}{{}}{}", "{\"items\":".repeat(depth), "}".repeat(depth));
    let mut tools = tools(r#"[{"name": "deep"}]"#);
    tools[0].input_schema = Some(serde_json::value::RawValue::from_string(schema).unwrap());
    let text = text(&tools, Globals::Contract);
    assert!(
        text.contains("deep(input: unknown /* nested deeper */): Promise<unknown>;"),
        "{text}"
    );
}

#[test]
fn programs_get_the_same_as_json() {
    let definitions = tools(r#"[{"name": "get-it", "description": "Gets it."}]"#);
    let described = json(&definitions, Globals::Contract);
    assert_eq!(described["tools"][0]["script_name"], "get_it");
    assert_eq!(
        described["tools"][0]["declaration"],
        "  /** Gets it. */\n  get_it(input?: unknown): Promise<unknown>;\n"
    );
    let text = text(&definitions, Globals::Contract);
    for part in ["exec", "wait"] {
        assert!(text.contains(described[part].as_str().unwrap()), "{part}");
    }
}

/// So many tools, each with a declaration of about this many bytes.
fn many(count: usize, bytes: usize) -> Vec<ToolDefinition> {
    let list: Vec<Value> = (0..count)
        .map(|number| json!({"name": format!("tool-{number}"), "description": "x".repeat(bytes)}))
        .collect();
    tools(&Value::from(list).to_string())
}

#[test]
fn a_budget_is_kept_and_names_what_was_left_out() {
    let tools = many(100, 500);
    for budget in [0, MIN_BYTES, MIN_BYTES + 3_000, 20_000, 40_000] {
        let described = within(&tools, Globals::Web, budget);
        let bytes = described.exec.len() + 1 + described.wait.len();
        assert!(bytes <= budget.max(MIN_BYTES), "{bytes} of {budget}");
        let declared = described.exec.matches("(input?: unknown)").count();
        assert_eq!(declared + described.left_out.len(), 100, "{budget}");
        assert!(declared > 0, "{budget}");
        let first = &described.left_out[0];
        let opening = format!(
            "{} more tools can be called: {first}, ",
            described.left_out.len()
        );
        assert!(described.exec.contains(&opening), "{}", described.exec);
        assert!(described.exec.contains("ALL_TOOLS.filter("));
    }
}

#[test]
fn what_fits_exactly_is_told_whole() {
    let tools = many(3, 500);
    let whole = text(&tools, Globals::Web);
    assert!(
        whole.len() > 5_000 && whole.len() < MIN_BYTES,
        "{}",
        whole.len()
    );
    let described = within(&tools, Globals::Web, 0);
    assert_eq!(described.left_out, Vec::<String>::new());
    assert_eq!(format!("{}\n{}", described.exec, described.wait), whole);
}

#[test]
fn a_small_tool_behind_a_large_one_is_declared() {
    let mut tools = many(1, MIN_BYTES);
    tools.extend(many(2, 10).into_iter().skip(1));
    let described = within(&tools, Globals::Web, MIN_BYTES);
    assert_eq!(described.left_out, ["tool_0"]);
    assert!(described.exec.contains("tool_1(input?: unknown)"));
    assert!(
        described
            .exec
            .contains("1 more tools can be called: tool_0.\n")
    );
}

#[test]
fn more_names_than_fit_are_counted() {
    let tools = many(4_000, 500);
    let described = within(&tools, Globals::Web, MIN_BYTES);
    assert!(described.exec.len() + 1 + described.wait.len() <= MIN_BYTES);
    assert!(described.exec.contains(", and others.\n"));
}

#[test]
fn a_model_is_told_of_the_globals_that_its_scripts_have() {
    let contract = text(&[], Globals::Contract);
    let web = text(&[], Globals::Web);
    assert!(contract.contains("There is no `console`"), "{contract}");
    assert!(web.contains("there are `console`"), "{web}");
    assert!(!web.contains("no `console`"), "{web}");
}
