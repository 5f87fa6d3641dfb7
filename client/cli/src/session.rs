// SPDX-License-Identifier: Apache-2.0
//! A session as the commands use it: with the tools of tools files and, if wanted, a store file.

use std::path::PathBuf;
use std::sync::Arc;

use code_mode_embed::{CellLimits, Globals, OpenError, Session, SessionProvider, ToolDefinition};

use crate::args::SessionArgs;
use crate::context::Context;
use crate::file_tools::{Calls, tool_set};
use crate::guard::Guard;
use crate::limits::{Limit, cell_limits};
use crate::paths::resolve;
use crate::reporter::{Report, Reporter};
use crate::set_up_error::SetUpError;
use crate::settings::Sourced;
use crate::store_file;
use crate::tools_file::{self, FileTool};

/// What a session is opened with.
pub struct Plan {
    /// The tools that scripts may call.
    pub tools: Vec<FileTool>,
    /// Where tools run.
    pub folder: PathBuf,
    /// Where stored values are loaded from and saved to.
    pub store: Option<PathBuf>,
    /// Bounds of each script.
    pub limits: CellLimits,
    /// Which globals scripts have; `None` leaves it to the provider.
    pub globals: Option<Globals>,
    /// Whether a copy of the stored values is kept, and brought into the next host when one is lost.
    pub outlives_host: bool,
    /// Whether scripts read large integers as bigints; `None` leaves it to the host.
    pub exact_integers: Option<bool>,
    /// Who ends tools when this program is killed.
    pub guard: Arc<Guard>,
}

impl Plan {
    /// A session with these tools that run in `folder`, and nothing else.
    pub fn new(tools: Vec<FileTool>, folder: PathBuf, guard: Arc<Guard>) -> Self {
        Self {
            tools,
            folder,
            store: None,
            limits: CellLimits::default(),
            globals: None,
            outlives_host: false,
            exact_integers: None,
            guard,
        }
    }

    /// What the command line asks for, and where it says nothing, the configuration; reads the tools
    /// files. `colors` says whether errors are coloured.
    ///
    /// # Errors
    /// When a tools file is not what it must be.
    pub fn of(args: &SessionArgs, context: &Context, colors: bool) -> Result<Self, SetUpError> {
        let configured = context.settings.limits.iter();
        let configured = configured.flat_map(|limits| limits.value.iter());
        let limits: Vec<&Limit> = configured.chain(&args.limits).collect();
        Ok(Self {
            tools: load_tools(&args.tools, context, colors)?,
            folder: context.folder.clone(),
            store: chosen(&args.store, &context.settings.store, context),
            limits: cell_limits(limits),
            globals: args.globals,
            outlives_host: false,
            exact_integers: args.exact_integers.then_some(true),
            guard: Guard::of_this_program(),
        })
    }
}

/// A path of the command line, or else of the configuration.
pub fn chosen(
    option: &Option<PathBuf>,
    configured: &Option<Sourced<PathBuf>>,
    context: &Context,
) -> Option<PathBuf> {
    let option = option.as_ref().map(|path| resolve(&context.folder, path));
    option.or_else(|| configured.as_ref().map(|path| path.value.clone()))
}

/// Reads the tools files of the command line, or else of the configuration.
///
/// # Errors
/// When they are not what they must be.
pub fn load_tools(
    paths: &[PathBuf],
    context: &Context,
    colors: bool,
) -> Result<Vec<FileTool>, SetUpError> {
    let mut resolved: Vec<PathBuf> = paths
        .iter()
        .map(|path| resolve(&context.folder, path))
        .collect();
    if let (true, Some(configured)) = (resolved.is_empty(), &context.settings.tools) {
        resolved.clone_from(&configured.value);
    }
    tools_file::load_all(&resolved, colors).map_err(SetUpError::new)
}

/// An open session.
pub struct OpenSession {
    /// The session.
    pub session: Session,
    /// The calls of its tools.
    pub calls: Arc<Calls>,
    store: Option<PathBuf>,
}

impl OpenSession {
    /// Opens a session as planned, and loads the values of its store file.
    ///
    /// # Errors
    /// When the host cannot be had, or the store cannot be loaded.
    pub async fn open(provider: Arc<dyn SessionProvider>, plan: Plan) -> Result<Self, SetUpError> {
        let Plan {
            tools,
            folder,
            store,
            limits,
            globals,
            outlives_host,
            exact_integers,
            guard,
        } = plan;
        let values = match &store {
            None => None,
            Some(path) => Some(store_file::load(path).map_err(SetUpError::new)?),
        };
        let calls = Arc::new(Calls::default());
        let mut builder = Session::builder(provider)
            .tools(tool_set(tools, folder, guard, &calls))
            .limits(limits);
        if let Some(globals) = globals {
            builder = builder.globals(globals);
        }
        if let Some(exact) = exact_integers {
            builder = builder.exact_integers(exact);
        }
        if !outlives_host {
            builder = builder.without_store_copy();
        }
        let session = builder.open().await.map_err(|error| match error {
            OpenError::Session(error) => error.into(),
            other => SetUpError::new(other),
        })?;
        if let Some(values) = values.filter(|values| !values.is_empty()) {
            session.store_values(values).await?;
        }
        Ok(Self {
            session,
            calls,
            store,
        })
    }

    /// The tools that scripts may call.
    pub fn tools(&self) -> Arc<[ToolDefinition]> {
        self.session.tools()
    }

    /// Saves the stored values, if there is a store file.
    ///
    /// # Errors
    /// When the values cannot be had or the file cannot be written.
    pub async fn save_store(&self) -> Result<(), SetUpError> {
        let Some(path) = &self.store else {
            return Ok(());
        };
        let values = self.session.stored_values().await?;
        store_file::save(path, &values).map_err(SetUpError::new)
    }

    /// Closes the session. What was run is safe already, so a failure is only noted.
    pub async fn close(&self, reporter: &Reporter) {
        if let Err(error) = self.session.shutdown().await {
            let notice = format!("the session did not shut down in order: {error}");
            reporter.report(Report::Notice(notice)).await;
        }
    }
}
