// SPDX-License-Identifier: Apache-2.0
//! What carries over from one entry of the prompt to the next.
//!
//! Every entry is a cell with globals of its own, so nothing carries over by itself. An entry is
//! therefore rewritten: behind each outermost statement its names are written down, and a later entry
//! that mentions one gets it back as a declaration in front of its first statement. Values are written
//! down as JSON, functions and classes as their source; what a function had closed over is gone unless
//! it carries over itself. The prompt holds all of it, so that a lost host loses none of it.

use std::collections::BTreeSet;

use code_mode_api::without_fence;

use crate::edited::Edited;
use crate::repl_entry::{How, Reading, Script, is_expression, read};
use crate::script_globals::mentions;

/// Begins an output that is for the prompt and not for people. No script puts out such a text by
/// accident.
pub const KEPT_MARK: &str = "\u{0}code_mode prompt\u{0}";

/// Bytes of everything that carries over, as it is written down.
///
/// Half of what a host takes as a source by default, since an entry carries what it mentions.
pub const MAX_CARRIED_BYTES: usize = 512 * 1024;

/// What is put behind an entry.
const HELPERS: &str = include_str!("repl_helpers.js");

/// The names that carry over.
#[derive(Debug, Default)]
pub struct Scope {
    /// Whether values are shown in colours.
    colors: bool,
    /// In the order in which they were first declared: a class is declared behind its base.
    carried: Vec<Carried>,
}

#[derive(Debug)]
struct Carried {
    name: String,
    constant: bool,
    what: What,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    /// JSON text.
    Json(String),
    /// An expression that is the value.
    Expression(String),
    /// The source of a function or a class.
    Source(String),
    /// An import of this name.
    Import(String),
}

impl What {
    fn text(&self) -> &str {
        match self {
            Self::Json(text) | Self::Expression(text) | Self::Source(text) | Self::Import(text) => {
                text
            }
        }
    }
}

impl Scope {
    /// Nothing carries over yet.
    pub fn new(colors: bool) -> Self {
        Self {
            colors,
            carried: Vec::new(),
        }
    }

    /// The names that carry over.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.carried.iter().map(|carried| carried.name.as_str())
    }

    /// The script that is run for an entry. One that is no JavaScript is run as it is, for the host to
    /// say what is wrong.
    pub fn rewrite(&self, entry: &str) -> Edited {
        // Three backticks and three backticks would well parse, as templates.
        let entry = &*without_fence(entry);
        let Reading::Script(script) = read(entry) else {
            return Edited::unchanged(entry);
        };
        let declared: BTreeSet<&str> = script
            .statements
            .iter()
            .flat_map(|statement| &statement.declares)
            .map(|declared| declared.name.as_str())
            .collect();
        let needed = self.needed(entry, &declared);
        let mut texts = vec![(0, given(&needed))];
        let mut kept = Kept::of(&needed, &script);
        let last = script.statements.len().saturating_sub(1);
        for (at, statement) in script.statements.iter().enumerate() {
            if at == last
                && let Some(value) = &script.value
            {
                texts.push((value.start, ";$cm_show(await(".to_owned()));
                // Behind a comment at the end of a line, this would be part of the comment; but a
                // comment is no part of the expression.
                texts.push((value.end, "))".to_owned()));
            }
            kept.declare(&statement.declares);
            texts.push((statement.end, kept.call()));
        }
        texts.retain(|(_, text)| !text.is_empty());
        Edited::new(entry, texts, &self.behind(&needed))
    }

    /// What an entry mentions, and what that mentions, except for what the entry declares itself.
    fn needed(&self, entry: &str, declared: &BTreeSet<&str>) -> Vec<&Carried> {
        let mut needed = vec![false; self.carried.len()];
        let mut texts = vec![entry];
        while let Some(text) = texts.pop() {
            for (carried, needed) in self.carried.iter().zip(&mut needed) {
                if !*needed
                    && !declared.contains(carried.name.as_str())
                    && mentions(text, &carried.name)
                {
                    *needed = true;
                    if let What::Source(source) = &carried.what {
                        texts.push(source);
                    }
                }
            }
        }
        let both = self.carried.iter().zip(needed);
        both.filter_map(|(carried, needed)| needed.then_some(carried))
            .collect()
    }

    /// The helpers and the sources that stand behind the entry, where they change none of its lines.
    fn behind(&self, needed: &[&Carried]) -> String {
        let mark = serde_json::Value::from(KEPT_MARK).to_string();
        let mut text = HELPERS
            .replace("COLORS", if self.colors { "true" } else { "false" })
            .replace("MARK", &mark)
            .replace("MAX_BYTES", &MAX_CARRIED_BYTES.to_string());
        text.push_str("function $cm_get(number) {\nswitch (number) {\n");
        for (number, Carried { name, what, .. }) in needed.iter().enumerate() {
            let value = match what {
                What::Json(json) => {
                    format!("JSON.parse({})", serde_json::Value::from(json.as_str()))
                }
                What::Expression(expression) => expression.clone(),
                What::Source(source) => format!("({source}\n)"),
                What::Import(_) => continue,
            };
            // Declared under its name, so that a function without one gets it.
            text.push_str(&format!(
                "case {number}: {{ const {name} = {value}; return {name}; }}\n"
            ));
        }
        text.push_str("}\n}\n");
        for carried in needed {
            if let What::Import(import) = &carried.what {
                text.push_str(import);
                text.push('\n');
            }
        }
        text
    }

    /// Takes up what an entry has written down, and gives what people should know: the names that do
    /// not carry over, and why.
    pub fn keep(&mut self, written: &str) -> Vec<String> {
        let names: Result<serde_json::Map<String, serde_json::Value>, _> =
            serde_json::from_str(written.strip_prefix(KEPT_MARK).unwrap_or(written));
        let mut notices = Vec::new();
        for (name, kept) in names.unwrap_or_default() {
            let part = |at: usize| {
                kept.get(at)
                    .and_then(|part| part.as_str())
                    .unwrap_or_default()
            };
            let text = part(2).to_owned();
            let what = match part(1) {
                "j" => Ok(What::Json(text)),
                "e" => Ok(What::Expression(text)),
                "f" if is_expression(&format!("({text}\n)")) => Ok(What::Source(text)),
                "f" => Err("a method, whose source cannot stand alone".to_owned()),
                _ => Err(text),
            };
            let constant = part(0) == "c";
            if let Err(why) = what.and_then(|what| self.carry(&name, constant, what)) {
                self.forget(&name);
                notices.push(format!(
                    "{name} does not carry over to the next entry: it is {why}"
                ));
            }
        }
        notices
    }

    /// Takes up the imports of an entry that has run.
    pub fn keep_imports(&mut self, entry: &str) {
        let Reading::Script(script) = read(entry) else {
            return;
        };
        for declared in script
            .statements
            .into_iter()
            .flat_map(|statement| statement.declares)
        {
            if let How::Import(import) = declared.how {
                // An import is short; one that no longer fits is left out as a value would be.
                let _ = self.carry(&declared.name, true, What::Import(import));
            }
        }
    }

    fn carry(&mut self, name: &str, constant: bool, what: What) -> Result<(), String> {
        let others = self.carried.iter().filter(|carried| carried.name != name);
        let bytes: usize = others.map(|carried| carried.what.text().len()).sum();
        if bytes + what.text().len() > MAX_CARRIED_BYTES {
            return Err(format!(
                "too large: everything together may have {MAX_CARRIED_BYTES} bytes; use store and load"
            ));
        }
        match self.carried.iter_mut().find(|carried| carried.name == name) {
            Some(carried) => {
                carried.constant = constant;
                carried.what = what;
            }
            None => self.carried.push(Carried {
                name: name.to_owned(),
                constant,
                what,
            }),
        }
        Ok(())
    }

    fn forget(&mut self, name: &str) {
        self.carried.retain(|carried| carried.name != name);
    }
}

/// The declarations that give an entry what it mentions.
fn given(needed: &[&Carried]) -> String {
    let mut text = String::new();
    for (number, carried) in needed.iter().enumerate() {
        let keyword = if carried.constant { "const" } else { "let" };
        if !matches!(carried.what, What::Import(_)) {
            text.push_str(&format!("{keyword} {}=$cm_get({number});", carried.name));
        }
    }
    text
}

/// The names that are written down behind a statement.
struct Kept {
    constants: Vec<String>,
    variables: Vec<String>,
}

impl Kept {
    /// Those that are there before the first statement.
    fn of(needed: &[&Carried], script: &Script) -> Self {
        let mut kept = Self {
            constants: Vec::new(),
            variables: Vec::new(),
        };
        for carried in needed {
            match (&carried.what, carried.constant) {
                (What::Import(_), _) => {}
                (_, true) => kept.constants.push(carried.name.clone()),
                (_, false) => kept.variables.push(carried.name.clone()),
            }
        }
        let declares = script
            .statements
            .iter()
            .flat_map(|statement| &statement.declares);
        let functions = declares.filter(|declared| declared.how == How::Function);
        kept.variables
            .extend(functions.map(|declared| declared.name.clone()));
        kept
    }

    fn declare(&mut self, declares: &[crate::repl_entry::Declared]) {
        for declared in declares {
            let names = match declared.how {
                How::Constant => &mut self.constants,
                How::Variable => &mut self.variables,
                How::Function | How::Import(_) => continue,
            };
            // `var` may declare a name twice.
            if !names.contains(&declared.name) {
                names.push(declared.name.clone());
            }
        }
    }

    /// The call that writes them down. Its semicolons end the statement before it, and keep the next
    /// line from going on with it.
    fn call(&self) -> String {
        if self.constants.is_empty() && self.variables.is_empty() {
            return String::new();
        }
        format!(
            ";$cm_keep({{{}}},{{{}}});",
            self.constants.join(","),
            self.variables.join(",")
        )
    }
}

#[cfg(test)]
#[path = "repl_scope_tests.rs"]
mod tests;
