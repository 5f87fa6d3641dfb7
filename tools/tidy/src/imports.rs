// SPDX-License-Identifier: Apache-2.0
//! Which module of a crate uses which, read from the text of its sources.

use std::collections::{BTreeMap, BTreeSet};

use crate::file::SourceFile;

/// A module by its path in its crate; the crate's root is empty.
pub(crate) type ModulePath = Vec<String>;

/// The modules of one library, and whom each of them uses.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    by_path: BTreeMap<ModulePath, Module>,
}

#[derive(Debug)]
struct Module {
    /// The file, from the root of the workspace.
    file: String,
    /// The paths that the code names, each as it stands there.
    named: Vec<Vec<String>>,
    /// What the module passes on: the name under which, and the path that it stands for.
    passed_on: Vec<(String, Vec<String>)>,
}

impl Modules {
    /// Reads the modules of the library whose sources lie in `folder`, which ends with `src/`.
    ///
    /// Tests count for nothing: they may look at anything. Programs are crates of their own.
    pub(crate) fn read(files: &[SourceFile], folder: &str) -> Self {
        let mut modules = Self::default();
        for file in files {
            let Some(path) = file.path.strip_prefix(folder) else {
                continue;
            };
            let Some(path) = module_path(path) else {
                continue;
            };
            let code = code_of(&file.text);
            let (named, passed_on) = names(&code);
            modules.by_path.insert(
                path,
                Module {
                    file: file.path.clone(),
                    named,
                    passed_on,
                },
            );
        }
        modules
    }

    /// Each file with the files that it uses. A module uses the one in which a name is defined, wherever
    /// else that name is passed on.
    pub(crate) fn edges(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut edges = BTreeMap::new();
        for (path, module) in &self.by_path {
            let used: BTreeSet<&str> = module
                .named
                .iter()
                .filter_map(|named| self.resolve(path, named, 0))
                .filter(|target| target != path)
                .filter_map(|target| self.by_path.get(&target))
                .map(|target| target.file.as_str())
                .collect();
            edges.insert(module.file.as_str(), used);
        }
        edges
    }

    /// The module in which a path ends that stands in the module `from`; `None` if that is another
    /// crate's.
    fn resolve(&self, from: &ModulePath, path: &[String], depth: usize) -> Option<ModulePath> {
        /// Names that are passed on by modules that pass them on; more are a circle.
        const MAX_DEPTH: usize = 16;
        if depth > MAX_DEPTH {
            return None;
        }
        let (first, mut rest) = path.split_first()?;
        let mut module = match first.as_str() {
            "crate" => Vec::new(),
            "self" => from.clone(),
            "super" => parent(from)?,
            name => {
                // A module of one's own; any other name is another crate's or the standard library's.
                let child = child(from, name);
                if !self.by_path.contains_key(&child) {
                    return None;
                }
                child
            }
        };
        while let Some((name, after)) = rest.split_first() {
            if name == "super" {
                module = parent(&module)?;
            } else if self.by_path.contains_key(&child(&module, name)) {
                module = child(&module, name);
            } else {
                let passed_on = &self.by_path.get(&module)?.passed_on;
                return match passed_on.iter().find(|(known, _)| known == name) {
                    Some((_, target)) => self.resolve(&module, target, depth + 1),
                    None => Some(module),
                };
            }
            rest = after;
        }
        Some(module)
    }
}

fn child(module: &ModulePath, name: &str) -> ModulePath {
    let mut child = module.clone();
    child.push(name.to_owned());
    child
}

fn parent(module: &ModulePath) -> Option<ModulePath> {
    let (_, parent) = module.split_last()?;
    Some(parent.to_vec())
}

/// The module of a file below `src/`; `None` for tests and programs.
fn module_path(path: &str) -> Option<ModulePath> {
    let stem = path.strip_suffix(".rs")?;
    if stem == "main" || stem.starts_with("bin/") || stem.ends_with("_tests") {
        return None;
    }
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if stem == "lib" {
        return Some(Vec::new());
    }
    Some(stem.split('/').map(str::to_owned).collect())
}

/// The code without comments, texts and what only tests compile.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut test_only = false;
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default();
        let trimmed = line.trim();
        if trimmed == "#[cfg(test)]" {
            // An item for tests alone stands at the end of its file, or is a single declaration.
            test_only = true;
        } else if test_only && trimmed.starts_with("#[") {
            // One more attribute of that item.
        } else if test_only {
            if !trimmed.ends_with(';') {
                break;
            }
            test_only = false;
        } else {
            // What stands between quotation marks is text.
            for (index, part) in line.split('"').enumerate() {
                code.push_str(if index % 2 == 0 { part } else { " " });
            }
            code.push('\n');
        }
    }
    code
}

type Named = (Vec<Vec<String>>, Vec<(String, Vec<String>)>);

/// The paths that the code names, and those that it passes on.
fn names(code: &str) -> Named {
    let (mut named, mut passed_on) = (Vec::new(), Vec::new());
    let mut rest = code;
    while let Some((before, statement, public, after)) = next_use(rest) {
        inline_paths(before, &mut named);
        let mut paths = Vec::new();
        expand(statement, &[], &mut paths);
        for (name, path) in paths {
            if public {
                passed_on.push((name, path));
            } else {
                named.push(path);
            }
        }
        rest = after;
    }
    inline_paths(rest, &mut named);
    (named, passed_on)
}

/// The next `use`: the code before it, its tree, whether it passes names on, and the code after it.
fn next_use(code: &str) -> Option<(&str, &str, bool, &str)> {
    let at = code
        .match_indices("use ")
        .map(|(at, _)| at)
        .find(|at| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))?;
    let start = code[..at].rfind(['\n', ';', '}']).map_or(0, |end| end + 1);
    let public = code[start..at].trim_start().starts_with("pub");
    let end = at + code[at..].find(';')?;
    Some((&code[..at], &code[at + 4..end], public, &code[end + 1..]))
}

/// Takes a tree of names apart: `a::{b, c as d}`. Each comes with the name that it has here.
fn expand(tree: &str, prefix: &[String], paths: &mut Vec<(String, Vec<String>)>) {
    let tree = tree.trim();
    if tree.is_empty() {
        return;
    }
    let (head, inner) = match tree.split_once('{') {
        Some((head, inner)) => (head, inner.rsplit_once('}').map(|(inner, _)| inner)),
        None => (tree, None),
    };
    let (head, alias) = match head.split_once(" as ") {
        Some((head, alias)) => (head, Some(alias.trim().to_owned())),
        None => (head, None),
    };
    let mut path = prefix.to_vec();
    path.extend(
        head.split("::")
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty()),
    );
    match inner {
        Some(inner) => {
            for part in split_tree(inner) {
                expand(part, &path, paths);
            }
        }
        None => {
            // `a::{self}` is `a`, and `a::*` any name of `a`.
            if path.len() > 1
                && path
                    .last()
                    .is_some_and(|part| part == "self" || part == "*")
            {
                path.pop();
            }
            let name = alias.or_else(|| path.last().cloned()).unwrap_or_default();
            paths.push((name, path));
        }
    }
}

/// The parts of a list of trees, of which each may hold a list.
fn split_tree(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts
}

/// Paths that stand in the middle of the code: `crate::a::b()`.
fn inline_paths(code: &str, named: &mut Vec<Vec<String>>) {
    let in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    for word in code.split(|c: char| !in_path(c)) {
        let parts: Vec<&str> = word.split("::").collect();
        let is_path = parts.len() > 1 && parts.iter().all(|part| !part.contains(':'));
        if is_path && !parts[0].is_empty() {
            let parts = parts.into_iter().filter(|part| !part.is_empty());
            named.push(parts.map(str::to_owned).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(files: &[(&str, &str)]) -> Vec<(String, Vec<String>)> {
        let files: Vec<SourceFile> = files
            .iter()
            .map(|(path, text)| SourceFile::new(format!("x/src/{path}"), *text))
            .collect();
        let modules = Modules::read(&files, "x/src/");
        let name = |file: &str| file.trim_start_matches("x/src/").to_owned();
        let edges = modules.edges();
        edges
            .iter()
            .filter(|(_, used)| !used.is_empty())
            .map(|(file, used)| (name(file), used.iter().map(|file| name(file)).collect()))
            .collect()
    }

    fn uses(code: &str) -> Vec<String> {
        let others = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("b.rs", ""),
            ("c/mod.rs", "mod d;"),
            ("c/d.rs", ""),
        ];
        let mut files = vec![("a.rs", code)];
        files.extend(others);
        edges(&files)
            .into_iter()
            .find(|(file, _)| file == "a.rs")
            .map_or_else(Vec::new, |(_, used)| used)
    }

    #[test]
    fn imports_and_paths_in_the_code_are_uses() {
        assert_eq!(uses("use crate::b;"), ["b.rs"]);
        assert_eq!(uses("use super::b::B;"), ["b.rs"]);
        assert_eq!(uses("fn f() { crate::c::d::g(); }"), ["c/d.rs"]);
        assert_eq!(
            uses("use crate::{b::{B, C as D}, c::d::*};"),
            ["b.rs", "c/d.rs"]
        );
        assert_eq!(
            uses("pub fn f(b: &crate::b::B) -> super::c::C {}"),
            ["b.rs", "c/mod.rs"]
        );
        assert_eq!(uses("use crate::Root;"), ["lib.rs"]);
    }

    #[test]
    fn other_crates_comments_texts_and_tests_are_none() {
        assert!(uses("use std::fmt; use serde::b::B;").is_empty());
        assert!(uses("/// See [`crate::b::B`].\nfn f() { \"crate::b::B\"; }").is_empty());
        assert!(uses("#[cfg(test)]\nmod tests {\n    use crate::b;\n}").is_empty());
        assert!(uses("#[cfg(test)]\nuse crate::b;\n").is_empty());
        assert_eq!(
            uses("#[cfg(test)]\nuse crate::b;\nuse crate::c;\n"),
            ["c/mod.rs"]
        );
    }

    #[test]
    fn a_name_that_is_passed_on_counts_where_it_is_defined() {
        let files = [
            (
                "lib.rs",
                "mod a;\nmod c;\npub use c::D;\npub(crate) use std::fmt;\n",
            ),
            ("a.rs", "use crate::{D, fmt};"),
            ("c/mod.rs", "mod d;\npub use d::D;\n"),
            ("c/d.rs", "pub struct D;"),
        ];
        assert_eq!(
            edges(&files),
            [("a.rs".to_owned(), vec!["c/d.rs".to_owned()])]
        );
    }

    #[test]
    fn programs_and_files_of_tests_are_no_modules() {
        for path in ["main.rs", "bin/x.rs", "a_tests.rs"] {
            assert_eq!(module_path(path), None, "{path}");
        }
        assert_eq!(module_path("lib.rs"), Some(Vec::new()));
        assert_eq!(module_path("c/mod.rs"), Some(vec!["c".to_owned()]));
    }
}
