// SPDX-License-Identifier: Apache-2.0
//! What all sessions of the front end share: the servers, the catalog, the policy and the log, and the
//! way of one call from a script to a server.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use code_mode_api::{
    BoxFuture, CancellationSignal, CellLimits, RawJson, SessionDelegate, SessionProvider,
    ToolDefinition, ToolError, ToolInvocation,
};

use crate::audit::{self, Audit, AuditEvent, Outcome};
use crate::bounds::OWN_NAMESPACE_ON_WIRE;
use crate::catalog::{Catalog, Source};
use crate::config::Config;
use crate::own;
use crate::policy::{Policy, Subject, Verdict};
use crate::upstream::{ProgressSink, Upstreams};

/// How long the first list of tools, and a search, wait for servers that are being started (8 s). What
/// comes later is told as a change of the list.
pub const LIST_PATIENCE: Duration = Duration::from_secs(8);

/// The tools of tools files: they are called through the delegate as any session's are.
pub struct LocalTools {
    /// What the model is told of them.
    pub definitions: Vec<ToolDefinition>,
    /// Who carries their calls out.
    pub delegate: Arc<dyn SessionDelegate>,
}

/// Whose scripts call: a session, as the front end sees it.
pub(crate) trait Caller: Send + Sync {
    /// The session's id in the audit log.
    fn id(&self) -> &str;

    /// Who hears how far a call of this exec has come.
    fn progress_of(self: Arc<Self>, exec: &str, server: &str) -> ProgressSink;

    /// Asks the user whether a script of this exec may call a tool with this input; an error says why not, in words for
    /// scripts.
    fn ask_consent<'a>(
        &'a self,
        exec: &'a str,
        server: &'a str,
        tool: &'a str,
        input: &'a RawJson,
    ) -> BoxFuture<'a, Result<(), String>>;
}

/// What the front end is made from.
pub struct Parts {
    /// The servers and the policy.
    pub config: Config,
    /// The tools of tools files, if there are any.
    pub local: Option<LocalTools>,
    /// Where calls and scripts are written down, if anywhere.
    pub audit: Option<Audit>,
    /// Who runs scripts.
    pub provider: Arc<dyn SessionProvider>,
    /// Bounds of each script.
    pub limits: CellLimits,
    /// Bytes of declarations in `exec`'s description.
    pub catalog_bytes: usize,
}

/// See the module.
pub struct Front {
    upstreams: Upstreams,
    local: Option<LocalTools>,
    policy: Policy,
    audit: Option<Audit>,
    pub(crate) provider: Arc<dyn SessionProvider>,
    pub(crate) limits: CellLimits,
    pub(crate) catalog_bytes: usize,
    catalog: Mutex<Option<(u64, Arc<Catalog>)>>,
}

impl Front {
    /// A front end; nothing is started.
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            upstreams: Upstreams::new(parts.config.servers),
            local: parts.local,
            policy: parts.config.policy,
            audit: parts.audit,
            provider: parts.provider,
            limits: parts.limits,
            catalog_bytes: parts.catalog_bytes,
            catalog: Mutex::default(),
        })
    }

    /// The servers.
    pub fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// The catalog of this moment.
    pub fn catalog(&self) -> Arc<Catalog> {
        // The version is read first: a change in between makes the next call build anew.
        let version = *self.upstreams.changes().borrow();
        let mut kept = self.catalog.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((built, catalog)) = &*kept
            && *built == version
        {
            return Arc::clone(catalog);
        }
        let sources: Vec<Source<'_>> = self
            .upstreams
            .servers()
            .iter()
            .map(|server| Source {
                name: &server.spec().name,
                snapshot: server.snapshot(),
            })
            .collect();
        let local = self
            .local
            .as_ref()
            .map_or(&[][..], |local| &local.definitions);
        let catalog = Arc::new(Catalog::new(&sources, local, &self.policy));
        *kept = Some((version, Arc::clone(&catalog)));
        catalog
    }

    /// The catalog once all servers have had some time to start.
    pub async fn settled_catalog(&self) -> Arc<Catalog> {
        self.upstreams.settled(LIST_PATIENCE).await;
        self.catalog()
    }

    /// The catalog for a script: once the servers that it names have started or failed.
    pub async fn catalog_for(&self, source: &str) -> Arc<Catalog> {
        if ["ALL_TOOLS", "searchTools", "tools.js"]
            .iter()
            .any(|word| source.contains(word))
        {
            return self.settled_catalog().await;
        }
        // They start at the same time, so that the slowest alone is waited for.
        self.upstreams.begin_all();
        let catalog = self.catalog();
        for server in catalog.servers() {
            if server.pending
                && source.contains(&format!("{}__", server.prefix))
                && let Some(server) = self.upstreams.server(&server.name)
            {
                server.settled().await;
            }
        }
        self.catalog()
    }

    /// Writes a line into the log, if there is one.
    ///
    /// # Errors
    /// When it cannot be written, in words for scripts.
    pub(crate) fn note(&self, event: AuditEvent) -> Result<(), ToolError> {
        match &self.audit {
            None => Ok(()),
            Some(audit) => audit
                .write(event)
                .map_err(|error| ToolError::new(error.to_string())),
        }
    }

    /// Carries a call out, with all that the policy and the log ask for.
    ///
    /// # Errors
    /// In words for scripts.
    pub(crate) async fn call(
        self: &Arc<Self>,
        session: Arc<dyn Caller>,
        invocation: ToolInvocation,
        cancel: CancellationSignal,
    ) -> Result<RawJson, ToolError> {
        let mut line = CallLine {
            front: Arc::clone(self),
            begun: Instant::now(),
            event: Some(AuditEvent::Call {
                session: session.id().to_owned(),
                exec: invocation.exec_call_id.clone(),
                cell: invocation.cell_id.to_string(),
                server: invocation.tool_name.namespace.clone().unwrap_or_default(),
                tool: invocation.tool_name.name.clone(),
                input_bytes: invocation.input.get().len(),
                ms: 0,
                outcome: Outcome::Cancelled,
                error: None,
            }),
        };
        let result = self.carry_out(&session, invocation, cancel).await;
        let (outcome, error) = match &result {
            Ok(_) => (Outcome::Ok, None),
            Err(Refusal {
                error,
                refused: true,
            }) => (Outcome::Refused, Some(error)),
            Err(Refusal { error, .. }) => (Outcome::Error, Some(error)),
        };
        line.write(outcome, error.map(|error| audit::cut(&error.message)))?;
        result.map_err(|refusal| refusal.error)
    }

    async fn carry_out(
        self: &Arc<Self>,
        session: &Arc<dyn Caller>,
        invocation: ToolInvocation,
        cancel: CancellationSignal,
    ) -> Result<RawJson, Refusal> {
        let tool = invocation.tool_name.name.clone();
        let Some(server) = invocation.tool_name.namespace.clone() else {
            self.permit(session, &invocation, "", &tool).await?;
            let Some(local) = &self.local else {
                return Err(Refusal::error(format!("there is no tool {tool}")));
            };
            return Ok(local.delegate.invoke_tool(invocation, cancel).await?);
        };
        if server == OWN_NAMESPACE_ON_WIRE {
            let catalog = self.settled_catalog().await;
            let called = own::call(&self.upstreams, &catalog, &tool, &invocation.input);
            return Ok(called.await?);
        }
        let Some(upstream) = self.upstreams.server(&server) else {
            return Err(Refusal::error(format!("there is no MCP server {server}")));
        };
        let catalog = self.catalog();
        if catalog.tool(&server, &tool).is_none() {
            // It may have come up since the script was started, or be hidden by the policy.
            upstream.ready().await?;
        }
        let tool = self.own_name(&server, &tool)?;
        self.permit(session, &invocation, &server, &tool).await?;
        let progress = Arc::clone(session).progress_of(&invocation.exec_call_id, &server);
        Ok(upstream.call(&tool, &invocation.input, progress).await?)
    }

    /// The tool's own name. A script that was started while the server was down knows the name that
    /// scripts use only.
    fn own_name(&self, server: &str, tool: &str) -> Result<String, Refusal> {
        let snapshot = self
            .upstreams
            .server(server)
            .map(|server| server.snapshot());
        let tools = snapshot.map(|snapshot| snapshot.tools).unwrap_or_default();
        let exact = tools.iter().find(|known| known.name == tool);
        let by_script_name = || {
            let wanted = code_mode_api::script_name(tool);
            tools
                .iter()
                .find(|known| code_mode_api::script_name(&known.name) == wanted)
        };
        match exact.or_else(by_script_name) {
            Some(known) => Ok(known.name.clone()),
            None => Err(Refusal::error(format!(
                "the MCP server {server} has no tool {tool}"
            ))),
        }
    }

    /// Asks the policy, and the user if it says so.
    async fn permit(
        &self,
        session: &Arc<dyn Caller>,
        invocation: &ToolInvocation,
        server: &str,
        tool: &str,
    ) -> Result<(), Refusal> {
        let hints = self
            .upstreams
            .server(server)
            .and_then(|server| {
                let tools = server.snapshot().tools;
                tools
                    .iter()
                    .find(|known| known.name == tool)
                    .map(|known| known.hints)
            })
            .unwrap_or_default();
        let subject = Subject {
            server,
            tool,
            hints,
        };
        match self.policy.verdict(subject) {
            Verdict::Allowed => Ok(()),
            Verdict::Denied(why) => {
                Err(Refusal::refused(format!("{tool} may not be called: {why}")))
            }
            Verdict::Confirm(_) => {
                let exec = &invocation.exec_call_id;
                let consent = session
                    .ask_consent(exec, server, tool, &invocation.input)
                    .await;
                consent.map_err(|why| Refusal::refused(format!("{tool} was not called: {why}")))
            }
        }
    }
}

/// Why a call was not carried out or failed.
struct Refusal {
    error: ToolError,
    refused: bool,
}

impl Refusal {
    fn error(message: String) -> Self {
        ToolError::new(message).into()
    }

    fn refused(message: String) -> Self {
        Self {
            error: ToolError::new(message),
            refused: true,
        }
    }
}

impl From<ToolError> for Refusal {
    fn from(error: ToolError) -> Self {
        Self {
            error,
            refused: false,
        }
    }
}

/// The line of one call; written as cancelled when the call's future is dropped.
struct CallLine {
    front: Arc<Front>,
    begun: Instant,
    event: Option<AuditEvent>,
}

impl CallLine {
    fn write(&mut self, how: Outcome, why: Option<String>) -> Result<(), ToolError> {
        let Some(mut event) = self.event.take() else {
            return Ok(());
        };
        if let AuditEvent::Call {
            ms, outcome, error, ..
        } = &mut event
        {
            *ms = audit::ms(self.begun.elapsed());
            *outcome = how;
            *error = why;
        }
        self.front.note(event)
    }
}

impl Drop for CallLine {
    fn drop(&mut self) {
        if let Err(error) = self.write(Outcome::Cancelled, None) {
            tracing::error!(%error, "a call was not written into the audit log");
        }
    }
}

#[cfg(test)]
pub mod tests {
    use code_mode_api::{CodeModeSession, SessionError, SessionOptions};
    use pretty_assertions::assert_eq;
    use tokio::time::Instant;

    use super::*;
    use crate::config;
    use crate::guide::DEFAULT_CATALOG_BYTES;

    struct NoHost;

    impl SessionProvider for NoHost {
        fn open_session(
            &self,
            _options: SessionOptions,
            _delegate: Arc<dyn SessionDelegate>,
        ) -> BoxFuture<'_, Result<Arc<dyn CodeModeSession>, SessionError>> {
            panic!("no script runs here")
        }
    }

    /// A front end over the servers of this configuration, without a host.
    pub fn front(text: &str) -> Arc<Front> {
        let mut config = Config::default();
        let lookup = |_: &str| None;
        config::add(&mut config, text, std::path::Path::new("/x.json"), &lookup).unwrap();
        Front::new(Parts {
            config,
            local: None,
            audit: None,
            provider: Arc::new(NoHost),
            limits: CellLimits::default(),
            catalog_bytes: DEFAULT_CATALOG_BYTES,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_list_waits_for_servers_that_start_but_not_for_ever() {
        let front = front(r#"{"mcpServers": {"slow": {"command": "sleep", "args": ["1000"]}}}"#);
        let begun = Instant::now();
        let catalog = front.settled_catalog().await;
        assert_eq!(begun.elapsed().as_secs(), LIST_PATIENCE.as_secs());
        assert!(catalog.servers()[0].pending);
    }
}
