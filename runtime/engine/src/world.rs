// SPDX-License-Identifier: Apache-2.0
//! What a script reaches outside of its isolate, as one interface.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use code_mode_api::{ContentItem, Globals, LimitName, ToolError};

use crate::limits::EffectiveLimits;
use crate::typescript::TypeScriptError;

/// Why a script is stopped, from outside or by a helper. The first cause counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopCause {
    /// The cell is terminated on request.
    Terminated,
    /// The script called `exit()`.
    Exit,
    /// A bound is reached: which, and its value.
    Limit(LimitName, u64),
    /// A callback of ours panicked: the panic's message.
    Panic(String),
}

/// A bound that would be passed, and its value.
pub type Bound = (LimitName, u64);

/// One call of a tool, as the script made it.
#[derive(Debug)]
pub struct ToolCall {
    /// The number of the call within its cell; tool calls and notifications count together.
    pub call: u64,
    /// The number of the call among the cell's tool calls, from 1.
    pub number: u64,
    /// The tool's index in the cell's table.
    pub tool: usize,
    /// The input as JSON text, which V8 has written; `null` when the script gave none.
    pub input: String,
}

/// The answer to one tool call.
#[derive(Debug)]
pub struct ToolAnswer {
    /// [`ToolCall::call`] of the call that is answered.
    pub call: u64,
    /// The result as JSON text, or the error that rejects the script's promise. Either is within the cell's
    /// bound of one value: whoever holds answers for a cell looks before it holds them.
    pub result: Result<Box<str>, ToolError>,
}

/// Stops a script from any thread, and from callbacks in which V8 cannot be called.
pub trait Stop: Send + Sync {
    /// Stops the script for this cause, unless it is already being stopped. May never return, where
    /// ending the process is the way to stop.
    fn stop(&self, cause: StopCause);
}

/// What the host and the exec have chosen of what a script may be and what it sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScriptOptions {
    /// Which globals the script has.
    pub globals: Globals,
    /// Whether a source that is no JavaScript is tried as TypeScript, and a Markdown fence around it taken
    /// off.
    pub typescript: bool,
    /// Whether an integer that a number cannot hold for certain is read as a bigint, from a tool's answer
    /// and from the store.
    pub exact_integers: bool,
}

/// All that a script reaches outside of its isolate.
///
/// One script has one world, which only the script's own thread uses. What a method has taken when it
/// returns is kept, however the cell ends.
pub trait World {
    /// The bounds of the cell.
    fn limits(&self) -> &EffectiveLimits;

    /// What was chosen for the script.
    fn options(&self) -> ScriptOptions;

    /// Does [`typescript::without_types`](crate::typescript::without_types) where a source that overflows
    /// the stack, or takes for ever, does no harm to anything but this cell.
    ///
    /// # Errors
    /// Those of that function, and [`TypeScriptError::Unreadable`] for a source that does that.
    fn without_types(&self, source: &str) -> Result<String, TypeScriptError>;

    /// What stops the script, for callbacks that have no world at hand.
    fn stopper(&self) -> Arc<dyn Stop>;

    /// Why the script is to stop, if it is.
    fn stop_cause(&self) -> Option<StopCause>;

    /// Adds to the output.
    ///
    /// # Errors
    /// The bound that this would pass; nothing was added then.
    fn output(&self, item: ContentItem) -> Result<(), Bound>;

    /// Calls a tool; its answer comes out of [`inbox`](Self::inbox).
    fn call(&self, call: ToolCall);

    /// Says that the script wants no answer to a call any more: the tool is told, and the call is no
    /// longer open. An answer that is on its way already may still come.
    fn abandon(&self, call: u64);

    /// Sends a notification.
    ///
    /// # Errors
    /// The bound that this would pass; nothing was sent then.
    fn notify(&self, call: u64, text: String) -> Result<(), Bound>;

    /// Gives the observer what has come so far.
    fn yield_control(&self);

    /// The stored value of `key` as JSON text: the cell's own, or the session's.
    fn load(&self, key: &str) -> Option<Arc<str>>;

    /// Stores a value, as JSON text.
    ///
    /// # Errors
    /// The bound that this would pass; nothing was stored then.
    fn save(&self, key: String, value: Arc<str>) -> Result<(), Bound>;

    /// The descriptions of the cell's tools, in the order of its table.
    fn tool_descriptions(&self) -> Vec<String>;

    /// All tool answers that have arrived. Waits until there is one, the script is to stop, or `until`
    /// has passed; without `until` the wait has no end of its own.
    fn inbox(&self, until: Option<Instant>) -> VecDeque<ToolAnswer>;
}
