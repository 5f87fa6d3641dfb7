// SPDX-License-Identifier: Apache-2.0
use pretty_assertions::assert_eq;

use super::*;

fn decode_here(text: &str) -> Result<Vec<FileTool>, Mistake> {
    decode(text, Path::new("/tools"))
}

#[track_caller]
fn check_mistake(text: &str, expected: &str) {
    let mistake = decode_here(text).unwrap_err();
    let before = &text[..mistake.span.start];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let shown = format!("line {line}, column {column}: {mistake}");
    assert_eq!(shown, expected);
}

#[test]
fn a_tool_in_the_shape_of_the_wire_is_read_whole() {
    let tools = decode_here(
        r#"[{
            "name": "get-profile",
            "tool_name": {"name": "get-profile", "namespace": "mcp__ologs__"},
            "description": "Gets a profile.",
            "kind": "freeform",
            "input_schema": {"type": "object"},
            "output_schema": null,
            "command": ["bin/profile", "--json"]
        }]"#,
    )
    .unwrap();
    let tool = &tools[0];
    assert_eq!(tool.definition.name, "get-profile");
    assert_eq!(
        tool.definition.tool_name.namespace.as_deref(),
        Some("mcp__ologs__")
    );
    assert_eq!(tool.definition.description, "Gets a profile.");
    assert_eq!(tool.definition.kind, ToolKind::Freeform);
    assert_eq!(
        tool.definition.input_schema.as_ref().unwrap().get(),
        r#"{"type": "object"}"#
    );
    assert!(tool.definition.output_schema.is_none());
    assert_eq!(tool.command.program, Path::new("/tools/bin/profile"));
    assert_eq!(tool.command.arguments, ["--json"]);
}

#[test]
fn only_name_and_command_are_needed() {
    let tools = decode_here(r#"[{"name": "wc", "command": ["wc"]}]"#).unwrap();
    let definition = &tools[0].definition;
    assert_eq!(
        definition.tool_name,
        ToolName {
            name: "wc".into(),
            namespace: None
        }
    );
    assert_eq!(definition.kind, ToolKind::Function);
    assert_eq!(tools[0].command.program, Path::new("wc"));
}

#[test]
fn an_absolute_program_stays_as_it_is() {
    let tools = decode_here(r#"[{"name": "wc", "command": ["/usr/bin/wc"]}]"#).unwrap();
    assert_eq!(tools[0].command.program, Path::new("/usr/bin/wc"));
}

#[test]
fn text_that_is_not_json_is_placed() {
    check_mistake(
        "[\n  {,\n",
        "line 2, column 4: not JSON: key must be a string",
    );
    check_mistake("", "line 1, column 1: not JSON: EOF while parsing a value");
}

#[test]
fn a_mistake_names_its_line_and_its_field() {
    check_mistake("{}", "line 1, column 1: must be a list, not an object");
    check_mistake(
        "[\n\n  7]",
        "line 3, column 3: [0]: must be an object, not a number",
    );
    check_mistake(
        "[{\"name\": \"a\",\n  \"command\": [\"a\", 1]}]",
        "line 2, column 20: [0].command[1]: must be a string, not a number",
    );
    check_mistake(
        "[{\"name\": \"a\", \"command\": [\"a\"]},\n {\"name\": \"b\"}]",
        "line 2, column 2: [1].command: is missing",
    );
    check_mistake(
        r#"[{"name": "a", "command": []}]"#,
        "line 1, column 27: [0].command: must name a program: [\"program\", \"argument\", …]",
    );
    check_mistake(
        r#"[{"name": " ", "command": ["a"]}]"#,
        "line 1, column 11: [0].name: must not be empty",
    );
    check_mistake(
        r#"[{"name": "a", "command": ["a", "\u0000"]}]"#,
        "line 1, column 33: [0].command[1]: must not hold a NUL",
    );
    check_mistake(
        r#"[{"name": "a", "kind": "tool", "command": ["a"]}]"#,
        "line 1, column 24: [0].kind: must be function or freeform, not tool",
    );
    check_mistake(
        r#"[{"name": "a", "input_schema": [], "command": ["a"]}]"#,
        "line 1, column 32: [0].input_schema: must be a JSON schema (an object) or null, not a list",
    );
    check_mistake(
        r#"[{"name": "a", "tool_name": {"nmae": "a"}, "command": ["a"]}]"#,
        "line 1, column 38: [0].tool_name.nmae: unknown field; did you mean name?",
    );
    check_mistake(
        r#"[{"name": "a", "colour": 1, "command": ["a"]}]"#,
        "line 1, column 26: [0].colour: unknown field; known are name, tool_name, description, \
         kind, input_schema, output_schema, command",
    );
    check_mistake(
        r#"[{"name": "a", "name": "b", "command": ["a"]}]"#,
        "line 1, column 24: [0].name: is given twice",
    );
}

#[test]
fn two_tools_of_one_name_in_scripts_are_refused() {
    check_mistake(
        "[{\"name\": \"get-it\", \"command\": [\"a\"]},\n{\"name\": \"get_it\", \"command\": [\"a\"]}]",
        "line 2, column 1: [1].name: get_it and get-it (line 1) would both be tools.get_it in scripts",
    );
    check_mistake(
        "[{\"name\": \"a\", \"command\": [\"a\"]},\n\
         {\"name\": \"b\", \"tool_name\": {\"name\": \"a\"}, \"command\": [\"a\"]}]",
        "line 2, column 1: [1].tool_name: the tool of line 1 has the same tool_name",
    );
}

#[test]
fn a_column_counts_characters() {
    check_mistake(
        r#"[{"description": "größer", "name": 1}]"#,
        "line 1, column 36: [0].name: must be a string, not a number",
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = load(Path::new("/nonexistent/tools.json"), false)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "failed to read the tools file /nonexistent/tools.json: \
         No such file or directory (os error 2)"
    );
}

#[test]
fn a_file_above_the_bound_is_refused() {
    let endless = std::io::repeat(b' ');
    assert_eq!(
        read_text_from(endless).unwrap_err(),
        "it is larger than 67108864 bytes"
    );
}

#[test]
fn a_file_that_is_not_text_is_refused() {
    let error = read_text_from(&b"ab\xff"[..]).unwrap_err();
    assert_eq!(error, "it is not UTF-8 text (byte 2 is wrong)");
}

#[test]
fn a_mistake_is_shown_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tools.json");
    std::fs::write(&path, "[\n  {\"name\": \"a\", \"command\": \"ls\"}\n]\n").unwrap();
    let error = load(&path, false).unwrap_err().to_string();
    assert!(
        error.contains("[0].command: must be a list, not a string"),
        "{error}"
    );
    assert!(error.contains("tools.json:2:28"), "{error}");
    assert!(
        error.contains("2 |   {\"name\": \"a\", \"command\": \"ls\"}"),
        "{error}"
    );
}

#[test]
fn several_files_give_their_tools_together_unless_two_collide() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let one = file("one.json", r#"[{"name": "get-it", "command": ["a"]}]"#);
    let two = file("two.json", r#"[{"name": "put", "command": ["./b"]}]"#);
    let bad = file("bad.json", r#"[{"name": "get_it", "command": ["c"]}]"#);
    let same = file(
        "same.json",
        r#"[{"name": "other", "tool_name": {"name": "put"}, "command": ["c"]}]"#,
    );
    let tools = load_all(&[one.clone(), two.clone()], false).unwrap();
    let names: Vec<&str> = tools
        .iter()
        .map(|tool| tool.definition.name.as_str())
        .collect();
    assert_eq!(names, ["get-it", "put"]);
    assert_eq!(tools[1].command.program, folder.path().join("./b"));
    let error = load_all(&[one.clone(), bad], false)
        .unwrap_err()
        .to_string();
    assert!(error.contains("get_it and get-it ("), "{error}");
    assert!(error.contains("would both be tools.get_it"), "{error}");
    let error = load_all(&[two, same], false).unwrap_err().to_string();
    assert!(error.contains("with the tool_name of other"), "{error}");
}
