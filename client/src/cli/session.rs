//! A session as the commands use it: with the tools of a tools file and, if wanted, a store file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use code_mode_api::{
    CodeModeSession, ExecuteRequest, SessionError, SessionOptions, SessionProvider, ToolDefinition,
};

use super::delegate::CommandDelegate;
use super::events::{Event, Reporter};
use super::status::Status;
use super::store_file;
use super::tools_file::{self, FileTool};

/// A failure to set a session up: words for people, and how the program ends.
#[derive(Debug)]
pub struct SetUpError {
    /// What failed, why, and what to do.
    pub message: String,
    /// How the program ends.
    pub status: Status,
}

impl SetUpError {
    /// A failure that the user can repair.
    pub fn new(message: impl ToString) -> Self {
        Self {
            message: message.to_string(),
            status: Status::SetUp,
        }
    }
}

impl From<SessionError> for SetUpError {
    fn from(error: SessionError) -> Self {
        Self {
            status: Status::of_error(&error),
            message: error.to_string(),
        }
    }
}

/// An open session.
pub struct OpenSession {
    /// Dropping it ends the host.
    _provider: Arc<dyn SessionProvider>,
    /// The session.
    pub session: Arc<dyn CodeModeSession>,
    /// Who answers its tool calls.
    pub delegate: Arc<CommandDelegate>,
    tools: Arc<[ToolDefinition]>,
    store: Option<PathBuf>,
    requests: u64,
}

/// Reads the tools file, if one is given.
///
/// # Errors
/// When it is not what it must be.
pub fn load_tools(path: Option<&Path>) -> Result<Vec<FileTool>, SetUpError> {
    path.map_or_else(
        || Ok(Vec::new()),
        |path| tools_file::load(path).map_err(SetUpError::new),
    )
}

impl OpenSession {
    /// Opens a session whose tools run in `folder`, and loads the values of the `store` file.
    ///
    /// # Errors
    /// When the host cannot be had, or the store cannot be loaded.
    pub async fn open(
        provider: Arc<dyn SessionProvider>,
        tools: &[FileTool],
        folder: &Path,
        store: Option<PathBuf>,
        reporter: &Reporter,
    ) -> Result<Self, SetUpError> {
        let values = match &store {
            None => None,
            Some(path) => Some(store_file::load(path).map_err(SetUpError::new)?),
        };
        let delegate = Arc::new(CommandDelegate::new(
            tools,
            folder.to_path_buf(),
            reporter.clone(),
        ));
        let session = provider
            .open_session(SessionOptions::default(), delegate.clone())
            .await?;
        if let Some(values) = values.filter(|values| !values.is_empty()) {
            session.import_store(values).await?;
        }
        let tools = tools.iter().map(|tool| tool.definition.clone()).collect();
        Ok(Self {
            _provider: provider,
            session,
            delegate,
            tools,
            store,
            requests: 0,
        })
    }

    /// A request to run `source` with the session's tools.
    pub fn request(&mut self, source: String) -> ExecuteRequest {
        self.requests += 1;
        ExecuteRequest {
            exec_call_id: format!("exec-{}", self.requests),
            tools: self.tools.clone(),
            ..ExecuteRequest::new(source)
        }
    }

    /// The tools that scripts may call.
    pub fn tools(&self) -> &[ToolDefinition] {
        &self.tools
    }

    /// Saves the stored values, if there is a store file.
    ///
    /// # Errors
    /// When the values cannot be had or the file cannot be written.
    pub async fn save_store(&self) -> Result<(), SetUpError> {
        let Some(path) = &self.store else {
            return Ok(());
        };
        let values = self.session.export_store().await?;
        store_file::save(path, &values).map_err(SetUpError::new)
    }

    /// Brings the stored values back into a session whose host was lost: those of the store file,
    /// and over them what the session has stored since.
    ///
    /// # Errors
    /// When the file cannot be read or the session cannot take the values.
    pub async fn recover_store(&self) -> Result<(), SetUpError> {
        let Some(path) = &self.store else {
            return Ok(());
        };
        let mut values = store_file::load(path).map_err(SetUpError::new)?;
        match self.session.export_store().await {
            Ok(newer) => values.extend(newer),
            // Nothing was stored since.
            Err(SessionError::RuntimeLost { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if !values.is_empty() {
            self.session.import_store(values).await?;
        }
        Ok(())
    }

    /// Closes the session. What was run is safe already, so a failure is only noted.
    pub async fn close(&self, reporter: &Reporter) {
        if let Err(error) = self.session.shutdown().await {
            let notice = format!("the session did not shut down in order: {error}");
            reporter.report(Event::Notice(notice)).await;
        }
    }
}
