// SPDX-License-Identifier: Apache-2.0
//! Licences by their SPDX expressions: which ones an expression names, and their standard texts.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use spdx::{AdditionItem, Expression, LicenseItem, ParseMode};

/// An expression that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LicenceError {
    /// It follows neither SPDX nor Cargo's older habit of a slash for "or".
    #[error("Failed to read the licence expression {expression:?}: {problem}")]
    Unreadable {
        /// The expression.
        expression: String,
        /// What the parser says.
        problem: String,
    },
    /// It names a licence that SPDX does not list, so there is no text to hand on.
    #[error("Failed to find the text of {name} in the list of SPDX")]
    Unlisted {
        /// The name.
        name: String,
    },
}

/// What one expression comes to.
#[derive(Debug, PartialEq, Eq)]
pub struct Licence {
    /// The expression in the form that SPDX documents take.
    pub expression: String,
    /// The standard texts of the licences and exceptions that it names, by name.
    pub texts: BTreeMap<String, &'static str>,
}

/// Reads an expression.
///
/// # Errors
/// When it is none, or names what SPDX does not list.
pub fn licence(expression: &str) -> Result<Licence, LicenceError> {
    let unreadable = |error: spdx::ParseError| LicenceError::Unreadable {
        expression: expression.to_owned(),
        problem: error.reason.to_string(),
    };
    let canonical = Expression::canonicalize(expression)
        .map_err(unreadable)?
        .unwrap_or_else(|| expression.to_owned());
    let parsed = Expression::parse_mode(&canonical, ParseMode::STRICT).map_err(unreadable)?;
    let unlisted = |name: String| LicenceError::Unlisted { name };
    let mut texts = BTreeMap::new();
    for requirement in parsed.requirements() {
        match &requirement.req.license {
            LicenseItem::Spdx { id, .. } => texts.insert(id.name.to_owned(), id.text()),
            other => return Err(unlisted(other.to_string())),
        };
        match &requirement.req.addition {
            None => {}
            Some(AdditionItem::Spdx(id)) => {
                texts.insert(id.name.to_owned(), id.text());
            }
            Some(other) => return Err(unlisted(other.to_string())),
        }
    }
    Ok(Licence {
        expression: canonical,
        texts,
    })
}

/// Reads many expressions, and gives an object of those as they were written, each with its `expression` and `texts`.
///
/// # Errors
/// At the first one that cannot be used.
pub fn licences(expressions: &[String]) -> Result<Value, LicenceError> {
    let mut all = serde_json::Map::new();
    for written in expressions {
        let Licence { expression, texts } = licence(written)?;
        all.insert(
            written.clone(),
            json!({ "expression": expression, "texts": texts }),
        );
    }
    Ok(Value::Object(all))
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn names(expression: &str) -> Vec<String> {
        licence(expression).unwrap().texts.into_keys().collect()
    }

    #[test]
    fn an_expression_gives_the_texts_of_all_that_it_names() {
        assert_eq!(names("MIT OR Apache-2.0"), ["Apache-2.0", "MIT"]);
        assert_eq!(
            names("Apache-2.0 WITH LLVM-exception"),
            ["Apache-2.0", "LLVM-exception"]
        );
        let text = licence("MIT").unwrap().texts["MIT"];
        assert!(text.contains("Permission is hereby granted"), "{text}");
    }

    #[test]
    fn the_slash_of_older_manifests_means_or() {
        let licence = licence("MIT/Apache-2.0").unwrap();
        assert_eq!(licence.expression, "MIT OR Apache-2.0");
    }

    #[test]
    fn what_spdx_does_not_list_is_refused() {
        assert!(licence("My own licence").is_err());
        assert!(licence("").is_err());
        let error = licence("LicenseRef-Mine").unwrap_err().to_string();
        assert!(error.contains("LicenseRef-Mine"), "{error}");
    }

    #[test]
    fn many_expressions_are_keyed_as_they_were_written() {
        let all = licences(&["MIT/Zlib".to_owned()]).unwrap();
        assert_eq!(all["MIT/Zlib"]["expression"], "MIT OR Zlib");
        assert!(all["MIT/Zlib"]["texts"]["Zlib"].is_string());
    }
}
