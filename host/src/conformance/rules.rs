// SPDX-License-Identifier: Apache-2.0
//! The rules of the contract, one transcript each.

use super::{SyntaxError, Transcript};

/// The transcripts by file, in the order of the contract.
const FILES: [(&str, &str); 10] = [
    (
        "handshake",
        include_str!("../../conformance/handshake.transcript"),
    ),
    (
        "frames",
        include_str!("../../conformance/frames.transcript"),
    ),
    (
        "sessions",
        include_str!("../../conformance/sessions.transcript"),
    ),
    ("cells", include_str!("../../conformance/cells.transcript")),
    (
        "delegates",
        include_str!("../../conformance/delegates.transcript"),
    ),
    (
        "cancel",
        include_str!("../../conformance/cancel.transcript"),
    ),
    (
        "capabilities",
        include_str!("../../conformance/capabilities.transcript"),
    ),
    (
        "helpers",
        include_str!("../../conformance/helpers.transcript"),
    ),
    (
        "bounds",
        include_str!("../../conformance/bounds.transcript"),
    ),
    ("drain", include_str!("../../conformance/drain.transcript")),
];

/// Every rule of the contract, as a transcript.
///
/// # Errors
/// When a transcript that is built in cannot be understood, which a test rules out.
pub fn rules() -> Result<Vec<Transcript>, SyntaxError> {
    let mut rules = Vec::new();
    for (name, text) in FILES {
        let transcripts = Transcript::parse_all(text).map_err(|error| SyntaxError {
            line: error.line,
            message: format!("{} (in {name}.transcript)", error.message),
        })?;
        rules.extend(transcripts);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_and_says_what_it_checks() {
        let mut names = HashSet::new();
        for rule in rules().unwrap() {
            assert!(rule.says.ends_with('.'), "{} says nothing", rule.rule);
            assert!(!rule.steps.is_empty(), "{} has no steps", rule.rule);
            assert!(
                names.insert(rule.rule.clone()),
                "{} is there twice",
                rule.rule
            );
        }
    }
}
