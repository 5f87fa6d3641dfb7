// SPDX-License-Identifier: Apache-2.0
//! The language of the transcripts.

/// One rule of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// Its name.
    pub rule: String,
    /// What it says, in a sentence.
    pub says: String,
    /// What the host is started with, such as a bound that is low enough to be reached.
    pub arguments: Vec<String>,
    /// What is done and what must come of it.
    pub(super) steps: Vec<Step>,
}

/// One line of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// The line's number in its file.
    pub(super) line: usize,
    pub(super) kind: StepKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StepKind {
    /// A call is made; what comes of it is known by `name`.
    Call {
        verb: String,
        name: String,
        /// What stands before the rest, each `KEY=VALUE` or a word.
        words: Vec<String>,
        /// The text after the words, if there is one: a source or JSON.
        text: String,
    },
    /// The client lets go of a call.
    Drop(String),
    /// The host is told to end, as SIGTERM does.
    Signal,
    /// Sessions are opened and let go of until the host refuses one with this line.
    UntilRefused(String),
    /// The host ends by itself, without an error or with one.
    End { clean: bool },
    /// The next line of a call is this one.
    Expect { name: String, line: String },
    /// The next lines of a call are these, in any order.
    ExpectSet { name: String, lines: Vec<String> },
}

/// A transcript that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {reason}")]
pub struct SyntaxError {
    file: &'static str,
    line: usize,
    reason: String,
}

const FILES: [(&str, &str); 6] = [
    (
        "sessions",
        include_str!("../../conformance_grpc/sessions.transcript"),
    ),
    (
        "cells",
        include_str!("../../conformance_grpc/cells.transcript"),
    ),
    (
        "tools",
        include_str!("../../conformance_grpc/tools.transcript"),
    ),
    (
        "refusals",
        include_str!("../../conformance_grpc/refusals.transcript"),
    ),
    (
        "bounds",
        include_str!("../../conformance_grpc/bounds.transcript"),
    ),
    (
        "drain",
        include_str!("../../conformance_grpc/drain.transcript"),
    ),
];

/// Every rule, in the order of the files.
///
/// # Errors
/// [`SyntaxError`], which a test rules out.
pub fn rules() -> Result<Vec<Transcript>, SyntaxError> {
    let mut rules = Vec::new();
    for (file, text) in FILES {
        rules.extend(parse(file, text)?);
    }
    Ok(rules)
}

fn parse(file: &'static str, text: &str) -> Result<Vec<Transcript>, SyntaxError> {
    let mut rules: Vec<Transcript> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let failed = |reason: &str| SyntaxError {
            file,
            line: number,
            reason: reason.to_owned(),
        };
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        if verb == "rule" {
            rules.push(Transcript {
                rule: format!("{file}/{rest}"),
                says: String::new(),
                arguments: Vec::new(),
                steps: Vec::new(),
            });
            continue;
        }
        let rule = rules
            .last_mut()
            .ok_or_else(|| failed("a step before the first rule"))?;
        if verb == "says" {
            rest.clone_into(&mut rule.says);
            continue;
        }
        if verb == "host" {
            let arguments = rest.split_whitespace().map(str::to_owned);
            rule.arguments.extend(arguments);
            continue;
        }
        let of_the_host = match (verb, rest) {
            ("signal", "") => Some(StepKind::Signal),
            ("refuses", line) => Some(StepKind::UntilRefused(line.to_owned())),
            ("end", "clean") => Some(StepKind::End { clean: true }),
            ("end", "failed") => Some(StepKind::End { clean: false }),
            _ => None,
        };
        if let Some(kind) = of_the_host {
            rule.steps.push(Step { line: number, kind });
            continue;
        }
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if name.is_empty() {
            return Err(failed("a step names what it is about"));
        }
        let name = name.to_owned();
        let kind = match verb {
            "<" => StepKind::Expect {
                name,
                line: rest.to_owned(),
            },
            "<&" => {
                if let Some(Step {
                    kind: StepKind::ExpectSet { name: last, lines },
                    ..
                }) = rule.steps.last_mut()
                    && *last == name
                {
                    lines.push(rest.to_owned());
                    continue;
                }
                StepKind::ExpectSet {
                    name,
                    lines: vec![rest.to_owned()],
                }
            }
            "drop" => StepKind::Drop(name),
            _ => {
                let (words, text) = rest.split_once(" : ").unwrap_or((rest, ""));
                StepKind::Call {
                    verb: verb.to_owned(),
                    name,
                    words: words.split_whitespace().map(str::to_owned).collect(),
                    text: text.to_owned(),
                }
            }
        };
        rule.steps.push(Step { line: number, kind });
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::{StepKind, parse, rules};

    #[test]
    fn what_is_done_with_the_host_itself_names_no_call() {
        let text = "rule a\nsays A.\nhost --drain 1\nsignal\nrefuses Unavailable *\nend clean\n";
        let rules = parse("x", text).expect("it is understood");
        assert_eq!(rules[0].arguments, ["--drain", "1"]);
        let kinds: Vec<&StepKind> = rules[0].steps.iter().map(|step| &step.kind).collect();
        let refused = StepKind::UntilRefused("Unavailable *".to_owned());
        let end = StepKind::End { clean: true };
        assert_eq!(kinds, [&StepKind::Signal, &refused, &end]);
    }

    #[test]
    fn every_transcript_is_understood_and_has_a_name_of_its_own() {
        let rules = rules().expect("they are understood");
        let mut names: Vec<&str> = rules.iter().map(|rule| rule.rule.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), rules.len());
        for rule in &rules {
            assert!(
                !rule.says.is_empty() && !rule.steps.is_empty(),
                "{}",
                rule.rule
            );
        }
    }
}
