// SPDX-License-Identifier: Apache-2.0
//! The MCP clients whose configuration is written for the user.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::edit::{Change, Document, EditError, text_of};

/// The name under which clients know this program.
pub const OUR_NAME: &str = "code_mode";

/// What stands behind the name of the copy of a file from before it was changed.
const COPY_SUFFIX: &str = ".before_code_mode";

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Claude Code, for the user: `~/.claude.json`.
    ClaudeCode,
    /// The Codex CLI: `~/.codex/config.toml`.
    Codex,
    /// The Gemini CLI: `~/.gemini/settings.json`.
    Gemini,
}

/// Where clients look for their configuration.
pub struct Places<'a> {
    /// The user's home folder.
    pub home: &'a Path,
    /// Looks variables of the environment up.
    pub lookup: &'a dyn Fn(&str) -> Option<String>,
}

/// What an installation changes.
pub struct Plan {
    /// The client's file.
    pub client: Change,
    /// A copy of the client's file as it is, if there is none yet.
    pub copy: Option<Change>,
    /// Our own file, if servers are taken over.
    pub own: Option<Change>,
    /// The servers that are taken over, or given back.
    pub servers: Vec<String>,
    /// The servers that are not taken over, since our own file has others of these names.
    pub left: Vec<String>,
}

impl Plan {
    /// Whether nothing is to change.
    pub fn is_empty(&self) -> bool {
        self.client.is_empty() && self.own.as_ref().is_none_or(Change::is_empty)
    }

    /// What the user agrees to.
    pub fn diff(&self) -> String {
        let own = self.own.as_ref().map(Change::diff).unwrap_or_default();
        format!("{}{own}", self.client.diff())
    }

    /// Carries it out: the copy first, then our own file, then the client's.
    ///
    /// # Errors
    /// When a file cannot be written; those behind it are untouched then.
    pub fn apply(&self) -> Result<(), EditError> {
        let before = self.copy.iter().filter(|copy| copy.after.is_some());
        for change in before.chain(&self.own) {
            change.apply()?;
        }
        self.client.apply()?;
        // A copy that is to go goes last.
        let mut last = self.copy.iter().filter(|copy| copy.after.is_none());
        last.try_for_each(Change::apply)
    }
}

impl Client {
    /// The client's configuration file.
    pub fn file(self, places: &Places<'_>) -> PathBuf {
        let named = |variable: &str| {
            let folder = (places.lookup)(variable).filter(|folder| !folder.is_empty());
            folder.map(PathBuf::from)
        };
        match self {
            Self::ClaudeCode => named("CLAUDE_CONFIG_DIR")
                .unwrap_or_else(|| places.home.to_path_buf())
                .join(".claude.json"),
            Self::Codex => named("CODEX_HOME")
                .unwrap_or_else(|| places.home.join(".codex"))
                .join("config.toml"),
            Self::Gemini => places.home.join(".gemini/settings.json"),
        }
    }

    /// The object that holds its servers.
    pub fn member(self) -> &'static str {
        match self {
            Self::ClaudeCode | Self::Gemini => "mcpServers",
            Self::Codex => "mcp_servers",
        }
    }

    fn entry(self, program: &Path, arguments: &[String]) -> Value {
        let mut entry = json!({"command": program, "args": arguments});
        if self == Self::ClaudeCode {
            entry["type"] = json!("stdio");
        }
        entry
    }

    /// Plans to write this program into the client's configuration; with `take_over`, also to move the
    /// servers that stand there into the configuration `own`.
    ///
    /// # Errors
    /// When a file cannot be read or understood.
    pub fn install(
        self,
        places: &Places<'_>,
        program: &Path,
        arguments: &[String],
        take_over: Option<&Path>,
    ) -> Result<Plan, EditError> {
        let path = self.file(places);
        let mut document = Document::open(&path)?;
        let (mut servers, mut left) = (Vec::new(), Vec::new());
        let mut own = None;
        if let Some(file) = take_over {
            let mut ours = Document::open(file)?;
            for name in document.names(self.member()) {
                let Some(server) = document.value(self.member(), &name) else {
                    continue;
                };
                if name == OUR_NAME {
                    continue;
                }
                match ours.value("mcpServers", &name) {
                    // It was taken over before and given back since.
                    Some(known) if known == server => {}
                    Some(_) => {
                        left.push(name);
                        continue;
                    }
                    None => ours.set("mcpServers", &name, &server)?,
                }
                document.remove(self.member(), &name);
                servers.push(name);
            }
            own = Some(ours.change());
        }
        document.set(self.member(), OUR_NAME, &self.entry(program, arguments))?;
        let client = document.change();
        let copy_path = copy_of(&path);
        let copy = match (text_of(&copy_path)?, &client.before) {
            (None, Some(before)) => Some(Change {
                path: copy_path,
                before: None,
                after: Some(before.clone()),
            }),
            _ => None,
        };
        Ok(Plan {
            client,
            copy,
            own,
            servers,
            left,
        })
    }

    /// Plans to undo it: this program's entry goes, the servers that were taken over come back as the
    /// copy has them, and what the user has changed since stays.
    ///
    /// # Errors
    /// When a file cannot be read or understood.
    pub fn uninstall(self, places: &Places<'_>) -> Result<Plan, EditError> {
        let path = self.file(places);
        let mut document = Document::open(&path)?;
        let copy_path = copy_of(&path);
        let copied = text_of(&copy_path)?;
        let mut servers = Vec::new();
        let was_there = document.remove(self.member(), OUR_NAME);
        let copy_document = match &copied {
            Some(text) => Some(Document::of(&path, Some(text.clone()))?),
            None => None,
        };
        if was_there && let Some(copy) = &copy_document {
            let present = document.names(self.member());
            for name in copy.names(self.member()) {
                if !present.contains(&name) {
                    document.copy(copy, self.member(), &name)?;
                    servers.push(name);
                }
            }
        }
        if was_there && copy_document.is_none_or(|copy| !copy.has(self.member())) {
            document.remove_empty(self.member());
        }
        let mut client = document.change();
        // What says the same as the copy becomes the copy, to the letter.
        let meant = |text: &Option<String>| {
            let text = text.as_deref()?;
            crate::config::parse_value(text, &path).ok()
        };
        if was_there && copied.is_some() && meant(&client.after) == meant(&copied) {
            client.after.clone_from(&copied);
        }
        let copy = copied.map(|text| Change {
            path: copy_path,
            before: Some(text),
            after: None,
        });
        Ok(Plan {
            client,
            copy,
            own: None,
            servers,
            left: Vec::new(),
        })
    }
}

fn copy_of(path: &Path) -> PathBuf {
    let mut copy = path.as_os_str().to_owned();
    copy.push(COPY_SUFFIX);
    PathBuf::from(copy)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use pretty_assertions::assert_eq;

    use super::*;

    const ALL: [Client; 3] = [Client::ClaudeCode, Client::Codex, Client::Gemini];

    fn none(_: &str) -> Option<String> {
        None
    }

    fn install(client: Client, home: &Path, take_over: bool) -> Plan {
        let places = Places {
            home,
            lookup: &none,
        };
        let own = home.join("mcp.json");
        let arguments = ["mcp".to_owned()];
        let take_over = take_over.then_some(own.as_path());
        client
            .install(&places, Path::new("/opt/code_mode"), &arguments, take_over)
            .unwrap()
    }

    fn uninstall(client: Client, home: &Path) -> Plan {
        let places = Places {
            home,
            lookup: &none,
        };
        client.uninstall(&places).unwrap()
    }

    fn text(client: Client) -> &'static str {
        match client {
            Client::Codex => "model = \"x\"\n\n[mcp_servers.files]\ncommand = \"npx\" # mine\n",
            _ => {
                "{\n  // mine\n  \"mcpServers\": {\n    \"files\": { \"command\": \"npx\" }\n  }\n}\n"
            }
        }
    }

    fn written(client: Client, home: &Path) -> PathBuf {
        let path = client.file(&Places {
            home,
            lookup: &none,
        });
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text(client)).unwrap();
        path
    }

    #[test]
    fn an_installation_is_undone_to_the_letter() {
        for client in ALL {
            for take_over in [false, true] {
                let home = tempfile::tempdir().unwrap();
                let path = written(client, home.path());
                let plan = install(client, home.path(), take_over);
                assert!(plan.diff().contains("code_mode"), "{}", plan.diff());
                plan.apply().unwrap();
                let installed = Document::open(&path).unwrap();
                let entry = installed.value(client.member(), OUR_NAME).unwrap();
                assert_eq!(entry["command"], "/opt/code_mode");
                assert_eq!(
                    installed.names(client.member()).len(),
                    if take_over { 1 } else { 2 }
                );
                if take_over {
                    assert_eq!(plan.servers, ["files"]);
                    let own = Document::open(&home.path().join("mcp.json")).unwrap();
                    assert_eq!(
                        own.value("mcpServers", "files"),
                        Some(json!({"command": "npx"}))
                    );
                }
                // A second time changes nothing.
                assert!(install(client, home.path(), take_over).is_empty());
                uninstall(client, home.path()).apply().unwrap();
                assert_eq!(
                    fs::read_to_string(&path).unwrap(),
                    text(client),
                    "{client:?}"
                );
                assert!(!copy_of(&path).exists());
            }
        }
    }

    #[test]
    fn what_the_user_has_changed_since_stays() {
        for client in ALL {
            let home = tempfile::tempdir().unwrap();
            let path = written(client, home.path());
            install(client, home.path(), true).apply().unwrap();
            let mut document = Document::open(&path).unwrap();
            document
                .set(client.member(), "later", &json!({"command": "y"}))
                .unwrap();
            document.change().apply().unwrap();
            uninstall(client, home.path()).apply().unwrap();
            let mut names = Document::open(&path).unwrap().names(client.member());
            names.sort();
            assert_eq!(names, ["files", "later"], "{client:?}");
        }
    }

    #[test]
    fn what_was_given_back_is_taken_over_again_and_another_server_of_the_name_is_left() {
        for client in ALL {
            let home = tempfile::tempdir().unwrap();
            let path = written(client, home.path());
            install(client, home.path(), true).apply().unwrap();
            uninstall(client, home.path()).apply().unwrap();
            let again = install(client, home.path(), true);
            assert_eq!(
                (again.servers, again.left),
                (vec!["files".to_owned()], vec![])
            );

            let mut document = Document::open(&path).unwrap();
            let other = json!({"command": "other"});
            document.set(client.member(), "files", &other).unwrap();
            document.change().apply().unwrap();
            let plan = install(client, home.path(), true);
            plan.apply().unwrap();
            assert_eq!(
                (plan.servers, plan.left),
                (vec![], vec!["files".to_owned()])
            );
            let installed = Document::open(&path).unwrap();
            assert_eq!(installed.value(client.member(), "files"), Some(other));
        }
    }

    #[test]
    fn a_client_without_a_file_gets_one() {
        for client in ALL {
            let home = tempfile::tempdir().unwrap();
            let plan = install(client, home.path(), true);
            assert!(plan.copy.is_none());
            plan.apply().unwrap();
            uninstall(client, home.path()).apply().unwrap();
            assert!(uninstall(client, home.path()).is_empty());
            let file = client.file(&Places {
                home: home.path(),
                lookup: &none,
            });
            let left = fs::read_to_string(&file).unwrap();
            assert!(!left.contains("mcp"), "{left}");
        }
    }

    #[test]
    fn clients_are_found_where_their_variables_say() {
        let lookup = |name: &str| Some(format!("/{name}"));
        let places = Places {
            home: Path::new("/home"),
            lookup: &lookup,
        };
        let files = ALL.map(|client| client.file(&places));
        let expected = [
            "/CLAUDE_CONFIG_DIR/.claude.json",
            "/CODEX_HOME/config.toml",
            "/home/.gemini/settings.json",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
    }
}
