// SPDX-License-Identifier: Apache-2.0
use pretty_assertions::assert_eq;

use super::*;

/// The first lines of what is run: the helpers are left out.
fn run(scope: &Scope, entry: &str) -> String {
    let edited = scope.rewrite(entry);
    let end = edited
        .text()
        .find("\n// Behind each entry")
        .unwrap_or(edited.text().len());
    edited.text()[..end].to_owned()
}

fn written(json: &str) -> String {
    format!("{KEPT_MARK}{json}")
}

fn scope(json: &str) -> Scope {
    let mut scope = Scope::default();
    assert_eq!(scope.keep(&written(json)), Vec::<String>::new());
    scope
}

#[test]
fn an_expression_is_shown_and_nothing_else_is_added() {
    let scope = Scope::default();
    assert_eq!(
        run(&scope, "1 + 1; // two"),
        ";$cm_show(await(1 + 1)); // two"
    );
    assert_eq!(run(&scope, "{a: 1}"), ";$cm_show(await({a: 1}))");
    assert_eq!(run(&scope, "if (a) b()"), "if (a) b()");
}

#[test]
fn what_is_no_javascript_runs_as_it_is() {
    let scope = Scope::default();
    assert_eq!(scope.rewrite("let y = ;"), Edited::unchanged("let y = ;"));
}

#[test]
fn names_are_written_down_behind_each_statement_once_they_are_there() {
    let entry = "const a = 1\nlet {b} = f()\nfunction f() {}\nclass C {}";
    assert_eq!(
        run(&Scope::default(), entry),
        "const a = 1;$cm_keep({a},{f});\nlet {b} = f();$cm_keep({a},{f,b});\n\
         function f() {};$cm_keep({a},{f,b});\nclass C {};$cm_keep({a},{f,b,C});"
    );
}

#[test]
fn a_name_comes_back_where_it_is_mentioned_and_not_declared_anew() {
    let scope =
        scope(r#"{"a": ["c", "j", "1"], "b": ["v", "j", "[2]"], "unused": ["v", "e", "3n"]}"#);
    assert_eq!(
        run(&scope, "b.push(a)"),
        "const a=$cm_get(0);let b=$cm_get(1);;$cm_show(await(b.push(a)));$cm_keep({a},{b});"
    );
    assert!(
        scope
            .rewrite("b.push(a)")
            .text()
            .contains("{ const b = JSON.parse(\"[2]\"); return b; }")
    );
    assert_eq!(
        run(&scope, "const b = a"),
        "const a=$cm_get(0);const b = a;$cm_keep({a,b},{});"
    );
    assert_eq!(run(&scope, "other"), ";$cm_show(await(other))");
}

#[test]
fn a_function_brings_what_it_mentions() {
    let scope = scope(
        r#"{"rate": ["c", "j", "2"], "one": ["v", "f", "function one(x) { return x * rate; }"],
            "two": ["c", "f", "(x) => one(one(x))"]}"#,
    );
    assert!(
        run(&scope, "two(1)")
            .starts_with("let one=$cm_get(0);const rate=$cm_get(1);const two=$cm_get(2);;")
    );
    let text = scope.rewrite("two(1)").text().to_owned();
    assert!(
        text.contains("const two = ((x) => one(one(x))\n); return two;"),
        "{text}"
    );
}

#[test]
fn an_import_comes_back_behind_the_entry() {
    let mut scope = Scope::default();
    scope.keep_imports("import {a as b, c} from 'tools.js'");
    assert_eq!(run(&scope, "b()"), ";$cm_show(await(b()))");
    let text = scope.rewrite("b()").text().to_owned();
    assert!(
        text.ends_with("import {\"a\" as b} from \"tools.js\";\n"),
        "{text}"
    );
    assert_eq!(scope.names().collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn what_does_not_carry_over_is_said_and_forgotten() {
    let mut scope = scope(r#"{"a": ["c", "j", "1"], "m": ["v", "j", "1"]}"#);
    let text = r#"{"a": ["c", "x", "an object of Map"], "m": ["v", "f", "m() {}"]}"#;
    assert_eq!(
        scope.keep(&written(text)),
        [
            "a does not carry over to the next entry: it is an object of Map",
            "m does not carry over to the next entry: it is a method, whose source cannot stand alone",
        ]
    );
    assert_eq!(scope.names().count(), 0);
}

#[test]
fn more_than_there_is_room_for_does_not_carry_over() {
    let mut scope = scope(r#"{"a": ["c", "j", "1"]}"#);
    let large = "x".repeat(MAX_CARRIED_BYTES - 2);
    let text =
        |name: &str, value: &str| written(&format!("{{\"{name}\": [\"c\", \"j\", {value:?}]}}"));
    let notices = scope.keep(&text("b", &large));
    assert_eq!(notices, Vec::<String>::new());
    let notices = scope.keep(&text("c", "12"));
    assert!(notices[0].contains("too large"), "{notices:?}");
    // A smaller value in its place makes room again.
    assert_eq!(scope.keep(&text("b", "1")), Vec::<String>::new());
    assert_eq!(scope.keep(&text("c", "12")), Vec::<String>::new());
}

#[test]
fn errors_are_told_in_places_of_what_was_typed() {
    let scope = scope(r#"{"a": ["c", "j", "1"]}"#);
    let entry = "const b = 1; nope(a, b)";
    let edited = scope.rewrite(entry);
    let column = edited.text().find("nope").unwrap() + 1;
    let error = format!("ReferenceError: nope is not defined\n    at exec_main.mjs:1:{column}");
    assert!(
        edited.restore(&error).ends_with("exec_main.mjs:1:14"),
        "{}",
        edited.restore(&error)
    );
}
