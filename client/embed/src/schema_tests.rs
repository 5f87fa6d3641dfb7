// SPDX-License-Identifier: Apache-2.0
use pretty_assertions::assert_eq;
use serde_json::json;

use super::*;

#[track_caller]
fn check(schema: Value, expected: &str) {
    assert_eq!(type_of(&schema, 0), expected);
}

#[test]
fn plain_types_have_their_typescript_names() {
    check(json!({"type": "string"}), "string");
    check(json!({"type": "integer"}), "number");
    check(json!({"type": ["number", "null"]}), "number | null");
    check(
        json!({"type": "boolean", "nullable": true}),
        "boolean | null",
    );
    check(json!(true), "unknown");
    check(json!(false), "never");
    check(json!({}), "unknown");
    check(json!({"type": "file"}), "unknown");
}

#[test]
fn constants_and_enums_are_literals() {
    check(json!({"const": "a\"b"}), r#""a\"b""#);
    check(
        json!({"type": "string", "enum": ["asc", "desc", null]}),
        r#""asc" | "desc" | null"#,
    );
    check(json!({"enum": [1, true, 1]}), "1 | true");
    check(json!({"enum": []}), "never");
}

#[test]
fn arrays_and_tuples() {
    check(
        json!({"type": "array", "items": {"type": "string"}}),
        "string[]",
    );
    check(json!({"type": "array"}), "unknown[]");
    check(
        json!({"items": {"type": ["string", "null"]}}),
        "(string | null)[]",
    );
    check(
        json!({"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}],
               "items": {"type": "boolean"}}),
        "[string, number, ...boolean[]]",
    );
    check(
        json!({"type": "array", "items": [{"type": "string"}, {"enum": [1, 2]}], "minItems": 1,
               "additionalItems": false}),
        "[string, (1 | 2)?]",
    );
}

#[test]
fn short_objects_stand_on_one_line() {
    check(
        json!({"type": "object", "required": ["id"],
               "properties": {"id": {"type": "string"}, "limit-to": {"type": "integer"}}}),
        r#"{ id: string; "limit-to"?: number }"#,
    );
}

#[test]
fn descriptions_defaults_and_deprecations_are_comments() {
    check(
        json!({"type": "object", "required": ["id"], "properties": {
            "id": {"type": "string", "description": "Who.\nNot /* or */ what."},
            "limit": {"type": "integer", "description": "At most.", "default": 10},
            "old": {"type": "object", "deprecated": true,
                    "properties": {"a": {"type": "null", "description": "Deep."}}}}}),
        "{\n  /**\n   * Who.\n   * Not /* or *\\/ what.\n   */\n  id: string;\n  \
         /**\n   * At most.\n   * @default 10\n   */\n  limit?: number;\n  \
         /** @deprecated */\n  old?: {\n    /** Deep. */\n    a?: null;\n  };\n}",
    );
}

#[test]
fn other_members_are_a_record() {
    check(json!({"type": "object"}), "Record<string, unknown>");
    check(
        json!({"type": "object", "additionalProperties": false}),
        "Record<string, never>",
    );
    check(
        json!({"additionalProperties": {"type": "number"}}),
        "Record<string, number>",
    );
    check(
        json!({"type": "object", "properties": {"a": {"type": "string"}},
               "additionalProperties": {"type": ["string", "number"]}}),
        "{ a?: string } & Record<string, string | number>",
    );
    check(
        json!({"type": "object", "properties": {"a": {}}, "additionalProperties": true}),
        "{ a?: unknown } & Record<string, unknown>",
    );
    check(
        json!({"patternProperties": {"^x": {"type": "string"}, "^y": {"type": "null"}}}),
        "Record<string, string | null>",
    );
    check(
        json!({"type": "object", "required": ["free"]}),
        "{ free: unknown }",
    );
}

#[test]
fn unions_and_intersections_keep_their_precedence() {
    check(
        json!({"anyOf": [{"type": "string"}, {"type": "string"}, {"type": "null"}]}),
        "string | null",
    );
    check(
        json!({"allOf": [{"oneOf": [{"const": 1}, {"const": 2}]}, {"type": "number"}]}),
        "(1 | 2) & number",
    );
    check(
        json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
               "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
        "{ a?: string; b?: string }",
    );
}

#[test]
fn local_references_are_written_out() {
    check(
        json!({"$defs": {"Id": {"type": "string"}, "a/b": {"type": "number"}}, "type": "object",
               "required": ["id"],
               "properties": {"id": {"$ref": "#/$defs/Id"}, "n": {"$ref": "#/$defs/a~1b"}}}),
        "{ id: string; n?: number }",
    );
}

#[test]
fn references_that_cannot_be_followed_say_so() {
    check(
        json!({"$ref": "https://example.com/s.json"}),
        "unknown /* $ref https://example.com/s.json */",
    );
    check(
        json!({"$ref": "#/$defs/None"}),
        "unknown /* $ref #/$defs/None */",
    );
}

#[test]
fn recursive_schemas_are_cut_off() {
    let tree = json!({"$ref": "#/$defs/Node", "$defs": {"Node": {
        "type": "object", "required": ["children"],
        "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}}}}});
    check(tree, "{ children: unknown /* recursive: Node */[] }");
    check(
        json!({"type": "object", "properties": {"self": {"$ref": "#"}}}),
        "{ self?: unknown /* recursive: the whole */ }",
    );
    check(
        json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}),
        "unknown /* recursive: A */",
    );
}

#[test]
fn schemas_that_multiply_at_each_level_stay_finite() {
    let mut definitions = Map::new();
    for level in 0..5 {
        let next = json!({"$ref": format!("#/$defs/L{}", level + 1)});
        let members: Map<String, Value> = ["a", "b", "c", "d", "e", "f"]
            .map(|name| (name.to_owned(), next.clone()))
            .into_iter()
            .collect();
        definitions.insert(
            format!("L{level}"),
            json!({"type": "object", "properties": members}),
        );
    }
    definitions.insert("L5".into(), json!({"type": "string"}));
    let written = type_of(&json!({"$ref": "#/$defs/L0", "$defs": definitions}), 0);
    assert!(written.contains("unknown /* the schema goes on */"));
    assert!(written.len() < 1_000_000, "{}", written.len());
}

#[test]
fn a_long_chain_of_references_is_cut_off() {
    let definitions: Map<String, Value> = (0..100_000)
        .map(|at| {
            (
                format!("L{at}"),
                json!({"$ref": format!("#/$defs/L{}", at + 1)}),
            )
        })
        .collect();
    check(
        json!({"$ref": "#/$defs/L0", "$defs": definitions}),
        "unknown /* nested deeper */",
    );
}

#[test]
fn deep_schemas_are_cut_off() {
    let mut schema = json!({"type": "string"});
    for _ in 0..MAX_TYPE_DEPTH + 1 {
        schema = json!({"type": "array", "items": schema});
    }
    let expected = format!(
        "unknown /* nested deeper */{}",
        "[]".repeat(MAX_TYPE_DEPTH + 1)
    );
    check(schema, &expected);
}
