// SPDX-License-Identifier: Apache-2.0
//! A session: scripts that share tools, defaults and stored values.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use code_mode_api::{
    CellId, CellLimits, CodeModeSession, FirstResponse, Globals, RawJson, SessionDelegate,
    SessionError, SessionId, SessionOptions, SessionProvider, ToolDefinition, WaitRequest,
};

use crate::cell::{CellHandle, Owner};
use crate::cell_core::CellCore;
use crate::cell_event::Hub;
use crate::delegate::{Answers, Delegate};
use crate::exec::Defaults;
use crate::first_values::FirstValues;
use crate::follow::{Follower, QUIET_INTERVAL};
use crate::policy::Questions;
use crate::registry::Registry;
use crate::{Cell, CellEvents, Exec, ExecError, OpenError, Output, Policy, ToolSet, ToolSetError};

/// Opens a [`Session`] with more than a provider and tools; made by [`Session::builder`].
pub struct SessionBuilder {
    provider: Arc<dyn SessionProvider>,
    id: Option<SessionId>,
    tools: ToolSet,
    defaults: Defaults,
    policy: Option<Arc<dyn Policy>>,
    delegate: Option<Arc<dyn SessionDelegate>>,
    values: BTreeMap<String, RawJson>,
    keeps_store: bool,
}

impl fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBuilder").finish_non_exhaustive()
    }
}

impl SessionBuilder {
    /// The session's id. The provider chooses one by default.
    #[must_use]
    pub fn id(mut self, id: SessionId) -> Self {
        self.id = Some(id);
        self
    }

    /// The tools that scripts can call. None by default.
    #[must_use]
    pub fn tools(mut self, tools: ToolSet) -> Self {
        self.tools = tools;
        self
    }

    /// The bounds of each script. Each lowers the operator's bound and never raises it. None by
    /// default.
    #[must_use]
    pub fn limits(mut self, limits: CellLimits) -> Self {
        self.defaults.limits = limits;
        self
    }

    /// Which globals scripts have. The operator's choice by default, which is the contract's unless
    /// said otherwise; a host that knows no others refuses a script that asks for them.
    #[must_use]
    pub fn globals(mut self, globals: Globals) -> Self {
        self.defaults.globals = Some(globals);
        self
    }

    /// Whether scripts read integers beyond 2^53 in tools' results and stored values as bigints, which are exact;
    /// as numbers, the nearest they can be, by default. The operator's choice unless it is said; a host that does
    /// not know the choice refuses a script that asks for it.
    #[must_use]
    pub fn exact_integers(mut self, exact: bool) -> Self {
        self.defaults.exact_integers = Some(exact);
        self
    }

    /// Who decides about every call that a script makes. All are allowed by default.
    #[must_use]
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// Who answers calls of tools that the set of the session does not have, and hears every notification at
    /// once, whether or not anybody follows its cell. For tools that are only known when a script starts:
    /// [`Exec::tools`] offers them. The policy is asked about their calls as about all others. Nobody by
    /// default, so that such calls fail.
    #[must_use]
    pub fn delegate(mut self, delegate: Arc<dyn SessionDelegate>) -> Self {
        self.delegate = Some(delegate);
        self
    }

    /// Values that are stored before the first script runs, such as those of
    /// [`Session::store`] from another time. None by default.
    #[must_use]
    pub fn store(mut self, values: BTreeMap<String, RawJson>) -> Self {
        self.values = values;
        self
    }

    /// Keeps no copy of what scripts store, so that it is lost with its host. By default a copy is
    /// taken after each script, and brought into the next host when one is lost.
    #[must_use]
    pub fn without_store_copy(mut self) -> Self {
        self.keeps_store = false;
        self
    }

    /// Opens the session.
    ///
    /// # Errors
    /// When the tools cannot be offered together, or the provider refuses.
    pub async fn open(self) -> Result<Session, OpenError> {
        let registry = Arc::new(Registry::default());
        let tools = self.tools.table()?;
        let answers = Answers::new(Arc::clone(&registry), tools, self.policy, self.delegate);
        let answers = Arc::new(answers);
        let options = SessionOptions {
            session_id: self.id,
            keep_store: Some(self.keeps_store),
            // Whoever embeds gets all output, and cuts it where a model is to read it.
            cuts_output: false,
        };
        let delegate = Arc::new(Delegate(Arc::clone(&answers)));
        let session = self.provider.open_session(options, delegate).await?;
        Ok(Session(Arc::new(Inner {
            session,
            answers,
            registry,
            first_values: FirstValues::new(self.values),
            defaults: self.defaults,
            execs: AtomicU64::new(0),
            provider: self.provider,
        })))
    }
}

/// A session: scripts that share tools, defaults and stored values. Cheap to clone.
///
/// Dropping the last clone terminates its scripts, detached ones too, without waiting;
/// [`shutdown`](Self::shutdown) waits.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    session: Arc<dyn CodeModeSession>,
    answers: Arc<Answers>,
    registry: Arc<Registry>,
    first_values: FirstValues,
    defaults: Defaults,
    execs: AtomicU64,
    /// Dropping the last owner of a provider may end its host.
    provider: Arc<dyn SessionProvider>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.registry.stop_all();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(self.id()).finish()
    }
}

impl Session {
    /// Opens a session with these tools and every default.
    ///
    /// # Errors
    /// When the tools cannot be offered together, or the provider refuses.
    pub async fn open(
        provider: Arc<dyn SessionProvider>,
        tools: ToolSet,
    ) -> Result<Self, OpenError> {
        Self::builder(provider).tools(tools).open().await
    }

    /// Opens a session step by step.
    pub fn builder(provider: Arc<dyn SessionProvider>) -> SessionBuilder {
        SessionBuilder {
            provider,
            id: None,
            tools: ToolSet::new(),
            defaults: Defaults::default(),
            policy: None,
            delegate: None,
            values: BTreeMap::new(),
            keeps_store: true,
        }
    }

    /// The session's id.
    pub fn id(&self) -> &SessionId {
        self.0.session.session_id()
    }

    /// Runs a script to its end and gives its output. Dropping the future terminates the script.
    ///
    /// # Errors
    /// When the script failed, was not run, or was lost with its host.
    pub async fn exec(&self, exec: impl Into<Exec>) -> Result<Output, ExecError> {
        let exec = exec.into();
        let first_look = exec.first_look.unwrap_or(QUIET_INTERVAL);
        let begun = self.begin(exec, first_look).await?;
        let owner = begun.unfollowed();
        owner.wait().await
    }

    /// Starts a script and gives it as a stream of what happens in it.
    ///
    /// Dropping the future before it is ready terminates the script if it had started.
    ///
    /// # Errors
    /// When the script was not run.
    pub async fn start(&self, exec: impl Into<Exec>) -> Result<Cell, ExecError> {
        let exec = exec.into();
        let first_look = exec.first_look.unwrap_or_default();
        Ok(self.begin(exec, first_look).await?.followed())
    }

    /// Starts a script that runs without an owner, as [`Cell::detach`] leaves it, and whose events
    /// nobody follows yet.
    ///
    /// # Errors
    /// When the script was not run.
    pub async fn start_detached(&self, exec: impl Into<Exec>) -> Result<CellHandle, ExecError> {
        let exec = exec.into();
        let first_look = exec.first_look.unwrap_or_default();
        Ok(self.begin(exec, first_look).await?.unfollowed().detach())
    }

    /// The scripts that run, and detached ones whose result nobody has had; oldest first.
    pub fn cells(&self) -> Vec<CellHandle> {
        let cells = self.0.registry.all().into_iter();
        cells.map(|core| self.handle(core)).collect()
    }

    /// A script of [`cells`](Self::cells) by its id.
    ///
    /// # Errors
    /// What the session says about any other id: that it never was, that its result was handed out
    /// already, or that it was lost with its host.
    pub async fn cell(&self, id: &CellId) -> Result<CellHandle, ExecError> {
        if let Some(core) = self.0.registry.get(id) {
            return Ok(self.handle(core));
        }
        let request = WaitRequest {
            cell_id: id.clone(),
            yield_time: Some(Duration::ZERO),
        };
        match self.0.session.wait(request).await {
            Err(error) => Err(self.refused(error)),
            // It ended while it was asked about, or was started beside this session.
            Ok(_) => Err(ExecError::Session(SessionError::CellFinished {
                cell_id: id.clone(),
            })),
        }
    }

    /// Where the questions of the policy come; see [`Decision::Ask`](crate::Decision::Ask).
    pub fn questions(&self) -> Questions {
        self.0.answers.asker.taker()
    }

    /// What scripts and models are told of the tools.
    pub fn tools(&self) -> Arc<[ToolDefinition]> {
        Arc::clone(&self.0.answers.tools().definitions)
    }

    /// Offers other tools to the scripts to come. A script that runs already can still call those
    /// of its tools that are among them.
    ///
    /// # Errors
    /// When the tools cannot be offered together; nothing has changed then.
    pub fn set_tools(&self, tools: &ToolSet) -> Result<(), ToolSetError> {
        self.0.answers.set_tools(tools.table()?);
        Ok(())
    }

    /// The values that scripts have stored, by key. When the host is lost, those of the copy.
    ///
    /// # Errors
    /// When the session is shut down, or cannot give them.
    pub async fn stored_values(&self) -> Result<BTreeMap<String, RawJson>, SessionError> {
        match self.0.first_values.waiting() {
            Some(values) => Ok(values),
            None => self.0.session.export_store().await,
        }
    }

    /// Stores values for the scripts to come, as if a script had stored them.
    ///
    /// # Errors
    /// When they would exceed a bound (nothing is stored then), or the host cannot be had.
    pub async fn store_values(
        &self,
        values: BTreeMap<String, RawJson>,
    ) -> Result<(), SessionError> {
        self.0.first_values.store(&*self.0.session).await?;
        self.0.session.import_store(values).await
    }

    /// Terminates every script, waits until they have stopped, and closes the session.
    ///
    /// # Errors
    /// When the host is lost before it has answered.
    pub async fn shutdown(&self) -> Result<(), SessionError> {
        self.0.session.shutdown().await
    }

    async fn begin(&self, exec: Exec, first_look: Duration) -> Result<Begun, ExecError> {
        let inner = &*self.0;
        let refused = |error| self.refused(error);
        let stored = inner.first_values.store(&*inner.session).await;
        stored.map_err(refused)?;
        let number = inner.execs.fetch_add(1, Ordering::Relaxed) + 1;
        let lossless = exec.lossless;
        let request = exec.request(number, &inner.defaults, || self.tools(), first_look);
        let exec_call_id = request.exec_call_id.clone();
        let starting = Registry::starting(&inner.registry);
        let started = inner.session.execute(request).await.map_err(refused)?;
        let core = inner.registry.of_call(&started.cell_id, &exec_call_id);
        let events = Hub::subscribe_from_start(&core.hub, lossless);
        core.claim();
        drop(starting);
        let follower = Follower {
            core: Arc::clone(&core),
            session: Arc::clone(&inner.session),
            _provider: Arc::clone(&inner.provider),
            registry: Arc::clone(&inner.registry),
        };
        Ok(Begun {
            owner: Owner::new(self.handle(core)),
            events,
            follower,
            first: started.first_response,
            first_look,
        })
    }

    /// An error before anything was put out.
    fn refused(&self, error: SessionError) -> ExecError {
        ExecError::of_session(&*self.0.session, error, Output::default())
    }

    fn handle(&self, core: Arc<CellCore>) -> CellHandle {
        CellHandle {
            core,
            registry: Arc::clone(&self.0.registry),
        }
    }
}

/// A script that has started, before it is known who follows it.
struct Begun {
    owner: Owner,
    events: CellEvents,
    follower: Follower,
    first: FirstResponse,
    first_look: Duration,
}

impl Begun {
    fn followed(self) -> Cell {
        tokio::spawn(self.follower.run(self.first, self.first_look));
        Cell::new(self.owner, self.events)
    }

    fn unfollowed(self) -> Owner {
        drop(self.events);
        self.owner.core.forget_notes();
        tokio::spawn(self.follower.run(self.first, self.first_look));
        self.owner
    }
}
