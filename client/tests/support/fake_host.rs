// SPDX-License-Identifier: Apache-2.0
//! Hosts that are a few lines of shell: they read what the client writes, say what was put into
//! their mouths, and end as they are told. A real process with real pipes, and no more.

use std::fmt::Write as _;
use std::path::Path;

use code_mode_client::ProviderConfig;
use tempfile::TempDir;

/// A greeting without capabilities.
pub const READY: &str = r#"{"type":"connection/ready","selectedVersion":1,"capabilities":[]}"#;
/// The session that the tests open first, as it is called on the wire.
pub const SESSION: &str = "s#1";

/// A scripted host.
pub struct FakeHost {
    folder: TempDir,
    script: String,
    frames: usize,
}

impl FakeHost {
    /// A host that does nothing yet.
    pub fn new() -> Self {
        Self {
            folder: TempDir::new().expect("a folder"),
            script: String::new(),
            frames: 0,
        }
    }

    /// A host that has greeted.
    pub fn greeted() -> Self {
        Self::new().reads().sends(READY)
    }

    /// A host that has opened the first session.
    pub fn opened() -> Self {
        let ready = format!(r#"{{"type":"session/ready","sessionId":"{SESSION}"}}"#);
        Self::greeted().reads().sends(&response(1, &ready))
    }

    /// A host that has started the first cell; the execute request is number 2.
    pub fn started() -> Self {
        Self::opened()
            .reads()
            .sends(&response(2, r#"{"type":"execution/started","cellId":"1"}"#))
    }

    /// Takes in what the client has written in one go.
    #[must_use]
    pub fn reads(self) -> Self {
        self.runs("dd bs=65536 count=1 of=/dev/null 2>/dev/null")
    }

    /// Sends one message.
    #[must_use]
    pub fn sends(self, message: &str) -> Self {
        let mut bytes = u32::try_from(message.len())
            .expect("short")
            .to_le_bytes()
            .to_vec();
        bytes.extend_from_slice(message.as_bytes());
        self.sends_bytes(&bytes)
    }

    /// Sends bytes that need not be a frame.
    #[must_use]
    pub fn sends_bytes(mut self, bytes: &[u8]) -> Self {
        self.frames += 1;
        let path = self.path(&format!("frame-{}", self.frames));
        std::fs::write(&path, bytes).expect("written");
        self.runs(&format!("cat {}", path.display()))
    }

    /// Runs a line of shell.
    #[must_use]
    pub fn runs(mut self, line: &str) -> Self {
        writeln!(self.script, "{line}").expect("a string takes everything");
        self
    }

    /// A file in the host's folder.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration that starts this host each time.
    pub fn config(&self) -> ProviderConfig {
        self.config_with(Path::new("/bin/sh"))
    }

    fn config_with(&self, shell: &Path) -> ProviderConfig {
        ProviderConfig::new(shell)
            .argument("-c")
            .argument(&self.script)
            .variable("PATH", "/usr/local/bin:/usr/bin:/bin")
    }
}

/// A successful response.
pub fn response(id: i64, value: &str) -> String {
    format!(
        r#"{{"type":"operation/response","id":{id},"result":{{"status":"ok","value":{value}}}}}"#
    )
}

/// A tool call of the first cell.
pub fn tool_call(id: i64) -> String {
    format!(
        r#"{{"type":"delegate/request","id":{id},"sessionId":"{SESSION}","request":{{"type":"tool/invoke","invocation":{{"cell_id":"1","runtime_tool_call_id":"tool-{id}","tool_name":{{"name":"look","namespace":null}},"tool_kind":"function","input":null}}}}}}"#
    )
}
