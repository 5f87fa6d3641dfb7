//! `javascript-surface.md`, section *Errors*.

use pretty_assertions::assert_eq;

use code_mode_api::CellStatus;

use crate::fixture::{Fixture, MakeProvider, texts_of};

/// An uncaught error gives name, message and the place in `exec_main.mjs`.
pub async fn uncaught_errors_carry_their_position(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let error = fixture
        .error("text('before');\n  throw new RangeError('too far')")
        .await;
    assert_eq!(error, "RangeError: too far\n    at exec_main.mjs:2:9");
    let error = fixture
        .error("function inner() {\n  null.x\n}\nawait 0; inner()")
        .await;
    assert!(
        error.starts_with("TypeError: Cannot read properties of null (reading 'x')"),
        "{error}"
    );
    assert!(error.contains("at inner (exec_main.mjs:2:8)"), "{error}");
    assert!(error.contains("exec_main.mjs:4:10"), "{error}");
    let error = fixture.error("image(5)").await;
    assert!(error.contains("exec_main.mjs:1:1"), "{error}");
    let error = fixture.error("throw { code: 7 }").await;
    assert_eq!(error, r#"{"code":7}"#);
    fixture.end().await;
}

/// A thrown string is the error text.
pub async fn thrown_strings_are_the_error_text_itself(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    assert_eq!(fixture.error("throw 'just so'").await, "just so");
    fixture.end().await;
}

/// A syntax error shows where it is.
pub async fn syntax_errors_show_line_and_caret(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let error = fixture.error("text(1);\nconst answer").await;
    let expected = "SyntaxError: Missing initializer in const declaration\n    \
                    at exec_main.mjs:2:7\n\n2 | const answer\n          ^";
    assert_eq!(error, expected);
    let long = format!("/* {} */ f(1 +* 2);", "ü".repeat(5_000));
    let error = fixture.error(&long).await;
    assert!(error.starts_with("SyntaxError: "), "{error}");
    assert!(error.len() < 1_000, "{} bytes", error.len());
    let lines: Vec<Vec<char>> = error.lines().map(|line| line.chars().collect()).collect();
    let [.., shown, caret] = lines.as_slice() else {
        panic!("{error}")
    };
    let column = caret.iter().position(|c| *c == '^').expect("a caret");
    assert_eq!(shown.get(column), Some(&'*'), "{error}");
    fixture.end().await;
}

/// What models often get wrong is recognised.
pub async fn common_mistakes_get_a_hint(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    for (source, hint) in [
        ("const x: number = 1; text(x)", "TypeScript"),
        ("interface A { b: string }", "TypeScript"),
        ("```js\ntext(1)\n```", "fence"),
        ("Here it is:\n```js\ntext(1)\n```", "fence"),
        ("const fs = require('fs')", "ES module"),
        ("module.exports = 1", "ES module"),
        ("console.log(1)", "text("),
        ("await fetch('https://example.com')", "tool"),
    ] {
        let error = fixture.error(source).await;
        let (_, given) = error.split_once("\nHint: ").unwrap_or_default();
        assert!(given.contains(hint), "{source} gave {error}");
    }
    fixture.end().await;
}

/// A timer's exception is the cell's.
pub async fn an_error_in_a_timer_ends_the_cell(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "setTimeout(() => { throw new Error('late') }, 1);\nawait new Promise(() => {});";
    assert_eq!(
        fixture.error(source).await,
        "Error: late\n    at exec_main.mjs:1:26"
    );
    fixture.end().await;
}

/// A rejection that nobody handles is said at the end, and the output stays.
pub async fn forgotten_rejections_are_reported(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    for (source, expected) in [
        (
            "Promise.reject(new Error('lost')); text('kept')",
            "Unhandled rejection: Error: lost",
        ),
        (
            "(async () => { throw 'thrown' })(); text('kept')",
            "Unhandled rejection: thrown",
        ),
        (
            "tools.fail(); await new Promise(r => setTimeout(r, 200)); text('kept')",
            "Unhandled rejection: Error: the tool says no",
        ),
    ] {
        let response = fixture.run(source).await;
        assert_eq!(texts_of(&response), ["kept"], "{source}");
        let CellStatus::Completed {
            error_text: Some(error),
        } = response.status
        else {
            panic!("{source} gave {:?}", response.status)
        };
        assert!(error.starts_with(expected), "{error}");
    }
    fixture.end().await;
}

/// A rejection that is handled in time, or a call that the end of the cell cancels, is no error.
pub async fn handled_rejections_are_not_reported(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    for source in [
        "Promise.reject(1).catch(() => {});",
        "const p = Promise.reject(1); await null; await null; p.catch(() => {});",
        "tools.hang();",
        "await Promise.allSettled([Promise.reject(1), tools.fail()]);",
        "Promise.reject(1); exit();",
    ] {
        assert_eq!(fixture.texts(source).await, [""; 0], "{source}");
    }
    fixture.end().await;
}

/// Recursion without end is an error that the script can catch.
pub async fn deep_recursion_is_a_range_error(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let error = fixture.error("const f = () => f() + 1; f()").await;
    assert!(
        error.starts_with("RangeError: Maximum call stack size exceeded"),
        "{error}"
    );
    let source = "
        let deep = []; for (let i = 0; i < 200000; i++) deep = [deep];
        try { text(deep) } catch (e) { text(e.name) }
        const o = { toJSON() { return JSON.stringify(o) } };
        try { text(o) } catch (e) { text(e.name) }
    ";
    assert_eq!(fixture.texts(source).await, ["RangeError", "RangeError"]);
    fixture.end().await;
}
