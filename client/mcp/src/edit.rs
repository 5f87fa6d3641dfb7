// SPDX-License-Identifier: Apache-2.0
//! Changes configuration files of our own and of other programs, and leaves all else in them, comments and
//! layout included, as it is.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use serde_json::Value;
use similar::TextDiff;
use toml_edit::{DocumentMut, Item, Table};

use crate::config::read_file;

/// A file that cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It cannot be read.
    #[error("Failed to read {}: {cause}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// What it holds cannot be understood, so that it is better left alone.
    #[error("Failed to change {}: {problem}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It cannot be written.
    #[error("Failed to write {}: {cause}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// A file, the text that it has and the text that it is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file.
    pub path: PathBuf,
    /// What it holds; nothing when there is none.
    pub before: Option<String>,
    /// What it is to hold; nothing when it is to go.
    pub after: Option<String>,
}

impl Change {
    /// Whether nothing is to change.
    pub fn is_empty(&self) -> bool {
        self.before == self.after
    }

    /// The change as a unified diff.
    pub fn diff(&self) -> String {
        let (before, after) = (self.before.as_deref(), self.after.as_deref());
        let name = self.path.display().to_string();
        TextDiff::from_lines(before.unwrap_or_default(), after.unwrap_or_default())
            .unified_diff()
            .header(&name, &name)
            .to_string()
    }

    /// Writes the file, whole or not at all. A new file is for its owner only, since it may hold
    /// credentials; another keeps its permissions, and a link to one stays a link.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn apply(&self) -> Result<(), EditError> {
        let failed = |cause| EditError::Write {
            path: self.path.clone(),
            cause,
        };
        let Some(after) = &self.after else {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed.map_err(failed),
            };
        };
        write(&self.path, after).map_err(failed)
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    if let Ok(metadata) = fs::metadata(&path) {
        let permissions = fs::Permissions::from_mode(metadata.permissions().mode() & 0o777);
        file.as_file().set_permissions(permissions)?;
    }
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

/// The text of a file; nothing when there is none.
///
/// # Errors
/// When it is there and cannot be read.
pub fn text_of(path: &Path) -> Result<Option<String>, EditError> {
    match path.try_exists() {
        Ok(false) => Ok(None),
        _ => read_file(path).map(Some).map_err(|cause| EditError::Read {
            path: path.to_path_buf(),
            cause,
        }),
    }
}

/// A configuration file that is being changed.
pub struct Document {
    path: PathBuf,
    before: Option<String>,
    content: Content,
}

enum Content {
    Json(CstRootNode),
    Toml(Box<DocumentMut>),
}

impl Document {
    /// The document at `path`, or an empty one.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn open(path: &Path) -> Result<Self, EditError> {
        let before = text_of(path)?;
        Self::of(path, before)
    }

    /// The document with this text.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub fn of(path: &Path, before: Option<String>) -> Result<Self, EditError> {
        let problem = |problem: String| EditError::Content {
            path: path.to_path_buf(),
            problem,
        };
        let text = before.as_deref().unwrap_or_default();
        let content = if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let document = text.parse::<DocumentMut>();
            Content::Toml(Box::new(
                document.map_err(|error| problem(error.to_string()))?,
            ))
        } else {
            let text = if text.trim().is_empty() { "{}\n" } else { text };
            let root = CstRootNode::parse(text, &ParseOptions::default());
            Content::Json(root.map_err(|error| problem(error.to_string()))?)
        };
        Ok(Self {
            path: path.to_path_buf(),
            before,
            content,
        })
    }

    fn problem(&self, problem: impl Into<String>) -> EditError {
        EditError::Content {
            path: self.path.clone(),
            problem: problem.into(),
        }
    }

    /// The names of the members of the object `member`, such as `mcpServers`.
    pub fn names(&self, member: &str) -> Vec<String> {
        match &self.content {
            Content::Json(root) => {
                let object = root
                    .object_value()
                    .and_then(|root| root.object_value(member));
                let properties = object.map(|object| object.properties()).unwrap_or_default();
                properties
                    .iter()
                    .filter_map(|property| property.decoded_name())
                    .collect()
            }
            Content::Toml(document) => {
                let table = document.get(member).and_then(Item::as_table_like);
                table
                    .map(|table| table.iter().map(|(name, _)| name.to_owned()).collect())
                    .unwrap_or_default()
            }
        }
    }

    /// Sets a member of the object `member`.
    ///
    /// # Errors
    /// When there is something else in its place.
    pub fn set(&mut self, member: &str, name: &str, value: &Value) -> Result<(), EditError> {
        let misplaced = self.problem(format!("{member} is no object"));
        match &mut self.content {
            Content::Json(root) => {
                let object = json_object(root, member).ok_or(misplaced)?;
                match object.get(name) {
                    Some(property) => property.set_value(input(value)),
                    None => {
                        object.append(name, input(value));
                    }
                }
            }
            Content::Toml(document) => {
                let item = toml_item(value).ok_or_else(|| EditError::Content {
                    path: self.path.clone(),
                    problem: format!("{name} cannot be written as TOML"),
                })?;
                set_toml(document, member, name, item).ok_or(misplaced)?;
            }
        }
        Ok(())
    }

    /// Copies a member of the object `member` from another document of the same format.
    ///
    /// # Errors
    /// When it is not there or there is something else in its place.
    pub fn copy(&mut self, other: &Self, member: &str, name: &str) -> Result<(), EditError> {
        let misplaced = self.problem(format!("{member} is no object"));
        match (&mut self.content, &other.content) {
            (Content::Toml(document), Content::Toml(other)) => {
                let item = other.get(member).and_then(|table| table.get(name)).cloned();
                let item = item.ok_or_else(|| EditError::Content {
                    path: self.path.clone(),
                    problem: format!("there is no {name} to copy"),
                })?;
                set_toml(document, member, name, item).ok_or(misplaced)
            }
            _ => {
                let value = other.value(member, name);
                let value =
                    value.ok_or_else(|| self.problem(format!("there is no {name} to copy")))?;
                self.set(member, name, &value)
            }
        }
    }

    /// The value of a member of the object `member`.
    pub fn value(&self, member: &str, name: &str) -> Option<Value> {
        let text = self.text();
        let whole = crate::config::parse_value(&text, &self.path).ok()?;
        whole.get(member)?.get(name).cloned()
    }

    /// Takes a member of the object `member` away; says whether it was there.
    pub fn remove(&mut self, member: &str, name: &str) -> bool {
        match &mut self.content {
            Content::Json(root) => {
                let object = root
                    .object_value()
                    .and_then(|root| root.object_value(member));
                match object.and_then(|object| object.get(name)) {
                    Some(property) => {
                        property.remove();
                        true
                    }
                    None => false,
                }
            }
            Content::Toml(document) => {
                let table = document.get_mut(member).and_then(Item::as_table_like_mut);
                table.is_some_and(|table| table.remove(name).is_some())
            }
        }
    }

    /// Whether there is an object `member`.
    pub fn has(&self, member: &str) -> bool {
        match &self.content {
            Content::Json(root) => {
                let object = root
                    .object_value()
                    .and_then(|root| root.object_value(member));
                object.is_some()
            }
            Content::Toml(document) => document.get(member).is_some_and(Item::is_table_like),
        }
    }

    /// Takes the object `member` away if nothing is in it.
    pub fn remove_empty(&mut self, member: &str) {
        if !self.has(member) || !self.names(member).is_empty() {
            return;
        }
        match &mut self.content {
            Content::Json(root) => {
                let property = root.object_value().and_then(|root| root.get(member));
                if let Some(property) = property {
                    property.remove();
                }
            }
            Content::Toml(document) => {
                document.remove(member);
            }
        }
    }

    fn text(&self) -> String {
        match &self.content {
            Content::Json(root) => root.to_string(),
            Content::Toml(document) => document.to_string(),
        }
    }

    /// The change from what the file holds to what the document holds now.
    pub fn change(&self) -> Change {
        let mut after = self.text();
        if !after.is_empty() && !after.ends_with('\n') {
            after.push('\n');
        }
        // An empty document is no reason to make a file.
        let after = match &self.before {
            None if after.trim() == "{}" || after.trim().is_empty() => None,
            Some(before) if before.trim_end() == after.trim_end() => Some(before.clone()),
            _ => Some(after),
        };
        Change {
            path: self.path.clone(),
            before: self.before.clone(),
            after,
        }
    }
}

fn json_object(root: &CstRootNode, member: &str) -> Option<CstObject> {
    root.object_value_or_create()?
        .object_value_or_create(member)
}

fn set_toml(document: &mut DocumentMut, member: &str, name: &str, item: Item) -> Option<()> {
    let table = document.entry(member).or_insert_with(|| {
        let mut table = Table::new();
        // Its own header says nothing that those of its members do not.
        table.set_implicit(true);
        Item::Table(table)
    });
    table.as_table_like_mut()?.insert(name, item);
    Some(())
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(flag) => CstInputValue::Bool(*flag),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(elements) => CstInputValue::Array(elements.iter().map(input).collect()),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| (name.clone(), input(value)));
            CstInputValue::Object(members.collect())
        }
    }
}

/// A table with its simple values in line, as people write servers; nothing for what TOML cannot hold.
fn toml_item(value: &Value) -> Option<Item> {
    let Value::Object(members) = value else {
        return toml_value(value).map(Item::Value);
    };
    let mut table = Table::new();
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        table.insert(name, Item::Value(toml_value(value)?));
    }
    Some(Item::Table(table))
}

fn toml_value(value: &Value) -> Option<toml_edit::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64()?.into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(elements) => {
            let elements: Option<Vec<toml_edit::Value>> = elements.iter().map(toml_value).collect();
            toml_edit::Value::Array(elements?.into_iter().collect())
        }
        Value::Object(members) => {
            let mut table = toml_edit::InlineTable::new();
            for (name, value) in members {
                table.insert(name, toml_value(value)?);
            }
            toml_edit::Value::InlineTable(table)
        }
    })
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
