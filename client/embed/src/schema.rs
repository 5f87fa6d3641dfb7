// SPDX-License-Identifier: Apache-2.0
//! Writes JSON schemas as TypeScript types, for models to read.
//!
//! Local references are written out in place. A reference to a schema that is being written out
//! already, nesting below [`MAX_TYPE_DEPTH`] and what lies beyond [`MAX_TYPE_NODES`] are cut off as
//! `unknown` with a comment, so that every schema gives a finite text.

use std::fmt::Write;

use serde_json::{Map, Value};

/// Levels of nesting of one tool's type.
pub const MAX_TYPE_DEPTH: usize = 16;

/// Schemas that are written out for one tool; references count each time that they are followed.
pub const MAX_TYPE_NODES: usize = 2_000;

/// Objects up to this many characters are written on one line, unless they hold comments.
const MAX_LINE_OBJECT: usize = 72;

/// The type that `schema` describes. Lines after the first are indented by `indent` levels.
pub fn type_of(schema: &Value, indent: usize) -> String {
    let mut writer = Writer {
        root: schema,
        following: Vec::new(),
        nodes_left: MAX_TYPE_NODES,
    };
    writer.schema(schema, indent, 0).text
}

/// A JSDoc comment on lines of its own; empty when there is nothing to say.
pub fn comment(text: &str, indent: usize) -> String {
    let text = text.trim().replace("*/", "*\\/");
    let margin = margin(indent);
    if text.is_empty() {
        return String::new();
    }
    if !text.contains('\n') {
        return format!("{margin}/** {text} */\n");
    }
    let mut comment = format!("{margin}/**\n");
    for line in text.lines() {
        let line = format!("{margin} * {line}");
        comment.push_str(line.trim_end());
        comment.push('\n');
    }
    comment.push_str(&format!("{margin} */\n"));
    comment
}

fn margin(indent: usize) -> String {
    "  ".repeat(indent)
}

/// How tightly a type's outermost operator binds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Union,
    Intersection,
    Atom,
}

struct Type {
    text: String,
    binding: Binding,
}

impl Type {
    fn atom(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            binding: Binding::Atom,
        }
    }

    fn unknown() -> Self {
        Self::atom("unknown")
    }

    fn cut_off(why: &str) -> Self {
        Self::atom(format!("unknown /* {} */", why.replace("*/", "* /")))
    }

    /// The text, in parentheses where `binding` would tear it apart.
    fn within(self, binding: Binding) -> String {
        if self.binding < binding {
            format!("({})", self.text)
        } else {
            self.text
        }
    }

    fn union(types: Vec<Self>) -> Self {
        Self::join(types, Binding::Union, " | ", "never")
    }

    fn intersection(types: Vec<Self>) -> Self {
        // `unknown & T` is `T`.
        let types = types
            .into_iter()
            .filter(|part| part.text != "unknown")
            .collect();
        Self::join(types, Binding::Intersection, " & ", "unknown")
    }

    fn join(types: Vec<Self>, binding: Binding, operator: &str, empty: &str) -> Self {
        let mut distinct: Vec<Self> = Vec::new();
        for part in types {
            if !distinct.iter().any(|other| other.text == part.text) {
                distinct.push(part);
            }
        }
        if distinct.len() < 2 {
            return distinct.pop().unwrap_or_else(|| Self::atom(empty));
        }
        let texts: Vec<String> = distinct
            .into_iter()
            .map(|part| part.within(binding))
            .collect();
        Self {
            text: texts.join(operator),
            binding,
        }
    }
}

struct Writer<'a> {
    root: &'a Value,
    /// The references that are being written out, outermost first.
    following: Vec<&'a str>,
    nodes_left: usize,
}

impl<'a> Writer<'a> {
    fn schema(&mut self, schema: &'a Value, indent: usize, depth: usize) -> Type {
        let object = match schema {
            Value::Bool(false) => return Type::atom("never"),
            Value::Object(object) => object,
            // `true` allows everything; anything else is no schema and promises nothing.
            _ => return Type::unknown(),
        };
        if depth > MAX_TYPE_DEPTH {
            return Type::cut_off("nested deeper");
        }
        let Some(left) = self.nodes_left.checked_sub(1) else {
            return Type::cut_off("the schema goes on");
        };
        self.nodes_left = left;

        let mut parts = Vec::new();
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            parts.push(self.reference(reference, indent, depth));
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(choices) = object.get(keyword).and_then(Value::as_array) {
                parts.push(self.choices(choices, indent, depth));
            }
        }
        if let Some(all) = object.get("allOf").and_then(Value::as_array) {
            let types = all
                .iter()
                .map(|part| self.schema(part, indent, depth + 1))
                .collect();
            parts.push(Type::intersection(types));
        }
        if let Some(value) = object.get("const") {
            parts.push(Type::atom(value.to_string()));
        } else if let Some(values) = object.get("enum").and_then(Value::as_array) {
            parts.push(Type::union(
                values
                    .iter()
                    .map(|value| Type::atom(value.to_string()))
                    .collect(),
            ));
        } else {
            parts.push(self.by_type(object, indent, depth));
        }
        let whole = Type::intersection(parts);
        if object.get("nullable") == Some(&Value::Bool(true)) && whole.text != "unknown" {
            return Type::union(vec![whole, Type::atom("null")]);
        }
        whole
    }

    fn choices(&mut self, choices: &'a [Value], indent: usize, depth: usize) -> Type {
        let types: Vec<Type> = choices
            .iter()
            .map(|choice| self.schema(choice, indent, depth + 1))
            .collect();
        // A union with `unknown` is `unknown`: choices that only demand members say nothing here.
        if types.iter().any(|choice| choice.text == "unknown") {
            return Type::unknown();
        }
        Type::union(types)
    }

    fn reference(&mut self, reference: &'a str, indent: usize, depth: usize) -> Type {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        if self.following.contains(&reference) {
            return Type::cut_off(&format!("recursive: {name}"));
        }
        let target = match reference.strip_prefix('#') {
            // The whole schema is being written out by its nature.
            Some("") => return Type::cut_off("recursive: the whole"),
            Some(pointer) => self.root.pointer(pointer),
            None => None,
        };
        let Some(target) = target else {
            return Type::cut_off(&format!("$ref {reference}"));
        };
        self.following.push(reference);
        let written = self.schema(target, indent, depth + 1);
        self.following.pop();
        written
    }

    fn by_type(&mut self, object: &'a Map<String, Value>, indent: usize, depth: usize) -> Type {
        match object.get("type") {
            Some(Value::String(name)) => self.named(name, object, indent, depth),
            Some(Value::Array(names)) => {
                let names = names.iter().filter_map(Value::as_str);
                Type::union(
                    names
                        .map(|name| self.named(name, object, indent, depth))
                        .collect(),
                )
            }
            _ => {
                let has = |keywords: &[&str]| keywords.iter().any(|key| object.contains_key(*key));
                if has(&["properties", "additionalProperties", "patternProperties"]) {
                    self.object(object, indent, depth)
                } else if has(&["items", "prefixItems"]) {
                    self.array(object, indent, depth)
                } else {
                    Type::unknown()
                }
            }
        }
    }

    fn named(
        &mut self,
        name: &str,
        object: &'a Map<String, Value>,
        indent: usize,
        depth: usize,
    ) -> Type {
        match name {
            "string" => Type::atom("string"),
            "number" | "integer" => Type::atom("number"),
            "boolean" => Type::atom("boolean"),
            "null" => Type::atom("null"),
            "object" => self.object(object, indent, depth),
            "array" => self.array(object, indent, depth),
            _ => Type::unknown(),
        }
    }

    fn array(&mut self, object: &'a Map<String, Value>, indent: usize, depth: usize) -> Type {
        let items = object.get("items");
        let tuple = object
            .get("prefixItems")
            .or(items)
            .and_then(Value::as_array);
        let Some(elements) = tuple else {
            let element = items.map_or(Type::unknown(), |items| {
                self.schema(items, indent, depth + 1)
            });
            return Type::atom(format!("{}[]", element.within(Binding::Atom)));
        };
        let required = object.get("minItems").and_then(Value::as_u64);
        let mut members: Vec<String> = Vec::new();
        for (at, element) in elements.iter().enumerate() {
            let optional = required.is_some_and(|required| at as u64 >= required);
            let element = self.schema(element, indent, depth + 1);
            members.push(if optional {
                format!("{}?", element.within(Binding::Atom))
            } else {
                element.text
            });
        }
        let rest = if object.contains_key("prefixItems") {
            items
        } else {
            object.get("additionalItems")
        };
        if let Some(rest @ (Value::Object(_) | Value::Bool(true))) = rest {
            let rest = self.schema(rest, indent, depth + 1);
            members.push(format!("...{}[]", rest.within(Binding::Atom)));
        }
        Type::atom(format!("[{}]", members.join(", ")))
    }

    /// Required members come first, in the order in which the schema demands them.
    fn object(&mut self, object: &'a Map<String, Value>, indent: usize, depth: usize) -> Type {
        let properties = object.get("properties").and_then(Value::as_object);
        let required: Vec<&str> = object
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let mut members = Vec::new();
        for name in &required {
            let schema = properties.and_then(|properties| properties.get(*name));
            let value = match schema {
                Some(schema) => self.schema(schema, indent + 1, depth + 1).text,
                None => "unknown".to_owned(),
            };
            let note = schema.map(note).unwrap_or_default();
            members.push((note, format!("{}: {value}", property_name(name))));
        }
        for (name, schema) in properties.into_iter().flatten() {
            if !required.contains(&name.as_str()) {
                let value = self.schema(schema, indent + 1, depth + 1).text;
                members.push((note(schema), format!("{}?: {value}", property_name(name))));
            }
        }
        let record = self.record(object, indent, depth);
        match (members.is_empty(), record) {
            (true, Some(record)) => record,
            (true, None) => match object.get("additionalProperties") {
                Some(Value::Bool(false)) => Type::atom("Record<string, never>"),
                _ => Type::atom("Record<string, unknown>"),
            },
            (false, None) => Type::atom(braces(&members, indent)),
            (false, Some(record)) => {
                let members = Type::atom(braces(&members, indent));
                Type::join(
                    vec![members, record],
                    Binding::Intersection,
                    " & ",
                    "unknown",
                )
            }
        }
    }

    /// What members beyond the named ones may be, where the schema says more than yes or no.
    fn record(
        &mut self,
        object: &'a Map<String, Value>,
        indent: usize,
        depth: usize,
    ) -> Option<Type> {
        let patterns = object.get("patternProperties").and_then(Value::as_object);
        let mut values: Vec<Type> = Vec::new();
        for schema in patterns.into_iter().flat_map(Map::values) {
            values.push(self.schema(schema, indent, depth + 1));
        }
        match object.get("additionalProperties") {
            Some(Value::Bool(true)) => return Some(Type::atom("Record<string, unknown>")),
            Some(schema @ Value::Object(_)) => values.push(self.schema(schema, indent, depth + 1)),
            _ => {}
        }
        if values.is_empty() {
            return None;
        }
        Some(Type::atom(format!(
            "Record<string, {}>",
            Type::union(values).text
        )))
    }
}

/// Members as an object type: on one line if that is short and nothing is commented.
fn braces(members: &[(String, String)], indent: usize) -> String {
    let plain = members
        .iter()
        .all(|(note, text)| note.is_empty() && !text.contains('\n'));
    if plain {
        let texts: Vec<&str> = members.iter().map(|(_, text)| text.as_str()).collect();
        let line = format!("{{ {} }}", texts.join("; "));
        if line.chars().count() <= MAX_LINE_OBJECT {
            return line;
        }
    }
    let mut text = String::from("{\n");
    for (note, member) in members {
        text.push_str(&comment(note, indent + 1));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}{member};", margin(indent + 1));
    }
    text.push_str(&margin(indent));
    text.push('}');
    text
}

/// What a comment says about a member.
fn note(schema: &Value) -> String {
    let description = schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut note = description.trim().to_owned();
    if let Some(default) = schema.get("default") {
        if !note.is_empty() {
            note.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = write!(note, "@default {default}");
    }
    if schema.get("deprecated") == Some(&Value::Bool(true)) {
        if !note.is_empty() {
            note.push('\n');
        }
        note.push_str("@deprecated");
    }
    note
}

fn property_name(name: &str) -> String {
    if !name.is_empty() && code_mode_api::script_name(name) == name {
        name.to_owned()
    } else {
        Value::from(name).to_string()
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
