// SPDX-License-Identifier: Apache-2.0
//! All tools that scripts may call, under names that are told apart.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use code_mode_api::{RawJson, ToolDefinition, ToolKind, ToolName, script_name};

use crate::bounds::OWN_NAMESPACE_ON_WIRE;
use crate::entry::Entry;
use crate::policy::{Hints, Policy, Verdict};
use crate::search::Index;
use crate::upstream::{ServerTool, Snapshot};

/// What the names of the front end's own tools begin with in scripts.
const OWN_PREFIX: &str = "code_mode";

/// Tools of servers that are down, or that the policy hides, to which one script can have names that
/// reject with the reason.
const MAX_ABSENT_TOOLS: usize = 64;

/// A server as the model is told of it.
pub struct ServerEntry {
    /// Its name.
    pub name: String,
    /// What the names of its tools begin with in scripts, without `__`.
    pub prefix: String,
    /// Its tools that may be called.
    pub tools: usize,
    /// Why it cannot be asked.
    pub problem: Option<String>,
    /// It is being started.
    pub pending: bool,
}

/// What a catalog is made from.
pub struct Source<'a> {
    /// The server's name.
    pub name: &'a str,
    /// Where it stands.
    pub snapshot: Snapshot,
}

/// All tools at one time.
pub struct Catalog {
    entries: Vec<Entry>,
    servers: Vec<ServerEntry>,
    by_tool: HashMap<(String, String), usize>,
    identifiers: HashSet<String>,
    offered: Arc<[ToolDefinition]>,
    index: OnceLock<Index>,
}

impl Catalog {
    /// The tools of these servers and of tools files that the policy lets be called.
    pub fn new(sources: &[Source<'_>], local: &[ToolDefinition], policy: &Policy) -> Self {
        let mut names = Names::default();
        let mut entries = Vec::new();
        let mut servers = Vec::new();
        // Tools of tools files come first: they keep their names whatever servers there are.
        for definition in local {
            names.taken.insert(script_name(&definition.name));
            entries.push(Entry::new(
                "",
                &definition.name,
                Hints::default(),
                definition.clone(),
            ));
        }
        let mut prefixes = Names::default();
        prefixes.taken.insert(OWN_PREFIX.to_owned());
        for source in sources {
            let prefix = prefixes.unique(script_name(source.name));
            let before = entries.len();
            let mut identifiers = names.of_tools(&prefix, &source.snapshot.tools);
            for tool in &*source.snapshot.tools {
                // Each tool of a server has a name of its own there.
                let Some(identifier) = identifiers.remove(&*tool.name) else {
                    continue;
                };
                let definition = ToolDefinition {
                    name: identifier,
                    tool_name: ToolName {
                        name: tool.name.clone(),
                        namespace: Some(source.name.to_owned()),
                    },
                    description: tool.description.clone(),
                    kind: ToolKind::Function,
                    input_schema: tool.input_schema.clone(),
                    output_schema: tool.output_schema.clone(),
                };
                entries.push(Entry::new(source.name, &tool.name, tool.hints, definition));
            }
            let may_be_called =
                |entry: &Entry| !matches!(policy.verdict(entry.subject()), Verdict::Denied(_));
            let mut own = entries.split_off(before);
            own.retain(may_be_called);
            servers.push(ServerEntry {
                name: source.name.to_owned(),
                prefix,
                tools: own.len(),
                problem: source.snapshot.problem(),
                pending: source.snapshot.is_pending(),
            });
            entries.append(&mut own);
        }
        let by_tool = entries
            .iter()
            .enumerate()
            .map(|(at, entry)| ((entry.server.clone(), entry.tool.clone()), at))
            .collect();
        let offered = entries
            .iter()
            .map(|entry| without_schemas(&entry.definition))
            .chain(own_tools())
            .collect();
        let identifiers = entries
            .iter()
            .map(|entry| entry.identifier.clone())
            .collect();
        Self {
            entries,
            servers,
            by_tool,
            identifiers,
            offered,
            index: OnceLock::new(),
        }
    }

    /// The tools, server after server.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The servers, in the order of the configuration.
    pub fn servers(&self) -> &[ServerEntry] {
        &self.servers
    }

    /// How many of the tools are those of tools files.
    pub fn tools_without_server(&self) -> usize {
        let local = |entry: &&Entry| entry.server.is_empty();
        self.entries.iter().filter(local).count()
    }

    /// The server that is called so, by its own name or by its prefix in scripts.
    pub fn server(&self, name: &str) -> Option<&ServerEntry> {
        let mut servers = self.servers.iter();
        let own = servers.clone().find(|server| server.name == name);
        own.or_else(|| servers.find(|server| server.prefix == name))
    }

    /// The tool of this server, if it may be called.
    pub fn tool(&self, server: &str, tool: &str) -> Option<&Entry> {
        let at = self.by_tool.get(&(server.to_owned(), tool.to_owned()))?;
        self.entries.get(*at)
    }

    /// The places of the tools that the query is about, best first.
    pub fn find(&self, query: &str) -> Vec<usize> {
        let index = self.index.get_or_init(|| Index::new(&self.entries));
        index.find(query, &self.entries)
    }

    /// The bytes of all declarations together, or nothing if they are more than `budget`.
    pub fn declarations_within(&self, budget: usize) -> Option<Vec<&str>> {
        let mut bytes = 0;
        let mut declarations = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let declaration = entry.declaration();
            bytes += declaration.len();
            if bytes > budget {
                return None;
            }
            declarations.push(declaration);
        }
        Some(declarations)
    }

    /// The tools that a script of this source is given: all that there are, and those that it names of
    /// servers that are down and of tools that are hidden, so that such a call rejects with the reason.
    pub fn offered_to(&self, source: &str) -> Arc<[ToolDefinition]> {
        let absent = self.absent_in(source);
        if absent.is_empty() {
            return Arc::clone(&self.offered);
        }
        self.offered.iter().cloned().chain(absent).collect()
    }

    fn absent_in(&self, source: &str) -> Vec<ToolDefinition> {
        let is_part = |c: char| c == '_' || c == '$' || c.is_ascii_alphanumeric();
        let mut seen = HashSet::new();
        let mut absent = Vec::new();
        for word in source.split(|c: char| !is_part(c)) {
            if absent.len() == MAX_ABSENT_TOOLS {
                break;
            }
            let of_server = |server: &&ServerEntry| {
                let rest = word.strip_prefix(&server.prefix);
                rest.is_some_and(|rest| rest.len() > 2 && rest.starts_with("__"))
            };
            if self.identifiers.contains(word) || !seen.insert(word) {
                continue;
            }
            if let Some(server) = self.servers.iter().find(of_server) {
                absent.push(ToolDefinition {
                    name: word.to_owned(),
                    tool_name: ToolName {
                        name: word[server.prefix.len() + 2..].to_owned(),
                        namespace: Some(server.name.clone()),
                    },
                    description: String::new(),
                    kind: ToolKind::Function,
                    input_schema: None,
                    output_schema: None,
                });
            }
        }
        absent
    }
}

/// A name behind `SERVER__`, where a digit may stand first.
fn script_name_within(name: &str) -> String {
    // The letter in front keeps a leading digit and is taken away again.
    let mut identifier = script_name(&format!("x{name}"));
    identifier.remove(0);
    if identifier.is_empty() {
        identifier.push('_');
    }
    identifier
}

fn without_schemas(definition: &ToolDefinition) -> ToolDefinition {
    ToolDefinition {
        input_schema: None,
        output_schema: None,
        ..definition.clone()
    }
}

/// The tools behind `searchTools`, `resources` and `prompts`.
fn own_tools() -> impl Iterator<Item = ToolDefinition> {
    let tools = [
        ("search", "Finds tools by words: searchTools(query)."),
        ("resources_list", "Lists resources: resources.list(server)."),
        (
            "resources_read",
            "Reads a resource: resources.read(server, uri).",
        ),
        ("prompts_list", "Lists prompts: prompts.list(server)."),
        (
            "prompts_get",
            "Gives a prompt: prompts.get(server, name, arguments).",
        ),
    ];
    tools.into_iter().map(|(name, description)| ToolDefinition {
        name: format!("{OWN_PREFIX}__{name}"),
        tool_name: ToolName {
            name: name.to_owned(),
            namespace: Some(OWN_NAMESPACE_ON_WIRE.to_owned()),
        },
        description: description.to_owned(),
        kind: ToolKind::Function,
        input_schema: None::<RawJson>,
        output_schema: None,
    })
}

/// Names that are told apart by a number behind those that would be equal.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
    next: HashMap<String, usize>,
}

impl Names {
    /// The names in scripts of a server's tools, by their own names. In which order the server lists them does
    /// not matter: a model that has read the list before it changed must not call another tool.
    fn of_tools<'a>(&mut self, prefix: &str, tools: &'a [ServerTool]) -> HashMap<&'a str, String> {
        let mut own: Vec<&str> = tools.iter().map(|tool| &*tool.name).collect();
        own.sort_unstable();
        let named = own.into_iter().map(|own| {
            let name = format!("{prefix}__{}", script_name_within(own));
            (own, self.unique(name))
        });
        named.collect()
    }

    fn unique(&mut self, name: String) -> String {
        if self.taken.insert(name.clone()) {
            return name;
        }
        let number = self.next.entry(name.clone()).or_insert(1);
        loop {
            *number += 1;
            let candidate = format!("{name}_{number}");
            if self.taken.insert(candidate.clone()) {
                return candidate;
            }
        }
    }
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
pub(crate) mod tests;
