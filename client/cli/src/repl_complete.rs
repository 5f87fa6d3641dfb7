// SPDX-License-Identifier: Apache-2.0
//! Completes names at the prompt.

use std::sync::{Arc, Mutex, PoisonError};

use crate::repl_commands::COMMANDS;

/// What every script has, as `describe` documents it, and the words of the language that are typed at
/// a prompt.
const GLOBALS: [&str; 28] = [
    "ALL_TOOLS",
    "Array",
    "Date",
    "JSON",
    "Map",
    "Math",
    "Number",
    "Object",
    "Promise",
    "Set",
    "String",
    "async",
    "await",
    "clearTimeout",
    "const",
    "exit",
    "function",
    "generatedImage",
    "image",
    "import",
    "let",
    "load",
    "notify",
    "setTimeout",
    "store",
    "text",
    "tools",
    "yield_control",
];

/// The words that a prompt knows beside those; shared with the thread that reads it.
#[derive(Clone, Default)]
pub struct Words(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    tools: Vec<String>,
    names: Vec<String>,
}

impl Words {
    /// Words for tools of these names in scripts.
    pub fn new(tools: Vec<String>) -> Self {
        let names = Vec::new();
        Self(Arc::new(Mutex::new(Known { tools, names })))
    }

    /// Replaces the names that earlier entries have declared.
    pub fn set_names<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.names = names.map(str::to_owned).collect();
    }

    /// Where the word at the end of `text` begins, and what it may become.
    pub fn complete(&self, text: &str) -> (usize, Vec<String>) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let word = text
            .char_indices()
            .rev()
            .take_while(|(_, c)| is_word(*c))
            .last()
            .map_or(text.len(), |(at, _)| at);
        let before = text.get(..word).unwrap_or_default();
        let begun = text.get(word..).unwrap_or_default();
        let tools = || known.tools.iter().map(String::as_str);
        if before.trim_start() == "." {
            let commands = COMMANDS
                .iter()
                .filter_map(|(usage, _)| usage.split(' ').next());
            let commands = commands.filter_map(|command| command.strip_prefix('.'));
            return (word, matching(begun, commands));
        }
        if before.trim_start() == ".help " || before.ends_with("tools.") {
            return (word, matching(begun, tools()));
        }
        if before.ends_with('.') || begun.is_empty() {
            return (word, Vec::new());
        }
        let names = known.names.iter().map(String::as_str);
        (word, matching(begun, GLOBALS.into_iter().chain(names)))
    }
}

fn matching<'a>(begun: &str, words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut matching: Vec<String> = words
        .filter(|word| word.starts_with(begun))
        .map(str::to_owned)
        .collect();
    matching.sort_unstable();
    matching.dedup();
    matching
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn tools_helpers_commands_and_earlier_names_are_completed() {
        let words = Words::new(vec!["get_it".into(), "get_all".into(), "put".into()]);
        words.set_names(["total", "text"].into_iter());
        for (text, start, expected) in [
            ("tools.g", 6, vec!["get_all", "get_it"]),
            ("await tools.", 12, vec!["get_all", "get_it", "put"]),
            ("1 + t", 4, vec!["text", "tools", "total"]),
            ("yield", 0, vec!["yield_control"]),
            (".he", 1, vec!["help"]),
            (".help p", 6, vec!["put"]),
            ("a.t", 2, vec![]),
            ("", 0, vec![]),
            ("größe t", 8, vec!["text", "tools", "total"]),
        ] {
            let expected = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(words.complete(text), (start, expected), "{text}");
        }
    }

    #[test]
    fn the_words_are_sorted() {
        assert!(GLOBALS.is_sorted());
    }
}
