// SPDX-License-Identifier: Apache-2.0
//! One tool: what scripts see of it, and the code that answers its calls.

use std::fmt::{self, Display};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, RawJson, SessionId, ToolDefinition, ToolError, ToolKind,
    ToolName,
};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// What joins a namespace and a tool's name to the name that scripts see.
pub const NAMESPACE_SEPARATOR: &str = "__";

/// The longest time that [`Tool::cancel_grace`] can give a cancelled call (30 s); more is cut to it.
pub const MAX_CANCEL_GRACE: Duration = Duration::from_secs(30);

/// Who calls a tool, and whether the call is still wanted.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The session of the script.
    pub session_id: SessionId,
    /// The cell that calls.
    pub cell_id: CellId,
    /// The exec call that started the cell, as [`Exec::call_id`](crate::Exec::call_id) named it.
    pub exec_call_id: Arc<str>,
    /// The call's id within its cell: `tool-1`, `tool-2`, …
    pub call_id: Arc<str>,
    /// Fires when nobody waits for the result any more: the script has aborted the call, its cell has
    /// ended, or its host is lost.
    ///
    /// The tool's future is dropped then, unless [`Tool::cancel_grace`] gives it time to clean up.
    pub cancelled: CancellationSignal,
}

type Answer = BoxFuture<'static, Result<RawJson, ToolError>>;
type Run = dyn Fn(RawJson, CallContext) -> Answer + Send + Sync;

/// A tool that scripts can call: its definition, and the closure that answers.
///
/// A closure's error reaches the script as an `Error` with the error's text; `anyhow`'s errors show
/// their whole chain. A closure that panics fails its call and nothing else.
///
/// ```
/// use code_mode_embed::{CallContext, Tool};
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Add {
///     /// The first summand.
///     a: i64,
///     b: i64,
/// }
///
/// let add = Tool::new("add", "Adds two numbers.", |input: Add| async move {
///     input.a.checked_add(input.b).ok_or("the sum is too large")
/// });
/// assert_eq!(add.definition().name, "add");
/// assert!(add.definition().input_schema.is_some());
/// ```
#[derive(Clone)]
pub struct Tool {
    pub(crate) definition: Arc<ToolDefinition>,
    pub(crate) run: Arc<Run>,
    pub(crate) cancel_grace: Duration,
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool")
            .field("definition", &self.definition)
            .finish_non_exhaustive()
    }
}

impl Tool {
    /// A tool that takes and gives typed values; the schemas that models read come from the types.
    ///
    /// An input that does not fit the type rejects the script's call with the reason. A call without
    /// input is taken as `null`, and as `{}` where the type cannot be read from `null`.
    pub fn new<I, O, E, F, Fut>(
        name: impl Into<String>,
        description: impl Into<String>,
        run: F,
    ) -> Self
    where
        I: DeserializeOwned + JsonSchema,
        O: Serialize + JsonSchema,
        E: Display,
        F: Fn(I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
    {
        Self::with_context(name, description, move |input, _| run(input))
    }

    /// As [`new`](Self::new), for a closure that also takes the call's context: who calls, and the
    /// signal of cancellation.
    pub fn with_context<I, O, E, F, Fut>(
        name: impl Into<String>,
        description: impl Into<String>,
        run: F,
    ) -> Self
    where
        I: DeserializeOwned + JsonSchema,
        O: Serialize + JsonSchema,
        E: Display,
        F: Fn(I, CallContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
    {
        let name = name.into();
        let definition = ToolDefinition {
            tool_name: ToolName {
                name: name.clone(),
                namespace: None,
            },
            name,
            description: description.into(),
            kind: ToolKind::Function,
            input_schema: schema::<I>(SchemaSettings::draft2020_12().for_deserialize()),
            output_schema: schema::<O>(SchemaSettings::draft2020_12().for_serialize()),
        };
        let run = Arc::new(run);
        Self::dynamic(definition, move |input, context| {
            let run = Arc::clone(&run);
            async move {
                let input = read_input(&input)?;
                let output = run(input, context).await.map_err(told)?;
                serde_json::value::to_raw_value(&output)
                    .map_err(|error| ToolError::new(format!("Failed to write the result: {error}")))
            }
        })
    }

    /// A tool that takes free text and gives text.
    ///
    /// ```
    /// use code_mode_embed::{Tool, ToolKind};
    ///
    /// let shout = Tool::freeform("shout", "Says it louder.", |text: String, _| async move {
    ///     Ok::<_, String>(text.to_uppercase())
    /// });
    /// assert_eq!(shout.definition().kind, ToolKind::Freeform);
    /// ```
    pub fn freeform<E, F, Fut>(
        name: impl Into<String>,
        description: impl Into<String>,
        run: F,
    ) -> Self
    where
        E: Display,
        F: Fn(String, CallContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, E>> + Send + 'static,
    {
        let tool = Self::with_context(name, description, run);
        Self {
            definition: Arc::new(ToolDefinition {
                kind: ToolKind::Freeform,
                input_schema: None,
                ..ToolDefinition::clone(&tool.definition)
            }),
            ..tool
        }
    }

    /// A tool whose definition is only known at run time, such as one that another server offers.
    ///
    /// The definition is used as it stands; input and result are JSON texts.
    ///
    /// ```
    /// use code_mode_embed::{Tool, ToolDefinition, ToolError, ToolKind, ToolName};
    ///
    /// let definition = ToolDefinition {
    ///     name: "docs__search".to_owned(),
    ///     tool_name: ToolName { name: "search".to_owned(), namespace: Some("docs".to_owned()) },
    ///     description: "Searches the documents.".to_owned(),
    ///     kind: ToolKind::Function,
    ///     input_schema: None,
    ///     output_schema: None,
    /// };
    /// let search = Tool::dynamic(definition, |input, _context| async move { Ok(input) });
    /// # let _: Tool = search;
    /// ```
    pub fn dynamic<F, Fut>(definition: ToolDefinition, run: F) -> Self
    where
        F: Fn(RawJson, CallContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<RawJson, ToolError>> + Send + 'static,
    {
        Self {
            definition: Arc::new(definition),
            run: Arc::new(move |input, context| Box::pin(run(input, context))),
            cancel_grace: Duration::ZERO,
        }
    }

    /// What scripts and models are told of the tool.
    pub fn definition(&self) -> &ToolDefinition {
        &self.definition
    }

    /// How long a cancelled call of this tool may go on to clean up, at most [`MAX_CANCEL_GRACE`].
    ///
    /// Zero by default: the call's future is dropped when nobody waits for it. With a grace the
    /// future runs in a task of its own; it sees [`CallContext::cancelled`] fire and is dropped when
    /// the time is over. Its result is not used then.
    ///
    /// The task is what makes the time this tool's own: a provider drops the futures of a session after a
    /// time that is the same for all (1 s over a process, `CANCEL_GRACE` of `code_mode_client`), so that a cell
    /// is known to be closed, and in process at once.
    #[must_use]
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.cancel_grace = grace.min(MAX_CANCEL_GRACE);
        self
    }

    /// The same tool in a namespace. Scripts see it as `NAMESPACE__NAME`; a policy and the call see
    /// namespace and name apart.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        let definition = Arc::make_mut(&mut self.definition);
        definition.name = format!(
            "{namespace}{NAMESPACE_SEPARATOR}{}",
            definition.tool_name.name
        );
        definition.tool_name.namespace = Some(namespace.to_owned());
        self
    }
}

/// The error's text, with its causes where the alternate form shows them.
fn told(error: impl Display) -> ToolError {
    ToolError::new(format!("{error:#}"))
}

fn read_input<I: DeserializeOwned>(input: &RawValue) -> Result<I, ToolError> {
    let read = serde_json::from_str(input.get());
    let read = match read {
        Err(_) if input.get() == "null" => serde_json::from_str("{}"),
        read => read,
    };
    read.map_err(|error| ToolError::new(format!("Failed to read the input: {error}")))
}

/// The schema that a generator of these settings gives for a type; `None` where it says nothing, so
/// that a model is left to guess as much as without one.
fn schema<T: JsonSchema>(settings: SchemaSettings) -> Option<RawJson> {
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    // Neither the dialect nor the name of a Rust type helps a model.
    schema.remove("$schema");
    schema.remove("title");
    let says_nothing =
        schema.as_bool() == Some(true) || schema.as_object().is_some_and(serde_json::Map::is_empty);
    if says_nothing {
        return None;
    }
    serde_json::value::to_raw_value(&schema).ok()
}

#[cfg(test)]
#[path = "tool_tests.rs"]
mod tests;
