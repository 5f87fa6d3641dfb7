// SPDX-License-Identifier: Apache-2.0
//! How `args` and `input` reach a script.
//!
//! A script that mentions `args` or `input` gets a statement put in front of the first of its own,
//! on the same line, that sets these properties of the global object. Declarations of the script's
//! own therefore hide them and never collide with them. A Markdown fence around the script is taken off
//! before, since behind a statement it would be none. Other scripts run as they are.

use code_mode_api::{RawJson, without_fence};

use crate::edited::Edited;

/// What a script is given.
#[derive(Debug, Default)]
pub struct Globals {
    /// The arguments behind the script.
    pub args: Vec<String>,
    /// The value of `--input`.
    pub input: Option<RawJson>,
}

impl Globals {
    /// The script with what it asks for.
    pub fn give_to(&self, source: &str) -> Edited {
        let mut statements = String::new();
        if mentions(source, "args") {
            let args = serde_json::Value::from(self.args.clone()).to_string();
            statements.push_str(&format!("globalThis.args={};", parsed(&args)));
        }
        if mentions(source, "input") {
            let value = match &self.input {
                Some(input) => parsed(input.get()),
                None => "undefined".to_owned(),
            };
            statements.push_str(&format!("globalThis.input={value};"));
        }
        if statements.is_empty() {
            return Edited::unchanged(source);
        }
        let source = without_fence(source);
        Edited::new(&source, vec![(behind_hashbang(&source), statements)], "")
    }
}

/// Where the first statement may stand: `#!` counts as a comment only at the very beginning.
fn behind_hashbang(source: &str) -> usize {
    if !source.starts_with("#!") {
        return 0;
    }
    source.find('\n').map_or(source.len(), |at| at + 1)
}

/// An expression that gives the value of this JSON text. A literal would not: `__proto__` means
/// something else in one.
fn parsed(json: &str) -> String {
    format!("JSON.parse({})", serde_json::Value::from(json))
}

/// Whether the text has this word, be it code or not.
pub fn mentions(text: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let behind = text
            .get(at + word.len()..)
            .and_then(|text| text.chars().next());
        !before.is_some_and(is_word) && !behind.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::value::RawValue;

    use super::*;

    fn globals() -> Globals {
        Globals {
            args: vec!["a \"b\"".into()],
            input: Some(RawValue::from_string("{\"__proto__\": 1}".into()).unwrap()),
        }
    }

    #[test]
    fn a_script_that_asks_for_nothing_runs_as_it_is() {
        for source in ["text(1)", "const myargs = 1, args2 = 2, $input = 3;"] {
            assert_eq!(globals().give_to(source), Edited::unchanged(source));
        }
    }

    #[test]
    fn what_a_script_mentions_is_set_in_front_of_its_first_statement() {
        assert_eq!(
            globals().give_to("text(args)").text(),
            r#"globalThis.args=JSON.parse("[\"a \\\"b\\\"\"]");text(args)"#
        );
        assert_eq!(
            globals().give_to("text(input)").text(),
            r#"globalThis.input=JSON.parse("{\"__proto__\": 1}");text(input)"#
        );
        assert_eq!(
            Globals::default().give_to("f(input, args)").text(),
            "globalThis.args=JSON.parse(\"[]\");globalThis.input=undefined;f(input, args)"
        );
    }

    #[test]
    fn a_fence_around_a_script_is_taken_off_before() {
        let edited = Globals::default().give_to("```js\ntext(args)\n```\n");
        assert_eq!(
            edited.text(),
            "globalThis.args=JSON.parse(\"[]\");     \ntext(args)\n   \n"
        );
        let unasked = "```js\ntext(1)\n```";
        assert_eq!(
            Globals::default().give_to(unasked),
            Edited::unchanged(unasked)
        );
    }

    #[test]
    fn the_line_that_names_the_interpreter_stays_the_first() {
        let edited = Globals::default().give_to("#!/usr/bin/env code_mode\ntext(args)");
        assert_eq!(
            edited.text(),
            "#!/usr/bin/env code_mode\nglobalThis.args=JSON.parse(\"[]\");text(args)"
        );
    }
}
