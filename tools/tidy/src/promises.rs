// SPDX-License-Identifier: Apache-2.0
//! What the documents promise is held by tests that exist, and its numbers are those of the sources.
//!
//! In these documents, a link whose text is code names a test or a constant, and its target the file that has it:
//! ``[`a_session_ends`](runtime/tests/x.rs)``. A row of a table whose last column is called `shown by` has one there,
//! and one with a column `constant` says in the column before it what the constant is.

use std::collections::HashMap;

use crate::constants;
use crate::file::{SourceFile, Violation};

/// The documents that are looked at.
const DOCUMENTS: [&str; 2] = ["SPECIFICATION.md", "docs/reliability.md"];

/// The last column of a table whose rows are promises.
const SHOWN_BY: &str = "shown by";

/// The column that names the constant with the number of the column before it.
const CONSTANT: &str = "constant";

/// A link whose text is code.
struct Link<'a> {
    name: &'a str,
    target: &'a str,
}

pub(crate) fn check(files: &[SourceFile]) -> Vec<Violation> {
    let by_path: HashMap<&str, &SourceFile> = files
        .iter()
        .map(|file| (file.path.as_str(), file))
        .collect();
    let mut found = Vec::new();
    for document in DOCUMENTS.iter().filter_map(|path| by_path.get(path)) {
        let mut columns: Vec<&str> = Vec::new();
        for (number, line) in (1..).zip(document.text.lines()) {
            let mut complain = |message: String| found.push(document.violation(number, message));
            let cells = cells(line);
            if cells.is_empty() {
                columns.clear();
            } else if columns.is_empty() {
                columns = cells;
                continue;
            }
            for link in links(line) {
                if let Err(message) = look_up(&link, &document.path, &by_path) {
                    complain(message);
                }
            }
            if cells.is_empty() || line.starts_with("|-") || line.starts_with("| -") {
                continue;
            }
            if columns.last() == Some(&SHOWN_BY)
                && cells.last().is_none_or(|cell| links(cell).is_empty())
            {
                complain(
                    "name the test or benchmark that shows this, as [`name`](path)".to_owned(),
                );
            }
            let numbered = columns.iter().position(|column| *column == CONSTANT);
            if let Some(at) = numbered
                && let Some(wrong) = compare(&cells, at, &document.path, &by_path)
            {
                complain(wrong);
            }
        }
    }
    found
}

/// What is wrong with a row that says what a constant is.
fn compare(
    cells: &[&str],
    at: usize,
    document: &str,
    files: &HashMap<&str, &SourceFile>,
) -> Option<String> {
    let constant = links(cells.get(at)?).into_iter().next()?;
    let file = files.get(resolved(document, constant.target).as_str())?;
    let says = cells.get(at.checked_sub(1)?)?;
    let value = constants::value_of(&file.text, constant.name);
    let said = constants::quantity(says);
    match (value, said) {
        (Some(value), Some(said)) if value == said => None,
        (Some(value), _) => Some(format!(
            "{} is {value} (bytes, microseconds or a count), which {says:?} does not say",
            constant.name
        )),
        (None, _) => Some(format!(
            "the value of {} cannot be read from {}; say it without a column `{CONSTANT}`",
            constant.name, constant.target
        )),
    }
}

/// Whether what a link names is in the file that it names.
fn look_up(
    link: &Link<'_>,
    document: &str,
    files: &HashMap<&str, &SourceFile>,
) -> Result<(), String> {
    let Link { name, target } = link;
    let path = resolved(document, target);
    let Some(file) = files.get(path.as_str()) else {
        return Err(format!("{target} is no file of the tree"));
    };
    let is_constant = name
        .chars()
        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let wanted = match path.rsplit('.').next() {
        Some("rs") if is_constant => format!("const {name}:"),
        Some("rs") => format!("fn {name}("),
        Some("json") => format!("\"name\": \"{name}\""),
        Some("transcript") => format!("rule {name}\n"),
        Some("py") => format!("def {name}("),
        _ => (*name).to_owned(),
    };
    if file.text.contains(&wanted) {
        return Ok(());
    }
    Err(format!("{target} has no {}", wanted.trim_end()))
}

/// A target as a path from the root of the workspace.
fn resolved(document: &str, target: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The cells of a line that is a row of a table; none of any other line.
fn cells(line: &str) -> Vec<&str> {
    let row = line.strip_prefix('|').and_then(|row| row.strip_suffix('|'));
    row.map_or_else(Vec::new, |row| row.split('|').map(str::trim).collect())
}

fn links(text: &str) -> Vec<Link<'_>> {
    let mut links = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("[`") {
        rest = after;
        if let Some((name, after)) = after.split_once("`](")
            && let Some((target, after)) = after.split_once(')')
            && !name.contains('`')
        {
            links.push(Link { name, target });
            rest = after;
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::messages;

    const TABLE: &str = "| promise | number | constant | shown by |\n|---|---|---|---|\n";

    fn found(rows: &str) -> Vec<String> {
        let files = [
            SourceFile::new("SPECIFICATION.md", format!("{TABLE}{rows}")),
            SourceFile::new(
                "a/b.rs",
                "pub const BYTES: usize = 4 << 20;\nfn it_holds() {}\n",
            ),
            SourceFile::new("a/c.transcript", "rule frames/end\n"),
        ];
        messages(&check(&files))
    }

    #[test]
    fn a_row_whose_test_and_number_are_there_is_fine() {
        let row = "| a | 4 MiB | [`BYTES`](a/b.rs) | [`it_holds`](a/b.rs), [`frames/end`](a/c.transcript) |\n";
        assert_eq!(found(row), Vec::<String>::new());
    }

    #[test]
    fn a_test_that_is_not_there_a_missing_file_and_a_row_without_a_test_are_found() {
        for (row, message) in [
            ("| a | | | [`it_fell`](a/b.rs) |\n", "has no fn it_fell("),
            (
                "| a | | | [`it_holds`](a/d.rs) |\n",
                "is no file of the tree",
            ),
            ("| a | | | somehow |\n", "name the test"),
            (
                "| a | | | [`frames/none`](a/c.transcript) |\n",
                "has no rule frames/none",
            ),
        ] {
            let found = found(row);
            assert!(found.len() == 1 && found[0].contains(message), "{found:?}");
        }
    }

    #[test]
    fn a_number_that_is_not_the_constants_is_found() {
        let found = found("| a | 5 MiB | [`BYTES`](a/b.rs) | [`it_holds`](a/b.rs) |\n");
        assert_eq!(
            found,
            [
                "SPECIFICATION.md:3: BYTES is 4194304 (bytes, microseconds or a count), which \"5 MiB\" does not say"
            ]
        );
    }

    #[test]
    fn targets_are_relative_to_their_document() {
        assert_eq!(resolved("docs/reliability.md", "../host/a.rs"), "host/a.rs");
        assert_eq!(resolved("SPECIFICATION.md", "host/a.rs"), "host/a.rs");
    }
}
