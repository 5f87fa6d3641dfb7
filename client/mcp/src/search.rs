// SPDX-License-Identifier: Apache-2.0
//! Finds tools by words: BM25 over their names, descriptions and parameters.

use bm25::{Document, SearchEngine, SearchEngineBuilder, Tokenizer};
use serde_json::Value;

use crate::entry::Entry;

/// How often the words of a name count beside those of a description.
const NAME_WEIGHT: usize = 3;

/// Parameters of one tool whose names and descriptions are searched.
const MAX_PARAMETERS: usize = 200;

/// Levels of a tool's input at which parameters are searched.
const MAX_PARAMETER_DEPTH: usize = 4;

/// Bytes of a query; what lies beyond is not looked at.
pub const MAX_QUERY_BYTES: usize = 1_000;

/// Words that say nothing about a tool.
const EMPTY_WORDS: [&str; 20] = [
    "a", "an", "and", "are", "as", "at", "by", "for", "from", "in", "is", "it", "of", "on", "or",
    "that", "the", "this", "to", "with",
];

/// Cuts texts into words: at whatever is no letter or digit, and at humps (`readFile`), without case and
/// without the `s` of plurals.
struct Words;

impl Tokenizer for Words {
    fn tokenize(&self, text: &str) -> Vec<String> {
        words(text)
    }
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for run in text.split(|c: char| !c.is_alphanumeric()) {
        let mut word = String::new();
        let mut was_lower = false;
        for c in run.chars() {
            if c.is_uppercase() && was_lower {
                words.push(std::mem::take(&mut word));
            }
            was_lower = c.is_lowercase() || c.is_numeric();
            word.extend(c.to_lowercase());
        }
        words.push(word);
    }
    words.retain(|word| !word.is_empty() && !EMPTY_WORDS.contains(&word.as_str()));
    for word in &mut words {
        singular(word);
    }
    words
}

fn singular(word: &mut String) {
    if word.len() > 3 && word.ends_with('s') && !word.ends_with("ss") {
        word.pop();
        if word.ends_with("ie") && word.len() > 4 {
            word.truncate(word.len() - 2);
            word.push('y');
        }
    }
}

/// The tools of a catalog, ready to be searched.
pub struct Index {
    engine: SearchEngine<usize, u32, Words>,
}

impl Index {
    /// An index over these tools, which are known by their place.
    pub fn new(entries: &[Entry]) -> Self {
        let documents = entries
            .iter()
            .enumerate()
            .map(|(at, entry)| Document::new(at, document(entry)));
        let engine = SearchEngineBuilder::<usize, u32, Words>::with_tokenizer_and_documents(
            Words,
            documents.collect::<Vec<_>>(),
        );
        Self {
            engine: engine.build(),
        }
    }

    /// The places of the tools that the query is about, best first: one that is called so exactly, then
    /// those that share words with it, or if there are none, those whose name contains it.
    pub fn find(&self, query: &str, entries: &[Entry]) -> Vec<usize> {
        let mut end = query.len().min(MAX_QUERY_BYTES);
        while !query.is_char_boundary(end) {
            end -= 1;
        }
        let query = query.get(..end).unwrap_or_default().trim();
        let mut found: Vec<usize> = Vec::new();
        let called = |entry: &Entry| entry.identifier == query || entry.tool == query;
        found.extend(entries.iter().position(called));
        for result in self.engine.search(query, None) {
            if !found.contains(&result.document.id) {
                found.push(result.document.id);
            }
        }
        if found.is_empty() && !query.is_empty() {
            let part = query.to_lowercase();
            let contains = |entry: &Entry| entry.identifier.to_lowercase().contains(&part);
            let places = entries
                .iter()
                .enumerate()
                .filter(|(_, entry)| contains(entry));
            found.extend(places.map(|(at, _)| at));
        }
        found
    }
}

fn document(entry: &Entry) -> String {
    let mut text = String::new();
    for _ in 0..NAME_WEIGHT {
        text.push_str(&entry.server);
        text.push(' ');
        text.push_str(&entry.tool);
        text.push(' ');
    }
    text.push_str(&entry.definition.description);
    let schema = entry.definition.input_schema.as_ref();
    let schema = schema.and_then(|schema| serde_json::from_str::<Value>(schema.get()).ok());
    if let Some(schema) = schema {
        let mut left = MAX_PARAMETERS;
        add_parameters(&schema, MAX_PARAMETER_DEPTH, &mut left, &mut text);
    }
    text
}

fn add_parameters(schema: &Value, depth: usize, left: &mut usize, text: &mut String) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let Some(fewer) = left.checked_sub(1) else {
            return;
        };
        *left = fewer;
        text.push(' ');
        text.push_str(name);
        if let Some(description) = property.get("description").and_then(Value::as_str) {
            text.push(' ');
            text.push_str(description);
        }
        add_parameters(property, depth, left, text);
    }
    if let Some(items) = schema.get("items") {
        add_parameters(items, depth, left, text);
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;
    use crate::entry::tests::entry;

    fn entries() -> Vec<Entry> {
        let schema = r#"{"properties": {"path": {"description": "Where the invoice lies"}}}"#;
        vec![
            entry("files", "read_file", "Reads one file", "{}"),
            entry("files", "writeFile", "Writes", schema),
            entry("web", "get", "Fetches a page from the Internet", "{}"),
            entry("db", "xq17", "", "{}"),
        ]
    }

    #[track_caller]
    fn check(query: &str, expected: &[&str]) {
        let entries = entries();
        let found = Index::new(&entries).find(query, &entries);
        let found: Vec<&str> = found.iter().map(|&at| &*entries[at].tool).collect();
        assert_eq!(found, expected, "{query}");
    }

    #[test]
    fn names_descriptions_and_parameters_are_found_by_their_words() {
        check("reads a file", &["read_file", "writeFile"]);
        check("FETCH pages", &["get"]);
        check("invoices", &["writeFile"]);
        check("write", &["writeFile"]);
    }

    #[test]
    fn a_word_of_a_name_counts_for_as_many_in_a_description() {
        let often = |times: usize| {
            // Both documents are of one length, since length counts too.
            let rest = "other ".repeat(20 - times);
            let entries = vec![
                entry(
                    "s",
                    "page",
                    &format!("{}{rest}", "bill ".repeat(times)),
                    "{}",
                ),
                entry("s", "bill", &"other ".repeat(20), "{}"),
            ];
            Index::new(&entries).find("the bill's", &entries)
        };
        assert_eq!(often(NAME_WEIGHT - 1), [1, 0]);
        assert_eq!(often(NAME_WEIGHT + 1), [0, 1]);
    }

    #[test]
    fn a_tool_that_is_called_exactly_so_comes_first() {
        check("get", &["get"]);
        check("writeFile", &["writeFile", "read_file"]);
        check("web__get", &["get"]);
    }

    #[test]
    fn a_part_of_a_name_is_found_where_no_word_is() {
        check("q1", &["xq17"]);
        check("nothing of the kind", &[]);
        check("", &[]);
    }

    #[test]
    fn words_are_cut_where_people_would_cut_them() {
        assert_eq!(
            words("readFile read_files HTTPServer v2 queries Größe class"),
            [
                "read",
                "file",
                "read",
                "file",
                "httpserver",
                "v2",
                "query",
                "größe",
                "class"
            ]
        );
    }

    #[test]
    fn a_long_query_is_cut_and_harms_nobody() {
        check(&"ä".repeat(MAX_QUERY_BYTES), &[]);
    }

    #[test]
    fn no_more_parameters_are_searched_than_there_is_room_for() {
        let many: serde_json::Map<String, Value> = (0..MAX_PARAMETERS + 100)
            .map(|number| (format!("p{number:03}"), serde_json::json!({})))
            .collect();
        let schema = serde_json::json!({"properties": many}).to_string();
        let text = document(&entry("s", "t", "", &schema));
        let found = text.split(' ').filter(|word| word.starts_with('p')).count();
        assert_eq!(found, MAX_PARAMETERS);

        let mut deep = serde_json::json!({});
        for level in (1..=MAX_PARAMETER_DEPTH + 1).rev() {
            deep = serde_json::json!({"properties": {format!("level{level}"): deep}});
        }
        let text = document(&entry("s", "t", "", &deep.to_string()));
        assert!(text.contains("level4"), "{text}");
        assert!(!text.contains("level5"), "{text}");
    }

    #[test]
    fn of_a_long_query_the_beginning_counts() {
        let padding = "zz ".repeat(MAX_QUERY_BYTES / 3);
        check(&format!("invoice {padding}"), &["writeFile"]);
        check(&format!("{padding} invoice"), &[]);
    }
}
