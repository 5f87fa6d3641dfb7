// SPDX-License-Identifier: Apache-2.0
//! Answers what scripts ask of a session: decides about calls, runs tools, takes notifications.

use std::panic::resume_unwind;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, Notification, RawJson, SessionDelegate, SessionId,
    ToolDefinition, ToolError, ToolInvocation, ToolKind, ToolName,
};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::policy::{Asker, PolicyCall, decide};
use crate::registry::Registry;
use crate::tool_set::ToolTable;
use crate::{CallContext, CellEvent, NAMESPACE_SEPARATOR, Policy, Tool};

/// Cancelled calls of a session that may clean up at one time; the futures of further ones are
/// dropped at once.
pub const MAX_LINGERING_CALLS: usize = 256;

/// What a session needs to answer its scripts.
pub(crate) struct Answers {
    pub(crate) registry: Arc<Registry>,
    pub(crate) tools: RwLock<Arc<ToolTable>>,
    pub(crate) policy: Option<Arc<dyn Policy>>,
    pub(crate) asker: Asker,
    /// Who answers what the tools do not, and hears notifications.
    other: Option<Arc<dyn SessionDelegate>>,
    lingering: Arc<Semaphore>,
}

impl Answers {
    pub(crate) fn new(
        registry: Arc<Registry>,
        tools: ToolTable,
        policy: Option<Arc<dyn Policy>>,
        other: Option<Arc<dyn SessionDelegate>>,
    ) -> Self {
        Self {
            registry,
            tools: RwLock::new(Arc::new(tools)),
            policy,
            asker: Asker::default(),
            other,
            lingering: Arc::new(Semaphore::new(MAX_LINGERING_CALLS)),
        }
    }

    pub(crate) fn tools(&self) -> Arc<ToolTable> {
        let tools = self.tools.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&tools)
    }

    pub(crate) fn set_tools(&self, table: ToolTable) {
        let mut tools = self.tools.write().unwrap_or_else(PoisonError::into_inner);
        *tools = Arc::new(table);
    }

    /// The tool of this name: one of the session's, or one that the other delegate answers for.
    fn tool(&self, name: &ToolName, kind: ToolKind) -> Option<Tool> {
        let own = self.tools().by_name.get(name).cloned();
        own.or_else(|| {
            let other = Arc::clone(self.other.as_ref()?);
            Some(answered_by(other, name.clone(), kind))
        })
    }

    /// The input that the tool is to run with, if it may.
    async fn decided(
        &self,
        tool: &Tool,
        context: &CallContext,
        input: RawJson,
    ) -> Result<RawJson, ToolError> {
        let Some(policy) = &self.policy else {
            return Ok(input);
        };
        let call = PolicyCall {
            session_id: context.session_id.clone(),
            cell_id: context.cell_id.clone(),
            exec_call_id: Arc::clone(&context.exec_call_id),
            call_id: Arc::clone(&context.call_id),
            tool: Arc::clone(&tool.definition),
            input: Arc::from(input.clone()),
        };
        let changed = decide(&**policy, &self.asker, call).await?;
        Ok(changed.unwrap_or(input))
    }

    async fn run(
        &self,
        tool: &Tool,
        input: RawJson,
        context: CallContext,
    ) -> Result<RawJson, ToolError> {
        if tool.cancel_grace.is_zero() {
            let cancelled = context.cancelled.clone();
            return tokio::select! {
                biased;
                result = (tool.run)(input, context) => result,
                // A provider may leave the future some time of its own.
                () = cancelled.cancelled() => Err(ToolError::new("the call was cancelled")),
            };
        }
        let cancelled = context.cancelled.clone();
        let (call, grace) = ((tool.run)(input, context), tool.cancel_grace);
        let lingering = Arc::clone(&self.lingering);
        let task = tokio::spawn(async move {
            tokio::select! {
                result = call => result,
                () = expired(cancelled, grace, lingering) => {
                    Err(ToolError::new("the call was cancelled"))
                }
            }
        });
        match task.await {
            Ok(result) => result,
            Err(failed) => match failed.try_into_panic() {
                // The session tells the script, as for every tool that panics.
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(ToolError::new("the client's async runtime shut down")),
            },
        }
    }
}

/// Resolves when a cancelled call has had its time.
async fn expired(cancelled: CancellationSignal, grace: Duration, lingering: Arc<Semaphore>) {
    cancelled.cancelled().await;
    if let Ok(_place) = lingering.try_acquire() {
        sleep(grace).await;
    }
}

/// A tool of which no more is known than its name, and whose calls go to another delegate.
fn answered_by(other: Arc<dyn SessionDelegate>, name: ToolName, kind: ToolKind) -> Tool {
    let definition = ToolDefinition {
        name: match &name.namespace {
            Some(namespace) => format!("{namespace}{NAMESPACE_SEPARATOR}{}", name.name),
            None => name.name.clone(),
        },
        tool_name: name.clone(),
        description: String::new(),
        kind,
        input_schema: None,
        output_schema: None,
    };
    Tool::dynamic(definition, move |input, context| {
        let invocation = ToolInvocation {
            session_id: context.session_id,
            cell_id: context.cell_id,
            call_id: context.call_id.to_string(),
            exec_call_id: context.exec_call_id.to_string(),
            tool_name: name.clone(),
            tool_kind: kind,
            input,
        };
        other.invoke_tool(invocation, context.cancelled)
    })
}

/// A session's delegate.
pub(crate) struct Delegate(pub(crate) Arc<Answers>);

impl SessionDelegate for Delegate {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        let answers = Arc::clone(&self.0);
        let begun = Instant::now();
        let ToolInvocation {
            session_id,
            cell_id,
            call_id,
            exec_call_id,
            tool_name,
            tool_kind,
            input,
        } = invocation;
        let core = answers.registry.of_call(&cell_id, &exec_call_id);
        let call_id: Arc<str> = call_id.into();
        let noted = core.is_followed().then(|| {
            core.note(CellEvent::ToolCall {
                call_id: Arc::clone(&call_id),
                tool: tool_name.clone(),
                input: Arc::from(input.clone()),
            })
        });
        // Of its own, so that it fires as well when the future is dropped for any other reason.
        let cancelled = cancel.child_token();
        let context = CallContext {
            session_id,
            cell_id,
            exec_call_id: Arc::clone(&core.exec_call_id),
            call_id,
            cancelled: cancelled.clone(),
        };
        Box::pin(async move {
            let cancel_on_drop = cancelled.drop_guard();
            core.room().await;
            if let Some(noted) = noted {
                core.published(noted).await;
            }
            let call_id = Arc::clone(&context.call_id);
            let result = match answers.tool(&tool_name, tool_kind) {
                None => Err(ToolError::new(format!(
                    "the tool {} is not offered any more",
                    tool_name.name
                ))),
                Some(tool) => match answers.decided(&tool, &context, input).await {
                    Ok(input) => answers.run(&tool, input, context).await,
                    Err(denied) => Err(denied),
                },
            };
            cancel_on_drop.disarm();
            if core.is_followed() {
                let result = result.as_ref().map_err(Clone::clone);
                core.note_without_output(CellEvent::ToolResult {
                    call_id,
                    tool: tool_name,
                    result: result.map(|value| Arc::<RawValue>::from(value.clone())),
                    took: begun.elapsed(),
                });
            }
            result
        })
    }

    fn notify(
        &self,
        notification: Notification,
        cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        let other = self.0.other.as_ref();
        let heard = other.map(|other| other.notify(notification.clone(), cancel));
        let Notification {
            cell_id,
            exec_call_id,
            text,
            ..
        } = notification;
        let core = self.0.registry.of_call(&cell_id, &exec_call_id);
        if core.is_followed() {
            core.note(CellEvent::Notification(text.into()));
        }
        Box::pin(async move {
            core.room().await;
            match heard {
                Some(heard) => heard.await,
                None => Ok(()),
            }
        })
    }

    fn cell_closed(&self, _session_id: &SessionId, cell_id: &CellId) {
        self.0.registry.closed(cell_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_call_has_its_grace_unless_too_many_linger() {
        let grace = Duration::from_secs(3);
        let lingering = Arc::new(Semaphore::new(MAX_LINGERING_CALLS));
        let cancelled = CancellationSignal::new();
        cancelled.cancel();
        let begun = Instant::now();
        expired(cancelled.clone(), grace, Arc::clone(&lingering)).await;
        assert_eq!(begun.elapsed(), grace);
        let places = u32::try_from(MAX_LINGERING_CALLS).expect("a small number");
        let _all = lingering.try_acquire_many(places).expect("all are free");
        let begun = Instant::now();
        expired(cancelled, grace, Arc::clone(&lingering)).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
