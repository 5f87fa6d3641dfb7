// SPDX-License-Identifier: Apache-2.0
//! The cases that are data: the files of `cases/`, which the clients of other languages play too.
//!
//! `cases/README.md` describes the format. Everything here refuses what it does not know, so that a
//! step that is misspelt fails and is not passed over.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// Every file of cases.
const FILES: [&str; 6] = [
    include_str!("../cases/errors.json"),
    include_str!("../cases/life_cycle.json"),
    include_str!("../cases/output.json"),
    include_str!("../cases/store.json"),
    include_str!("../cases/surface.json"),
    include_str!("../cases/tools.json"),
];

/// The tools of a case that names none.
const STANDARD_TOOLS: &str = include_str!("../cases/standard_tools.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    #[serde(rename = "about")]
    _about: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolsFile {
    #[serde(rename = "about")]
    _about: String,
    tools: Vec<Tool>,
}

/// One case: what is done in a session of its own, and what must come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(rename = "says")]
    _says: String,
    /// Which hosts the case holds for; every provider of this suite is ours.
    #[serde(rename = "hosts")]
    _hosts: Option<Hosts>,
    pub(crate) tools: Option<Vec<Tool>>,
    pub(crate) steps: Vec<Step>,
}

/// Which hosts a case holds for, where that is not every host of the protocol.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Hosts {
    Ours,
}

/// A tool and what it answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) description: String,
    pub(crate) answer: Answer,
}

/// What a tool answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// Its input.
    Input,
    /// Nothing, ever.
    Never,
    /// Its input, once the gate is opened.
    Gate,
    /// An error with this message.
    Error(String),
    /// This value.
    Value(Value),
}

/// One step: one action, and what is said about it. [`Step::action`] finds which.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Step {
    run: Option<Source>,
    start: Option<Source>,
    first: Option<String>,
    wait: Option<Target>,
    terminate: Option<Target>,
    until: Option<Seen>,
    open_gate: Option<bool>,
    shutdown: Option<bool>,
    export_store: Option<BTreeMap<String, Value>>,
    import_store: Option<BTreeMap<String, Value>>,
    calls: Option<Vec<Seen>>,
    notifications: Option<Vec<String>>,
    tool_ids: Option<Vec<String>>,
    gathered: Option<String>,
    /// The name that later steps have for the cell.
    pub(crate) cell: Option<String>,
    pub(crate) yield_time_ms: Option<u64>,
    #[serde(default)]
    pub(crate) limits: BTreeMap<String, u64>,
    /// Which hosts the step holds for; see [`Case`].
    #[serde(rename = "hosts")]
    _hosts: Option<Hosts>,
    /// The id that the cell must have.
    pub(crate) id: Option<String>,
    pub(crate) items: Option<Vec<Item>>,
    pub(crate) status: Option<Status>,
    pub(crate) error: Option<Pattern>,
    pub(crate) refused: Option<Refusal>,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum Action<'a> {
    Run(&'a Source),
    Start(&'a Source),
    First(&'a str),
    Wait(&'a Target),
    Terminate(&'a Target),
    Until(&'a Seen),
    OpenGate,
    Shutdown,
    ExportStore(&'a BTreeMap<String, Value>),
    ImportStore(&'a BTreeMap<String, Value>),
    Calls(&'a [Seen]),
    Notifications(&'a [String]),
    ToolIds(&'a [String]),
    Gathered(&'a str),
}

impl Step {
    /// The one action of the step.
    pub(crate) fn action(&self) -> Action<'_> {
        let actions = [
            self.run.as_ref().map(Action::Run),
            self.start.as_ref().map(Action::Start),
            self.first.as_deref().map(Action::First),
            self.wait.as_ref().map(Action::Wait),
            self.terminate.as_ref().map(Action::Terminate),
            self.until.as_ref().map(Action::Until),
            self.open_gate.map(|_| Action::OpenGate),
            self.shutdown.map(|_| Action::Shutdown),
            self.export_store.as_ref().map(Action::ExportStore),
            self.import_store.as_ref().map(Action::ImportStore),
            self.calls.as_deref().map(Action::Calls),
            self.notifications.as_deref().map(Action::Notifications),
            self.tool_ids.as_deref().map(Action::ToolIds),
            self.gathered.as_deref().map(Action::Gathered),
        ];
        let mut given = actions.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(action), None) => action,
            _ => panic!("a step has exactly one action: {self:?}"),
        }
    }
}

/// A script, in one piece or in lines.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Source {
    Text(String),
    Lines(Vec<String>),
}

impl Source {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Lines(lines) => lines.join("\n"),
        }
    }
}

/// A cell: by the name that a step gave it, or by any id.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Target {
    Named(String),
    Id(ById),
}

/// A cell by its id.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ById {
    pub(crate) id: String,
}

/// Something that the delegate sees. In `until`, a tool is told by its name alone.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Seen {
    Tool(SeenTool),
    Notification(String),
    Cancelled(String),
    Closed(String),
}

/// A tool call as it is seen.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum SeenTool {
    Name(String),
    Call(SeenCall),
}

/// A tool call with all that is known of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeenCall {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) input: Value,
}

/// How a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Completed,
    Yielded,
    Terminated,
}

/// One piece of output: a text, an image, or a pattern of a text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Item {
    Text(String),
    Image(ImageItem),
    Pattern(TextPattern),
}

/// An image.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageItem {
    pub(crate) image: String,
    pub(crate) detail: Option<String>,
}

/// A text as it is, or a pattern of it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Pattern {
    Is(String),
    Like(TextPattern),
}

/// What a text must have; everything that is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TextPattern {
    starts: Option<String>,
    #[serde(default)]
    contains: Vec<String>,
    /// What the text after `Hint: ` contains.
    hint: Option<String>,
}

impl TextPattern {
    pub(crate) fn matches(&self, text: &str) -> bool {
        let hint = text.split_once("\nHint: ").map(|(_, hint)| hint);
        self.starts
            .as_ref()
            .is_none_or(|start| text.starts_with(start))
            && self.contains.iter().all(|part| text.contains(part))
            && self
                .hint
                .as_ref()
                .is_none_or(|part| hint.is_some_and(|hint| hint.contains(part)))
    }
}

impl Pattern {
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Is(expected) => expected == text,
            Self::Like(pattern) => pattern.matches(text),
        }
    }
}

/// Why an operation is refused: the code of the error, or words in its message.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Refusal {
    Code(String),
    Like(TextPattern),
}

/// All cases of all files.
pub(crate) fn all() -> Vec<Case> {
    FILES
        .into_iter()
        .flat_map(|text| {
            let file: CaseFile = serde_json::from_str(text).expect("the cases are well formed");
            file.cases
        })
        .collect()
}

/// The tools of a case that names none.
pub(crate) fn standard_tools() -> Vec<Tool> {
    let file: ToolsFile = serde_json::from_str(STANDARD_TOOLS).expect("the tools are well formed");
    file.tools
}
