// SPDX-License-Identifier: Apache-2.0
//! One script to run, with what differs from the session's defaults.

use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{CellLimits, ExecuteRequest, Globals, ToolDefinition};

/// A script to run. A string is one, with the session's defaults.
///
/// ```
/// use std::time::Duration;
/// use code_mode_embed::{CellLimits, Exec};
///
/// let exec = Exec::new("text(await tools.slow())")
///     .call_id("call_42")
///     .limits(CellLimits { wall_time: Some(Duration::from_secs(60)), ..CellLimits::default() });
/// # let _ = exec;
/// ```
#[derive(Debug, Clone)]
pub struct Exec {
    pub(crate) source: String,
    pub(crate) call_id: Option<String>,
    pub(crate) tools: Option<Arc<[ToolDefinition]>>,
    pub(crate) limits: Option<CellLimits>,
    pub(crate) first_look: Option<Duration>,
    pub(crate) max_output_tokens: Option<u32>,
    pub(crate) globals: Option<Globals>,
    pub(crate) exact_integers: Option<bool>,
    pub(crate) lossless: bool,
}

/// What a session's scripts have that do not say otherwise.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    pub(crate) limits: CellLimits,
    pub(crate) globals: Option<Globals>,
    pub(crate) exact_integers: Option<bool>,
}

impl Exec {
    /// Runs this JavaScript.
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            call_id: None,
            tools: None,
            limits: None,
            first_look: None,
            max_output_tokens: None,
            globals: None,
            exact_integers: None,
            lossless: false,
        }
    }

    /// The id under which every nested call knows what asked for this script, such as the id of the
    /// model's tool call. Defaults to `exec-1`, `exec-2`, …
    #[must_use]
    pub fn call_id(mut self, id: impl Into<String>) -> Self {
        self.call_id = Some(id.into());
        self
    }

    /// Offers these tools instead of the session's. Calls of those that the session's set does not have go
    /// to its [delegate](crate::SessionBuilder::delegate).
    #[must_use]
    pub fn tools(mut self, tools: Arc<[ToolDefinition]>) -> Self {
        self.tools = Some(tools);
        self
    }

    /// The bounds of this script instead of the session's. Each lowers the operator's bound and
    /// never raises it.
    #[must_use]
    pub fn limits(mut self, limits: CellLimits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// How long the host may keep the first output to itself, unless the script ends or yields
    /// before. Zero by default for [`Session::start`](crate::Session::start), so that whoever looks
    /// finds what is there.
    ///
    /// Until then, events come without the output before them.
    ///
    /// Who starts a cell only to [`observe`](crate::CellHandle::observe) it for some time gives that
    /// time here too, and saves an exchange with the host.
    #[must_use]
    pub fn first_look(mut self, time: Duration) -> Self {
        self.first_look = Some(time);
        self
    }

    /// How many tokens of output the caller means to keep; advice to the host. Defaults to none.
    #[must_use]
    pub fn max_output_tokens(mut self, tokens: u32) -> Self {
        self.max_output_tokens = Some(tokens);
        self
    }

    /// Which globals the script has, instead of the session's choice.
    #[must_use]
    pub fn globals(mut self, globals: Globals) -> Self {
        self.globals = Some(globals);
        self
    }

    /// Whether the script reads integers beyond 2^53 in tools' results and stored values as bigints, instead
    /// of the session's choice.
    #[must_use]
    pub fn exact_integers(mut self, exact: bool) -> Self {
        self.exact_integers = Some(exact);
        self
    }

    /// Lets the [`Cell`](crate::Cell)'s own stream miss nothing, however slow its owner is: while
    /// [`MAX_WAITING_EVENTS`](crate::MAX_WAITING_EVENTS) or
    /// [`MAX_WAITING_BYTES`](crate::MAX_WAITING_BYTES) wait in it, the host is asked for no more
    /// output, and calls and notifications wait, so that the script is held back instead. What is on
    /// its way already still comes: one answer of the host, and the calls that are open.
    ///
    /// Its owner must read the stream to the end, or drop it: until then
    /// [`wait`](crate::CellHandle::wait) may not resolve. Has no effect without a stream, so not for
    /// [`Session::exec`](crate::Session::exec) and
    /// [`Session::start_detached`](crate::Session::start_detached).
    #[must_use]
    pub fn lossless(mut self) -> Self {
        self.lossless = true;
        self
    }

    pub(crate) fn request(
        self,
        number: u64,
        defaults: &Defaults,
        tools: impl FnOnce() -> Arc<[ToolDefinition]>,
        first_look: Duration,
    ) -> ExecuteRequest {
        ExecuteRequest {
            exec_call_id: self.call_id.unwrap_or_else(|| format!("exec-{number}")),
            tools: self.tools.unwrap_or_else(tools),
            yield_time: Some(first_look),
            max_output_tokens: self.max_output_tokens,
            limits: self.limits.unwrap_or_else(|| defaults.limits.clone()),
            globals: self.globals.or(defaults.globals),
            exact_integers: self.exact_integers.or(defaults.exact_integers),
            ..ExecuteRequest::new(self.source)
        }
    }
}

impl<S: Into<String>> From<S> for Exec {
    fn from(source: S) -> Self {
        Self::new(source)
    }
}
