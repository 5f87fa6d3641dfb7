// SPDX-License-Identifier: Apache-2.0
//! Reads a tools file: which tools scripts may call, and the command that stands behind each.
//!
//! The file is a JSON list of tool definitions in the wire's shape, each with a `command`. The
//! decoder is written by hand over `serde_json`'s raw values, because their place in the text gives
//! the place of every mistake, also of those that are no mistake of JSON.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use code_mode_api::{RawJson, ToolDefinition, ToolKind, ToolName, script_name};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::snippet;
use crate::suggest::did_you_mean;

/// Bytes of a file that the command line reads whole: a tools file, a script, stored values.
///
/// As much as one frame of the wire can carry; the host's own bounds are lower.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

const FIELDS: [&str; 7] = [
    "name",
    "tool_name",
    "description",
    "kind",
    "input_schema",
    "output_schema",
    "command",
];

/// The program behind a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCommand {
    /// A name that is looked up in `PATH`, or an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// A tool of a tools file.
#[derive(Debug, Clone)]
pub struct FileTool {
    /// What the host and the model are told.
    pub definition: ToolDefinition,
    /// What a call runs.
    pub command: ToolCommand,
}

/// A tools file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ToolsFileError {
    /// The file cannot be read.
    #[error("failed to read the tools file {}: {cause}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// A file says something that it cannot say.
    #[error("the tools file {} has a mistake\n{shown}", .path.display())]
    Mistake {
        /// The file.
        path: PathBuf,
        /// What and where, with the line of the file.
        shown: String,
    },
    /// Two files name the same tool.
    #[error("the tools file {} has a mistake: {problem}", .path.display())]
    Collision {
        /// The second file.
        path: PathBuf,
        /// Which tools, and where the first is.
        problem: String,
    },
}

/// A mistake in a tools file.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The bytes of the text that are wrong.
    pub span: Range<usize>,
    /// The field, such as `[2].tool_name.name`; empty where the whole file is meant.
    pub field: String,
    /// What is wrong with it and what it must be.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Reads the tools files at `paths`: their tools together, in order. `colors` says whether errors are
/// coloured.
///
/// # Errors
/// When one cannot be read, is not a list of tools, or has a tool that an earlier one has, too.
pub fn load_all(paths: &[PathBuf], colors: bool) -> Result<Vec<FileTool>, ToolsFileError> {
    let mut all: Vec<FileTool> = Vec::new();
    let mut first: HashMap<String, (String, &Path)> = HashMap::new();
    for path in paths {
        let tools = load(path, colors)?;
        for tool in &tools {
            let identifier = script_name(&tool.definition.name);
            let collides = |problem| ToolsFileError::Collision {
                path: path.clone(),
                problem,
            };
            if let Some((other, file)) = first.get(&identifier) {
                return Err(collides(format!(
                    "{} and {other} ({}) would both be tools.{identifier} in scripts",
                    tool.definition.name,
                    file.display()
                )));
            }
            let own = &tool.definition.tool_name;
            if all.iter().any(|known| known.definition.tool_name == *own) {
                return Err(collides(format!(
                    "another file has a tool with the tool_name of {}",
                    tool.definition.name
                )));
            }
        }
        for tool in &tools {
            let name = tool.definition.name.clone();
            first.insert(script_name(&name), (name, path));
        }
        all.extend(tools);
    }
    Ok(all)
}

/// Reads the tools file at `path`.
///
/// # Errors
/// When it cannot be read, or its content is not a list of tools.
pub fn load(path: &Path, colors: bool) -> Result<Vec<FileTool>, ToolsFileError> {
    let read = |cause: String| ToolsFileError::Read {
        path: path.to_path_buf(),
        cause,
    };
    let text = read_text(path).map_err(read)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    decode(&text, folder).map_err(|mistake| {
        let (name, span) = (path.display().to_string(), mistake.span.clone());
        ToolsFileError::Mistake {
            path: path.to_path_buf(),
            shown: snippet::show(&name, &text, span, &mistake.to_string(), colors),
        }
    })
}

/// Reads a whole text file of at most [`MAX_FILE_BYTES`].
///
/// # Errors
/// In words for people, without the file's name.
pub fn read_text(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    read_text_from(file)
}

/// Reads a whole stream of at most [`MAX_FILE_BYTES`] as text.
///
/// # Errors
/// In words for people, without the stream's name.
pub fn read_text_from(stream: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    stream
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it is larger than {MAX_FILE_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        format!(
            "it is not UTF-8 text (byte {} is wrong)",
            error.utf8_error().valid_up_to()
        )
    })
}

/// Reads a tools file's text; relative program paths are resolved against `folder`.
///
/// # Errors
/// The first mistake in the text.
pub fn decode(text: &str, folder: &Path) -> Result<Vec<FileTool>, Mistake> {
    let document = Document { text };
    let whole: &RawValue =
        serde_json::from_str(text).map_err(|error| syntax_mistake(text, &error))?;
    let root = Node {
        document,
        raw: whole,
        field: String::new(),
    };
    let mut tools = Vec::new();
    let mut seen = Names::default();
    for node in root.elements()? {
        let tool = decode_tool(&node, folder)?;
        seen.check(&node, &tool.definition)?;
        tools.push(tool);
    }
    Ok(tools)
}

fn syntax_mistake(text: &str, error: &serde_json::Error) -> Mistake {
    Mistake {
        span: snippet::json_error_span(text, error),
        field: String::new(),
        message: format!("not JSON: {}", snippet::words(error)),
    }
}

/// The names met so far, with the line of each, to find two that collide.
#[derive(Default)]
struct Names {
    by_script_name: HashMap<String, (String, usize)>,
    by_tool_name: HashMap<ToolName, usize>,
}

impl Names {
    fn check(&mut self, node: &Node<'_>, tool: &ToolDefinition) -> Result<(), Mistake> {
        let line = node.line();
        let identifier = script_name(&tool.name);
        if let Some((other, first)) = self.by_script_name.get(&identifier) {
            return Err(node.mistake_at(
                "name",
                format!(
                    "{} and {other} (line {first}) would both be tools.{identifier} in scripts",
                    tool.name
                ),
            ));
        }
        if let Some(first) = self.by_tool_name.get(&tool.tool_name) {
            return Err(node.mistake_at(
                "tool_name",
                format!("the tool of line {first} has the same tool_name"),
            ));
        }
        self.by_script_name
            .insert(identifier, (tool.name.clone(), line));
        self.by_tool_name.insert(tool.tool_name.clone(), line);
        Ok(())
    }
}

fn decode_tool(node: &Node<'_>, folder: &Path) -> Result<FileTool, Mistake> {
    let members = node.members(&FIELDS)?;
    let name = members.required("name")?.name()?;
    let tool_name = match members.get("tool_name") {
        None => ToolName {
            name: name.clone(),
            namespace: None,
        },
        Some(node) => decode_tool_name(node)?,
    };
    let description = match members.get("description") {
        None => String::new(),
        Some(node) => node.string()?,
    };
    let kind = match members.get("kind") {
        None => ToolKind::Function,
        Some(node) => match node.string()?.as_str() {
            "function" => ToolKind::Function,
            "freeform" => ToolKind::Freeform,
            other => {
                return Err(node.mistake(format!("must be function or freeform, not {other}")));
            }
        },
    };
    let schema = |name| members.get(name).map_or(Ok(None), Node::schema);
    let definition = ToolDefinition {
        input_schema: schema("input_schema")?,
        output_schema: schema("output_schema")?,
        name,
        tool_name,
        description,
        kind,
    };
    let command = decode_command(members.required("command")?, folder)?;
    Ok(FileTool {
        definition,
        command,
    })
}

fn decode_tool_name(node: &Node<'_>) -> Result<ToolName, Mistake> {
    let members = node.members(&["name", "namespace"])?;
    Ok(ToolName {
        name: members.required("name")?.name()?,
        namespace: match members.get("namespace") {
            Some(node) if !node.is_null() => Some(node.string()?),
            _ => None,
        },
    })
}

/// A program with a slash in its name is a path, relative to the tools file's folder; any other is
/// looked up in `PATH`.
fn decode_command(node: &Node<'_>, folder: &Path) -> Result<ToolCommand, Mistake> {
    let words = node.elements()?;
    let Some((first, rest)) = words.split_first() else {
        return Err(node.mistake("must name a program: [\"program\", \"argument\", …]"));
    };
    let program = first.name()?;
    let program = if program.contains('/') {
        folder.join(program)
    } else {
        PathBuf::from(program)
    };
    let arguments = rest.iter().map(Node::argument).collect::<Result<_, _>>()?;
    Ok(ToolCommand { program, arguments })
}

/// The text of the file; every value below is a slice of it.
#[derive(Clone, Copy)]
struct Document<'a> {
    text: &'a str,
}

impl Document<'_> {
    /// The bytes of a slice of the text.
    fn span(self, part: &str) -> Range<usize> {
        let start = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        start..start.saturating_add(part.len())
    }

    /// The line of a slice of the text.
    fn line(self, part: &str) -> usize {
        let before = self.text.get(..self.span(part).start).unwrap_or_default();
        before.matches('\n').count() + 1
    }
}

/// A value with its place.
struct Node<'a> {
    document: Document<'a>,
    raw: &'a RawValue,
    field: String,
}

impl<'a> Node<'a> {
    fn line(&self) -> usize {
        self.document.line(self.raw.get())
    }

    fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake {
            span: self.document.span(self.raw.get()),
            field: self.field.clone(),
            message: message.into(),
        }
    }

    /// A mistake of a member that may not be there.
    fn mistake_at(&self, member: &str, message: impl Into<String>) -> Mistake {
        let mut mistake = self.mistake(message);
        mistake.field = join(&self.field, member);
        mistake
    }

    /// What kind of JSON value this is, in words. The text is valid JSON, so its first byte tells.
    fn kind(&self) -> &'static str {
        match self.raw.get().as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        }
    }

    fn is_null(&self) -> bool {
        self.kind() == "null"
    }

    fn wrong_kind(&self, expected: &str) -> Mistake {
        self.mistake(format!("must be {expected}, not {}", self.kind()))
    }

    /// Decodes the value's own text, which cannot fail for want of well-formed JSON.
    fn parse<T: Deserialize<'a>>(&self) -> Result<T, Mistake> {
        serde_json::from_str(self.raw.get()).map_err(|error| self.mistake(error.to_string()))
    }

    fn string(&self) -> Result<String, Mistake> {
        if self.kind() != "a string" {
            return Err(self.wrong_kind("a string"));
        }
        self.parse()
    }

    /// A string that the operating system takes as an argument.
    fn argument(&self) -> Result<String, Mistake> {
        let argument = self.string()?;
        if argument.contains('\0') {
            return Err(self.mistake("must not hold a NUL"));
        }
        Ok(argument)
    }

    /// An argument that is not blank.
    fn name(&self) -> Result<String, Mistake> {
        let name = self.argument()?;
        if name.trim().is_empty() {
            return Err(self.mistake("must not be empty"));
        }
        Ok(name)
    }

    fn schema(&self) -> Result<Option<RawJson>, Mistake> {
        match self.kind() {
            "null" => Ok(None),
            "an object" | "a boolean" => Ok(Some(self.raw.to_owned())),
            _ => Err(self.wrong_kind("a JSON schema (an object) or null")),
        }
    }

    fn elements(&self) -> Result<Vec<Node<'a>>, Mistake> {
        if self.kind() != "a list" {
            return Err(self.wrong_kind("a list"));
        }
        let raws: Vec<&'a RawValue> = self.parse()?;
        let nodes = raws.into_iter().enumerate().map(|(at, raw)| Node {
            document: self.document,
            raw,
            field: format!("{}[{at}]", self.field),
        });
        Ok(nodes.collect())
    }

    fn members(&self, known: &[&'static str]) -> Result<Members<'_, 'a>, Mistake> {
        if self.kind() != "an object" {
            return Err(self.wrong_kind("an object"));
        }
        let RawMembers(raws) = self.parse()?;
        let mut members: Vec<(&'static str, Node<'a>)> = Vec::new();
        for (key, raw) in raws {
            let node = Node {
                document: self.document,
                raw,
                field: join(&self.field, &key),
            };
            let Some(name) = known.iter().find(|name| **name == key) else {
                let hint = match did_you_mean(&key, known.iter().copied()) {
                    Some(name) => format!("did you mean {name}?"),
                    None => format!("known are {}", known.join(", ")),
                };
                return Err(node.mistake(format!("unknown field; {hint}")));
            };
            if members.iter().any(|(given, _)| given == name) {
                return Err(node.mistake("is given twice"));
            }
            members.push((name, node));
        }
        Ok(Members {
            object: self,
            members,
        })
    }
}

fn join(field: &str, member: &str) -> String {
    if field.is_empty() {
        member.to_owned()
    } else {
        format!("{field}.{member}")
    }
}

struct Members<'n, 'a> {
    object: &'n Node<'a>,
    members: Vec<(&'static str, Node<'a>)>,
}

impl<'a> Members<'_, 'a> {
    fn get(&self, name: &str) -> Option<&Node<'a>> {
        self.members
            .iter()
            .find(|(given, _)| *given == name)
            .map(|(_, node)| node)
    }

    fn required(&self, name: &str) -> Result<&Node<'a>, Mistake> {
        self.get(name)
            .ok_or_else(|| self.object.mistake_at(name, "is missing"))
    }
}

/// An object's members in the order of the text, doubles included.
struct RawMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = RawMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    members.push((key, map.next_value()?));
                }
                Ok(RawMembers(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
#[path = "tools_file_tests.rs"]
mod tests;
