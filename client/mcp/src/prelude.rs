// SPDX-License-Identifier: Apache-2.0
//! What is put in front of a script: `searchTools`, `resources` and `prompts`, where it mentions them.
//!
//! It stands on the script's first line, so that no line gets another number, and errors are told in
//! columns of what the model wrote. The names are set on the global object, so that a script may declare
//! the same ones for itself.

use std::fmt::Write;

use code_mode_api::without_fence;

const SEARCH: &str = "globalThis.searchTools=(query,o)=>tools.code_mode__search({...o,query});";
const RESOURCES: &str = "globalThis.resources={list:(server)=>tools.code_mode__resources_list({server}),\
read:(server,uri)=>tools.code_mode__resources_read({server,uri})};";
const PROMPTS: &str = "globalThis.prompts={list:(server)=>tools.code_mode__prompts_list({server}),\
get:(server,name,args)=>tools.code_mode__prompts_get({server,name,arguments:args})};";

/// What was put in front of a script.
pub struct Prelude(String);

/// Puts in front of `code` what it mentions, and takes a Markdown fence around all of it away; gives the
/// source to run.
pub fn prepare(code: &str) -> (String, Prelude) {
    let code = without_fence(code);
    let mut prelude = String::new();
    for (word, text) in [
        ("searchTools", SEARCH),
        ("resources", RESOURCES),
        ("prompts", PROMPTS),
    ] {
        if mentions(&code, word) {
            prelude.push_str(text);
        }
    }
    (format!("{prelude}{code}"), Prelude(prelude))
}

fn mentions(text: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let behind = text[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !behind.is_some_and(is_word)
    })
}

impl Prelude {
    /// An error of the script, told as if nothing stood in front of it.
    pub fn restore(&self, error: &str) -> String {
        if self.0.is_empty() {
            return error.to_owned();
        }
        const FIRST_LINE: &str = "exec_main.mjs:1:";
        let mut restored = String::new();
        let shows_line = error.contains(&self.0);
        for line in error.split_inclusive('\n') {
            let mut line = line.replace(&self.0, "");
            // The mark below the line that is shown.
            if shows_line && line.trim_start().starts_with('^') {
                let shift = self.0.len().min(line.len() - line.trim_start().len());
                line.replace_range(..shift, "");
            }
            let mut rest = line.as_str();
            while let Some((before, behind)) = rest.split_once(FIRST_LINE) {
                restored.push_str(before);
                restored.push_str(FIRST_LINE);
                let digits = behind.len()
                    - behind
                        .trim_start_matches(|c: char| c.is_ascii_digit())
                        .len();
                match behind[..digits].parse::<usize>() {
                    Ok(column) => {
                        // Writing to a string cannot fail.
                        let _ = write!(restored, "{}", column.saturating_sub(self.0.len()).max(1));
                    }
                    Err(_) => restored.push_str(&behind[..digits]),
                }
                rest = &behind[digits..];
            }
            restored.push_str(rest);
        }
        restored
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn a_script_gets_what_it_mentions_and_nothing_else() {
        assert_eq!(prepare("text(1)").0, "text(1)");
        assert_eq!(
            prepare("my_resources; promptsX").0,
            "my_resources; promptsX"
        );
        let source = prepare("text(await searchTools('x'))").0;
        assert!(source.starts_with("globalThis.searchTools="), "{source}");
        assert!(
            source.ends_with(";text(await searchTools('x'))"),
            "{source}"
        );
        assert!(!source.contains('\n'));
        assert!(prepare("resources.list()").0.contains("resources_read"));
        assert!(prepare("prompts.get('a','b')").0.contains("prompts_get"));
    }

    #[test]
    fn what_a_fenced_script_mentions_stands_in_front_of_its_first_line() {
        let (source, prelude) = prepare("```js\nsearchTools('x')\n```");
        assert_eq!(source, format!("{}     \nsearchTools('x')\n   ", prelude.0));
        assert_eq!(prepare("```js").0, "```js");
    }

    #[test]
    fn errors_are_told_in_columns_of_the_script() {
        let (source, prelude) = prepare("searchTools(; ");
        let column = prelude.0.len() + 13;
        let margin = " ".repeat(column - 1);
        let error = format!(
            "SyntaxError: x\n    at exec_main.mjs:1:{column}\n{source}\n{margin}^\n    at exec_main.mjs:2:5"
        );
        let expected = format!(
            "SyntaxError: x\n    at exec_main.mjs:1:13\nsearchTools(; \n{}^\n    at exec_main.mjs:2:5",
            " ".repeat(12)
        );
        assert_eq!(prelude.restore(&error), expected);
        let (_, plain) = prepare("x");
        assert_eq!(
            plain.restore("at exec_main.mjs:1:9"),
            "at exec_main.mjs:1:9"
        );
    }
}
