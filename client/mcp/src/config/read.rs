// SPDX-License-Identifier: Apache-2.0
//! One configuration file, read by hand so that a mistake is told by the name of its member.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::expand::expand;
use super::spec::{
    ConfigError, DEFAULT_CALL_TIMEOUT, DEFAULT_START_TIMEOUT, Secrets, ServerSpec, TransportSpec,
};
use crate::bounds::OWN_NAMESPACE_ON_WIRE;
use crate::policy::{Pattern, Policy};

/// Where the servers stand: as most clients write it, as Codex does in TOML, and as one editor does.
const SERVER_MEMBERS: [&str; 3] = ["mcpServers", "mcp_servers", "servers"];

/// Members of a server that other clients use and that change nothing here.
const KNOWN_AND_IDLE: [&str; 6] = [
    "description",
    "autoApprove",
    "alwaysAllow",
    "trust",
    "required",
    "supports_parallel_tool_calls",
];

/// What one file says.
pub struct File {
    pub servers: Vec<ServerSpec>,
    pub policy: Policy,
    pub warnings: Vec<String>,
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads the text of a file: TOML if its name says so, else JSON with comments.
///
/// # Errors
/// In words for people, with the place.
pub fn parse_value(text: &str, path: &Path) -> Result<Value, String> {
    if path
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        return toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned());
    }
    let options = jsonc_parser::ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    jsonc_parser::parse_to_serde_value(text, &options).map_err(|error| error.to_string())
}

pub fn read(text: &str, path: &Path, lookup: Lookup<'_>) -> Result<File, ConfigError> {
    let value = parse_value(text, path).map_err(|mistake| ConfigError::Syntax {
        path: path.to_path_buf(),
        mistake,
    })?;
    let mut reader = Reader {
        path,
        folder: path.parent().unwrap_or(Path::new("/")),
        lookup,
        warnings: Vec::new(),
    };
    let root = match value {
        Value::Object(root) => root,
        _ => return Err(reader.mistake("the file", "must hold an object")),
    };
    let mut servers = Vec::new();
    for member in SERVER_MEMBERS {
        for (name, value) in reader.object(root.get(member), member)? {
            servers.extend(reader.server(&name, &value, &format!("{member}.{name}"))?);
        }
    }
    let policy = reader.policy(root.get("policy"))?;
    Ok(File {
        servers,
        policy,
        warnings: reader.warnings,
    })
}

struct Reader<'a> {
    path: &'a Path,
    folder: &'a Path,
    lookup: Lookup<'a>,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn mistake(&self, field: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError::Field {
            path: self.path.to_path_buf(),
            field: field.to_owned(),
            problem: problem.into(),
        }
    }

    fn object(
        &self,
        value: Option<&Value>,
        field: &str,
    ) -> Result<Map<String, Value>, ConfigError> {
        match value {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(_) => Err(self.mistake(field, "must be an object")),
        }
    }

    fn text(&self, value: Option<&Value>, field: &str) -> Result<Option<String>, ConfigError> {
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.mistake(field, "must be a string")),
        }
    }

    fn texts(&self, value: Option<&Value>, field: &str) -> Result<Vec<String>, ConfigError> {
        let elements = match value {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(elements)) => elements,
            Some(_) => return Err(self.mistake(field, "must be a list of strings")),
        };
        let text = |element: &Value| element.as_str().map(str::to_owned);
        let texts: Option<Vec<String>> = elements.iter().map(text).collect();
        texts.ok_or_else(|| self.mistake(field, "must be a list of strings"))
    }

    /// Values of variables and headers; numbers and booleans are taken as they are written.
    fn table(
        &self,
        value: Option<&Value>,
        field: &str,
    ) -> Result<BTreeMap<String, String>, ConfigError> {
        let mut table = BTreeMap::new();
        for (name, value) in self.object(value, field)? {
            let text = match value {
                Value::String(text) => text,
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                _ => {
                    return Err(self.mistake(&format!("{field}.{name}"), "must be a string"));
                }
            };
            table.insert(name, text);
        }
        Ok(table)
    }

    fn duration(
        &self,
        value: Option<&Value>,
        field: &str,
        unit: Duration,
    ) -> Result<Option<Duration>, ConfigError> {
        let number = match value {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value.as_f64().filter(|number| *number > 0.0),
        };
        let number = number.ok_or_else(|| self.mistake(field, "must be a number above 0"))?;
        Duration::try_from_secs_f64(number * unit.as_secs_f64())
            .map(Some)
            .map_err(|_| self.mistake(field, "is too large"))
    }

    /// The server, unless it is switched off.
    fn server(
        &mut self,
        name: &str,
        value: &Value,
        field: &str,
    ) -> Result<Option<ServerSpec>, ConfigError> {
        let Value::Object(server) = value else {
            return Err(self.mistake(field, "must be an object"));
        };
        let at = |member: &str| format!("{field}.{member}");
        let flag = |member| server.get(member).and_then(Value::as_bool);
        if flag("disabled") == Some(true) || flag("enabled") == Some(false) {
            return Ok(None);
        }
        let ms = Duration::from_millis(1);
        let seconds = Duration::from_secs(1);
        let start_timeout = self.duration(
            server.get("startup_timeout_sec"),
            &at("startup_timeout_sec"),
            seconds,
        )?;
        let call_timeout = match self.duration(
            server.get("tool_timeout_sec"),
            &at("tool_timeout_sec"),
            seconds,
        )? {
            Some(timeout) => Some(timeout),
            None => self.duration(server.get("timeout"), &at("timeout"), ms)?,
        };
        let mut include = None;
        for member in ["includeTools", "enabled_tools"] {
            if server.contains_key(member) {
                include = Some(self.texts(server.get(member), &at(member))?);
            }
        }
        let mut exclude = Vec::new();
        for member in ["excludeTools", "disabled_tools"] {
            exclude.extend(self.texts(server.get(member), &at(member))?);
        }
        let mut secrets = Secrets::default();
        let mut transport = self.transport(server, field, &mut secrets)?;
        if name == OWN_NAMESPACE_ON_WIRE {
            transport = Err("its name is taken; choose another".to_owned());
        }
        self.warn_of_unknown(server, field);
        Ok(Some(ServerSpec {
            name: name.to_owned(),
            transport,
            start_timeout: start_timeout.unwrap_or(DEFAULT_START_TIMEOUT),
            call_timeout: call_timeout.unwrap_or(DEFAULT_CALL_TIMEOUT),
            include_tools: include,
            exclude_tools: exclude,
            secrets,
        }))
    }

    fn warn_of_unknown(&mut self, server: &Map<String, Value>, field: &str) {
        const USED: [&str; 22] = [
            "type",
            "transport",
            "env_vars",
            "env_http_headers",
            "bearer_token_env_var",
            "command",
            "args",
            "env",
            "cwd",
            "url",
            "httpUrl",
            "headers",
            "http_headers",
            "timeout",
            "startup_timeout_sec",
            "tool_timeout_sec",
            "enabled",
            "disabled",
            "includeTools",
            "excludeTools",
            "enabled_tools",
            "disabled_tools",
        ];
        for member in server.keys() {
            let member = member.as_str();
            if !USED.contains(&member) && !KNOWN_AND_IDLE.contains(&member) {
                self.warnings.push(format!(
                    "{field}.{member} in {} means nothing here",
                    self.path.display()
                ));
            }
        }
    }

    fn transport(
        &self,
        server: &Map<String, Value>,
        field: &str,
        secrets: &mut Secrets,
    ) -> Result<Result<TransportSpec, String>, ConfigError> {
        let at = |member: &str| format!("{field}.{member}");
        let command = self.text(server.get("command"), &at("command"))?;
        let http_url = self.text(server.get("httpUrl"), &at("httpUrl"))?;
        let url = http_url.or(self.text(server.get("url"), &at("url"))?);
        let arguments = self.texts(server.get("args"), &at("args"))?;
        let folder = self.text(server.get("cwd"), &at("cwd"))?;
        let mut environment = self.table(server.get("env"), &at("env"))?;
        for name in self.texts(server.get("env_vars"), &at("env_vars"))? {
            if let Some(value) = (self.lookup)(&name) {
                secrets.add(&value);
                environment.insert(name, value);
            }
        }
        let mut headers = self.table(server.get("headers"), &at("headers"))?;
        headers.extend(self.table(server.get("http_headers"), &at("http_headers"))?);
        let from_variables = self.table(server.get("env_http_headers"), &at("env_http_headers"))?;
        let token = self.text(
            server.get("bearer_token_env_var"),
            &at("bearer_token_env_var"),
        )?;
        let kind = self.text(server.get("type"), &at("type"))?;
        let kind = kind.or(self.text(server.get("transport"), &at("transport"))?);

        let mut filled = |text: &str| -> Result<String, String> {
            let expanded = expand(text, self.lookup).map_err(|error| error.to_string())?;
            for value in &expanded.values {
                secrets.add(value);
            }
            Ok(expanded.text)
        };
        let lookup = |name: &str| {
            (self.lookup)(name).ok_or_else(|| format!("the environment variable {name} is not set"))
        };
        let made = match (command, url) {
            (Some(_), Some(_)) => Err("it has both a command and a url; keep one".to_owned()),
            (None, None) => Err("it has neither a command nor a url".to_owned()),
            (None, Some(_)) if kind.as_deref() == Some("sse") => Err(
                "its transport sse was replaced by streamable HTTP; give the url of that"
                    .to_owned(),
            ),
            (Some(command), None) => (|| {
                let command = filled(&command)?;
                let folder = folder.map(|folder| filled(&folder)).transpose()?;
                Ok(TransportSpec::Command {
                    program: self.program(&command),
                    arguments: arguments
                        .iter()
                        .map(|argument| filled(argument))
                        .collect::<Result<_, String>>()?,
                    environment: environment
                        .iter()
                        .map(|(name, value)| Ok((name.clone(), filled(value)?)))
                        .collect::<Result<_, String>>()?,
                    folder: folder.map(|folder| self.folder.join(folder)),
                })
            })(),
            (None, Some(url)) => (|| {
                let mut all = BTreeMap::new();
                for (name, value) in &headers {
                    all.insert(name.clone(), filled(value)?);
                }
                for (name, variable) in &from_variables {
                    all.insert(name.clone(), lookup(variable)?);
                }
                if let Some(variable) = &token {
                    all.insert(
                        "Authorization".into(),
                        format!("Bearer {}", lookup(variable)?),
                    );
                }
                Ok(TransportSpec::Http {
                    url: filled(&url)?,
                    headers: all,
                })
            })(),
        };
        if let Ok(TransportSpec::Http { headers, .. }) = &made {
            for value in headers.values() {
                secrets.add(value);
                // What stands behind `Bearer` is the secret itself.
                secrets.add(value.rsplit(' ').next().unwrap_or_default());
            }
        }
        if let Ok(TransportSpec::Command { environment, .. }) = &made {
            let telling = ["KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL"];
            for (name, value) in environment {
                if telling
                    .iter()
                    .any(|word| name.to_ascii_uppercase().contains(word))
                {
                    secrets.add(value);
                }
            }
        }
        Ok(made)
    }

    /// A program with a slash in its name is a path, relative to the file's folder; any other is looked
    /// up in `PATH`.
    fn program(&self, command: &str) -> PathBuf {
        if command.contains('/') {
            self.folder.join(command)
        } else {
            PathBuf::from(command)
        }
    }

    fn policy(&mut self, value: Option<&Value>) -> Result<Policy, ConfigError> {
        let members = self.object(value, "policy")?;
        let mut policy = Policy::default();
        for name in members.keys() {
            let list = match name.as_str() {
                "allow" => &mut policy.allow,
                "deny" => &mut policy.deny,
                "readOnly" => &mut policy.read_only,
                "confirm" => &mut policy.confirm,
                // A rule that is passed over would let through what it was meant to stop.
                _ => {
                    return Err(self.mistake(
                        &format!("policy.{name}"),
                        "is no rule; there are allow, deny, readOnly and confirm",
                    ));
                }
            };
            let field = format!("policy.{name}");
            for text in self.texts(members.get(name), &field)? {
                list.push(Pattern::parse(&text).map_err(|problem| self.mistake(&field, problem))?);
            }
        }
        Ok(policy)
    }
}
