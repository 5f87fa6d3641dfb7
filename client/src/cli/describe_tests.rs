use std::path::Path;

use pretty_assertions::assert_eq;

use super::super::tools_file::decode;
use super::*;

fn described(tools: &str) -> String {
    let tools = decode(tools, Path::new("/")).unwrap();
    let tools: Vec<ToolDefinition> = tools.into_iter().map(|tool| tool.definition).collect();
    text(&tools)
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
        {"name": "get-profile", "tool_name": {"name": "get-profile", "namespace": "mcp__ologs__"},
         "description": "Gets a profile.\nSlow.", "command": ["x"],
         "input_schema": {"type": "object", "required": ["id"], "properties": {
            "id": {"type": "string", "description": "Whose."}, "full": {"type": "boolean"}}},
         "output_schema": {"type": "object", "properties": {"name": {"type": "string"}}}},
        {"name": "apply_patch", "kind": "freeform", "description": "Applies a patch.", "command": ["x"]},
        {"name": "delete", "command": ["x"]}
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
    let text = described(&format!(
        r#"[{{"name": "deep", "input_schema": {schema}, "command": ["x"]}}]"#
    ));
    assert!(
        text.contains("deep(input: unknown /* nested deeper */): Promise<unknown>;"),
        "{text}"
    );
}
