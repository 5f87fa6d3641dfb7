// SPDX-License-Identifier: Apache-2.0
//! Which tools scripts may call, by patterns over servers, tools and what servers say about their tools.
//!
//! What a server says about a tool (`readOnlyHint`, `destructiveHint`) is its own word, which the
//! protocol calls untrusted: a rule by these hints is as good as the server.

use std::fmt;

use wildmatch::WildMatch;

/// What a server says about a tool, where it says something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hints {
    /// `readOnlyHint`: it changes nothing. Assumed false.
    pub read_only: Option<bool>,
    /// `destructiveHint`: it may destroy. Assumed true for a tool that is not read-only.
    pub destructive: Option<bool>,
    /// `idempotentHint`: to call it again changes nothing more. Assumed false.
    pub idempotent: Option<bool>,
    /// `openWorldHint`: it reaches beyond the server's own domain. Assumed true.
    pub open_world: Option<bool>,
}

impl Hints {
    fn has(self, hint: Hint) -> bool {
        let read_only = self.read_only.unwrap_or(false);
        match hint {
            Hint::ReadOnly => read_only,
            Hint::Destructive => !read_only && self.destructive.unwrap_or(true),
            Hint::Idempotent => self.idempotent.unwrap_or(false),
            Hint::OpenWorld => self.open_world.unwrap_or(true),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hint {
    ReadOnly,
    Destructive,
    Idempotent,
    OpenWorld,
}

/// A tool as the rules see it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The server's name in the configuration; empty for tools of a tools file.
    pub server: &'a str,
    /// The tool's own name.
    pub tool: &'a str,
    /// What its server says about it.
    pub hints: Hints,
}

/// `SERVER/TOOL@HINT`: globs with `*` and `?` over both names, and a hint that must hold or, behind `!`,
/// must not. `SERVER` alone means all its tools, `@HINT` alone all tools of all servers.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    text: String,
    server: WildMatch,
    tool: WildMatch,
    hint: Option<(Hint, bool)>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// In words for people, when it is empty or names no hint.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (names, hint) = match text.split_once('@') {
            Some((names, hint)) => (names, Some(hint)),
            None => (text, None),
        };
        let hint = match hint {
            None => None,
            Some(word) => {
                let (name, holds) = match word.strip_prefix('!') {
                    Some(name) => (name, false),
                    None => (word, true),
                };
                let hint = match name {
                    "readOnly" => Hint::ReadOnly,
                    "destructive" => Hint::Destructive,
                    "idempotent" => Hint::Idempotent,
                    "openWorld" => Hint::OpenWorld,
                    _ => {
                        return Err(format!(
                            "has the pattern {text}, whose hint {name} is none of readOnly, \
                             destructive, idempotent and openWorld"
                        ));
                    }
                };
                Some((hint, holds))
            }
        };
        if names.is_empty() && hint.is_none() {
            return Err("has an empty pattern; write SERVER/TOOL, SERVER or @HINT".to_owned());
        }
        let (server, tool) = names.split_once('/').unwrap_or((names, "*"));
        let glob = |part: &str| WildMatch::new(if part.is_empty() { "*" } else { part });
        Ok(Self {
            text: text.to_owned(),
            server: glob(server),
            tool: glob(tool),
            hint,
        })
    }

    fn matches(&self, subject: Subject<'_>) -> bool {
        self.server.matches(subject.server)
            && self.tool.matches(subject.tool)
            && self
                .hint
                .is_none_or(|(hint, holds)| subject.hints.has(hint) == holds)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The rules. Without any, everything may be called.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// If there are any, only what one of these matches may be called.
    pub allow: Vec<Pattern>,
    /// What one of these matches may not be called, whatever else is said.
    pub deny: Vec<Pattern>,
    /// Of what one of these matches, only tools that say that they are read-only may be called.
    pub read_only: Vec<Pattern>,
    /// What one of these matches is called only if the user agrees to that very call.
    pub confirm: Vec<Pattern>,
}

/// What the rules say about a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be called.
    Allowed,
    /// It may be called if the user agrees; the pattern that asks for that.
    Confirm(String),
    /// It may not be called, and why.
    Denied(String),
}

impl Policy {
    /// Adds the rules of `other`.
    pub fn merge(&mut self, other: Self) {
        self.allow.extend(other.allow);
        self.deny.extend(other.deny);
        self.read_only.extend(other.read_only);
        self.confirm.extend(other.confirm);
    }

    /// What the rules say about this tool.
    pub fn verdict(&self, subject: Subject<'_>) -> Verdict {
        let first = |rules: &[Pattern]| {
            let found = rules.iter().find(|rule| rule.matches(subject));
            found.map(ToString::to_string)
        };
        if let Some(rule) = first(&self.deny) {
            return Verdict::Denied(format!("the policy denies {rule}"));
        }
        if !self.allow.is_empty() && first(&self.allow).is_none() {
            return Verdict::Denied("the policy allows other tools only".to_owned());
        }
        if !subject.hints.has(Hint::ReadOnly)
            && let Some(rule) = first(&self.read_only)
        {
            return Verdict::Denied(format!(
                "the policy makes {rule} read-only, and the tool does not say that it is"
            ));
        }
        match first(&self.confirm) {
            Some(rule) => Verdict::Confirm(rule),
            None => Verdict::Allowed,
        }
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts
            .iter()
            .map(|text| Pattern::parse(text).unwrap())
            .collect()
    }

    fn tool<'a>(server: &'a str, tool: &'a str, read_only: Option<bool>) -> Subject<'a> {
        let hints = Hints {
            read_only,
            ..Hints::default()
        };
        Subject {
            server,
            tool,
            hints,
        }
    }

    #[track_caller]
    fn check(pattern: &str, subject: Subject<'_>, expected: bool) {
        assert_eq!(Pattern::parse(pattern).unwrap().matches(subject), expected);
    }

    #[test]
    fn patterns_match_servers_tools_and_hints() {
        let drop = tool("db", "drop_table", None);
        let select = tool("db", "select", Some(true));
        check("db", drop, true);
        check("d?", drop, true);
        check("db/drop_*", drop, true);
        check("db/drop_*", select, false);
        check("*/select", select, true);
        check("files/*", select, false);
        check("@destructive", drop, true);
        check("@destructive", select, false);
        check("db/*@readOnly", select, true);
        check("db@!readOnly", drop, true);
        check("@openWorld", select, true);
        check("@idempotent", select, false);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert!(Pattern::parse("").is_err());
        let problem = Pattern::parse("db@harmless").unwrap_err();
        assert!(problem.contains("harmless"), "{problem}");
    }

    #[test]
    fn without_rules_everything_may_be_called() {
        let verdict = Policy::default().verdict(tool("db", "drop", None));
        assert_eq!(verdict, Verdict::Allowed);
    }

    #[test]
    fn a_denial_goes_before_everything_else() {
        let policy = Policy {
            allow: patterns(&["db"]),
            deny: patterns(&["db/drop"]),
            confirm: patterns(&["db"]),
            ..Policy::default()
        };
        let denied = Verdict::Denied("the policy denies db/drop".to_owned());
        assert_eq!(policy.verdict(tool("db", "drop", None)), denied);
        let confirm = Verdict::Confirm("db".to_owned());
        assert_eq!(policy.verdict(tool("db", "select", None)), confirm);
        let other = policy.verdict(tool("files", "read", None));
        assert!(matches!(other, Verdict::Denied(_)));
    }

    #[test]
    fn a_read_only_server_offers_only_tools_that_say_so() {
        let policy = Policy {
            read_only: patterns(&["db"]),
            ..Policy::default()
        };
        let verdict = |read_only| policy.verdict(tool("db", "x", read_only));
        assert_eq!(verdict(Some(true)), Verdict::Allowed);
        for unsaid in [None, Some(false)] {
            assert!(matches!(verdict(unsaid), Verdict::Denied(_)), "{unsaid:?}");
        }
        let elsewhere = policy.verdict(tool("files", "write", None));
        assert_eq!(elsewhere, Verdict::Allowed);
    }
}
