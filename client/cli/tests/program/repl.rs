// SPDX-License-Identifier: Apache-2.0
//! `code_mode repl` without a terminal.

use pretty_assertions::assert_eq;

use super::support::{Fixture, SIGNAL_HOST};

#[test]
fn the_prompt_shows_values_and_goes_on_after_errors() {
    let input = "1 + 1\nconst x = 5; text(x)\n[1,\n2].map((n) => n * 2)\n`a${\n1}`\nawait Promise.resolve('w');\n\
                 let y = ;\nthrow new Error('bad')\n'still here'\n";
    let outcome = Fixture::new().run_with_input(&["repl"], input);
    assert_eq!(outcome.stdout, "2\n5\n[2,4]\na1\nw\nstill here\n");
    assert!(outcome.stderr.contains("Error: bad"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("SyntaxError"), "{}", outcome.stderr);
    assert_eq!(outcome.status, Some(0));
}

#[test]
fn a_cell_goes_to_the_background_and_its_result_is_fetched() {
    let fixture = Fixture::new();
    fixture.gate();
    fixture.tools(&[("wait", "cat gate"), ("go", "echo > gate")]);
    let input = "text('first'); await tools.wait(); text('last');\n.cells\n\
                 await tools.go(); text('gone');\n.wait 1\n.cells\n";
    let arguments = ["repl", "--tools", "tools.json", "--yield-after", "2s"];
    let outcome = fixture.run_with_input(&arguments, input);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines.first(), Some(&"first"), "{}", outcome.stdout);
    assert!(
        outcome.stdout.contains("text('first'); await"),
        "{}",
        outcome.stdout
    );
    assert_eq!(lines[2..], ["gone", "last", "no cells in the background"]);
    assert!(
        outcome.stderr.contains("runs on; .wait"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_lost_host_is_said_and_the_next_entry_has_the_stored_values() {
    let fixture = Fixture::new();
    fixture.tools(&[("signal_host", SIGNAL_HOST)]);
    let input = "store('kept', 1);\nawait tools.signal_host('KILL');\nstore('new', load('kept') + 1);\n.store\n";
    let arguments = ["repl", "--tools", "tools.json", "--store", "store.json"];
    let outcome = fixture.run_with_input(&arguments, input);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.status),
        ("kept: 1\nnew: 2\n", Some(0))
    );
    assert!(
        outcome
            .stderr
            .contains("the next entry starts a fresh host"),
        "{}",
        outcome.stderr
    );
    let kept = std::fs::read_to_string(fixture.folder.path().join("store.json")).unwrap();
    assert_eq!(kept, "{\n  \"kept\": 1,\n  \"new\": 2\n}\n");
}

#[test]
fn names_carry_over_to_the_next_entry() {
    let input = "const a = 20, {b: [c]} = {b: [1]}\nlet n = a + c\nfunction double(x) { return x * 2; }\n\
                 const twice = (x) => double(x)\nn += 0; twice(n)\nclass Base { v() { return 'base'; } }\n\
                 class Sub extends Base {}\nnew Sub().v()\nn++\nn\nlet big = 12n, nothing\n\
                 [typeof big, typeof nothing]\nn = {list: []}\nn.list.push(1); throw new Error('late')\nn\n\
                 const a = 'anew'\na\n.names\n";
    let outcome = Fixture::new().run_with_input(&["repl"], input);
    assert_eq!(
        outcome.stdout,
        "42\nbase\n21\n22\n[\"bigint\",\"undefined\"]\n{\"list\":[]}\n{\"list\":[1]}\nanew\n\
         a, c, n, double, twice, Base, Sub, big, nothing\n",
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("exec_main.mjs:1:23"),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.status, Some(0));
}

#[test]
fn a_fence_around_an_entry_is_taken_off() {
    let input = "```js\nconst n = 20 + 1\nn * 2\n```\nn\n";
    let outcome = Fixture::new().run_with_input(&["repl"], input);
    assert_eq!(outcome.stdout, "42\n21\n", "{}", outcome.stderr);
}

#[test]
fn what_does_not_carry_over_is_said() {
    let input = "const m = new Map([[1, 2]]), ok = 1\nm.get(1)\nok\n";
    let outcome = Fixture::new().run_with_input(&["repl"], input);
    assert_eq!(outcome.stdout, "1\n");
    assert!(
        outcome
            .stderr
            .contains("m does not carry over to the next entry: it is an object of Map"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("m is not defined"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_constant_stays_one_and_a_tool_import_carries_over() {
    let fixture = Fixture::new();
    fixture.tools(&[("echo", "cat")]);
    let input = "const fixed = 1\nfixed = 2\nawait tools.echo(fixed)\nconst text = 'mine'\ntext\n";
    let outcome = fixture.run_with_input(&["repl", "--tools", "tools.json"], input);
    assert_eq!(outcome.stdout, "1\nmine\n", "{}", outcome.stderr);
    assert!(
        outcome
            .stderr
            .contains("TypeError: Assignment to constant variable"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn values_are_coloured_where_colours_are_wanted() {
    let input = "({a: [1, 'x', null], m: new Map([['k', 2n]]), f() {}})\n";
    let outcome = Fixture::new().run_with_input(&["repl", "--color", "always"], input);
    assert_eq!(
        outcome.stdout,
        "{ a: [ \u{1b}[33m1\u{1b}[0m, \u{1b}[32m\"x\"\u{1b}[0m, \u{1b}[1mnull\u{1b}[0m ], \
         m: Map(1) { \u{1b}[32m\"k\"\u{1b}[0m => \u{1b}[33m2n\u{1b}[0m }, \
         f: \u{1b}[36m[function f]\u{1b}[0m }\n",
        "{}",
        outcome.stderr
    );
}
