// SPDX-License-Identifier: Apache-2.0
use pretty_assertions::assert_eq;

use super::*;

fn script_of(entry: &str) -> Script {
    match read(entry) {
        Reading::Script(script) => script,
        other => panic!("{entry}: {other:?}"),
    }
}

fn value_of(entry: &str) -> Option<&str> {
    script_of(entry).value.map(|range| &entry[range])
}

#[test]
fn an_entry_goes_on_while_something_is_open() {
    for open in [
        "f(",
        "f(\n",
        "[1,",
        "{",
        "`a",
        "`a ${",
        "`a ${`b`",
        "`a${1}",
        "/* a",
        "f(/[)]/",
        "x = {a: ')'",
        "'a\\",
        "if (a) {\n b(",
        "(/(/.test(a)",
        "1 +",
        "(a) =>",
        "[1].map((n) => {",
        "if (a) b(); else",
        "async function f()",
        "function f",
        "class A {",
        "import {a",
        "const x =",
    ] {
        assert_eq!(read(open), Reading::Unfinished, "{open}");
    }
}

#[test]
fn an_entry_that_no_further_line_mends_is_wrong() {
    for wrong in [
        "'unterminated",
        ")",
        "let y = ;",
        "const x",
        "a b",
        "return 1",
    ] {
        assert_eq!(read(wrong), Reading::Wrong, "{wrong}");
    }
}

#[test]
fn an_entry_is_complete_when_everything_is_closed() {
    for complete in [
        "f()",
        "'('",
        "\"(\\\"(\"",
        "`(${f({a: `}`})})`",
        "// (",
        "/* ( */ 1",
        "/[(]\\/(/.test(a)",
        "a / b / (c)",
        "",
        "(a) / 2 / (b)",
        "x = 1 // it's",
        "await f()",
        "for await (const a of b) {}",
    ] {
        assert!(matches!(read(complete), Reading::Script(_)), "{complete}");
    }
}

#[test]
fn the_value_is_that_of_the_last_statement_if_it_is_an_expression() {
    for (entry, value) in [
        ("1 + 1", Some("1 + 1")),
        (" tools.list({a: 1}); ", Some("tools.list({a: 1})")),
        ("const a = 1; a + 1 // sum", Some("a + 1")),
        ("'use strict'", Some("'use strict'")),
        ("'a'; 'b';", Some("'b'")),
        ("{a: 1}", Some("{a: 1}")),
        ("{}", Some("{}")),
        ("{ f(); }", None),
        ("(a)", Some("(a)")),
        ("a\nb", Some("b")),
        ("import('tools.js')", Some("import('tools.js')")),
        ("async () => 1", Some("async () => 1")),
        ("if (a) b()", None),
        ("let a", None),
        ("function f() {}", None),
        ("// only words", None),
        ("", None),
    ] {
        assert_eq!(value_of(entry), value, "{entry}");
    }
}

#[test]
fn every_outermost_declaration_is_found() {
    let entry = "const {a, b: [c = 1, ...d]} = f(), e = 2;\nvar v; let l = 1\n\
                 async function g() { const inner = 1; }\nclass K {}\n\
                 import n, {m as o} from 'tools.js'; import * as p from \"x\";\nfor (const i of []) {}";
    let declared: Vec<(String, How)> = script_of(entry)
        .statements
        .into_iter()
        .flat_map(|statement| statement.declares)
        .map(|declared| (declared.name, declared.how))
        .collect();
    let import = |text: &str| How::Import(text.to_owned());
    let expected = [
        ("a", How::Constant),
        ("c", How::Constant),
        ("d", How::Constant),
        ("e", How::Constant),
        ("v", How::Variable),
        ("l", How::Variable),
        ("g", How::Function),
        ("K", How::Variable),
        ("n", import("import n from \"tools.js\";")),
        ("o", import("import {\"m\" as o} from \"tools.js\";")),
        ("p", import("import * as p from \"x\";")),
    ];
    assert_eq!(declared, expected.map(|(name, how)| (name.to_owned(), how)));
}

#[test]
fn statements_end_behind_their_semicolon() {
    let ends: Vec<usize> = script_of("a();\nlet b = 1\nc")
        .statements
        .iter()
        .map(|s| s.end)
        .collect();
    assert_eq!(ends, [4, 14, 16]);
}

#[test]
fn what_can_stand_as_an_expression_is_known() {
    for text in [
        "(x) => x",
        "function f() {}",
        "class A {}",
        "async (a) => { await a; }",
    ] {
        assert!(is_expression(&format!("({text})")), "{text}");
    }
    for text in ["m() {}", "get x() { return 1 }", "1) + (2", ""] {
        assert!(
            !is_expression(&format!("[{text}]")) || text.is_empty(),
            "{text}"
        );
    }
}
