// SPDX-License-Identifier: Apache-2.0
//! Who decides about the calls that scripts make: a policy for every call, and people for some.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use async_channel::{Receiver, Sender, WeakReceiver};
use code_mode_api::{BoxFuture, CellId, RawJson, SessionId, ToolDefinition, ToolError};
use futures_core::Stream;
use serde_json::value::RawValue;

/// Questions of a session that wait for somebody to take them. A call that must ask when there are
/// so many waits until one is taken, or until it is cancelled.
pub const MAX_WAITING_QUESTIONS: usize = 64;

/// A call that a script wants to make, with all that a policy needs to decide about it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PolicyCall {
    /// The session of the script.
    pub session_id: SessionId,
    /// The cell that calls.
    pub cell_id: CellId,
    /// The exec call that started the cell, as [`Exec::call_id`](crate::Exec::call_id) named it.
    pub exec_call_id: Arc<str>,
    /// The call's id within its cell: `tool-1`, `tool-2`, …
    pub call_id: Arc<str>,
    /// The tool; [`ToolDefinition::tool_name`] is its own name, whatever scripts call it.
    pub tool: Arc<ToolDefinition>,
    /// The input as JSON; `null` when the script gave none.
    pub input: Arc<RawValue>,
}

/// What becomes of a call.
#[derive(Debug, Clone)]
pub enum Decision {
    /// The tool runs.
    Allow,
    /// The tool runs with another input.
    Change(RawJson),
    /// The tool does not run; the script's call rejects with the reason.
    Deny(String),
    /// Somebody is asked through [`Session::questions`](crate::Session::questions); the text says
    /// what about. The call waits for the answer, and is denied when nobody takes questions.
    Ask(String),
}

impl Decision {
    /// The tool does not run; the script's call rejects with the reason.
    pub fn deny(reason: impl Into<String>) -> Self {
        Self::Deny(reason.into())
    }

    /// Somebody is asked; the text says what about.
    pub fn ask(question: impl Into<String>) -> Self {
        Self::Ask(question.into())
    }
}

/// Decides about every call of every script of a session, before the tool runs.
///
/// A closure from a [`PolicyCall`] to a future of a [`Decision`] is a policy. A policy that panics
/// fails the call; the tool does not run.
///
/// ```
/// use code_mode_embed::{Decision, Policy, PolicyCall};
///
/// let policy = |call: PolicyCall| async move {
///     match call.tool.tool_name.name.as_str() {
///         "read" => Decision::Allow,
///         "write" => Decision::ask(format!("May the script write {}?", call.input)),
///         other => Decision::deny(format!("{other} is not for scripts")),
///     }
/// };
/// # fn is_policy(_: impl Policy) {}
/// # is_policy(policy);
/// ```
pub trait Policy: Send + Sync + 'static {
    /// What becomes of this call. The future is dropped when the call is cancelled.
    fn decide(&self, call: PolicyCall) -> BoxFuture<'static, Decision>;
}

impl<F, Fut> Policy for F
where
    F: Fn(PolicyCall) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Decision> + Send + 'static,
{
    fn decide(&self, call: PolicyCall) -> BoxFuture<'static, Decision> {
        Box::pin(self(call))
    }
}

/// A call that waits for somebody's word. Dropping it denies the call.
#[derive(Debug)]
pub struct Question {
    /// What the policy asks.
    pub text: String,
    /// The call.
    pub call: PolicyCall,
    answer: Sender<Decision>,
    /// Whether it has left the channel.
    taken: Arc<AtomicBool>,
}

impl Question {
    /// Lets the tool run.
    pub fn allow(self) {
        self.tell(Decision::Allow);
    }

    /// Lets the tool run with another input.
    pub fn change(self, input: RawJson) {
        self.tell(Decision::Change(input));
    }

    /// Refuses; the script's call rejects with the reason.
    pub fn deny(self, reason: impl Into<String>) {
        self.tell(Decision::deny(reason));
    }

    /// Whether the call was cancelled meanwhile, so that no answer is needed.
    pub fn is_moot(&self) -> bool {
        self.answer.is_closed()
    }

    fn tell(self, decision: Decision) {
        // The channel takes the one answer; the call may have been cancelled meanwhile.
        drop(self.answer.try_send(decision));
    }
}

/// The questions of a session's policy, as a stream. Clones share them: each question comes to one.
///
/// As long as there is one of these, calls that must ask wait for an answer.
#[derive(Clone)]
pub struct Questions(Pin<Box<Receiver<Question>>>);

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Questions").finish_non_exhaustive()
    }
}

impl Questions {
    /// The next question; `None` when the session is gone.
    pub async fn next(&mut self) -> Option<Question> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Questions {
    type Item = Question;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Question>> {
        let question = ready!(self.0.as_mut().poll_next(cx));
        if let Some(question) = &question {
            question.taken.store(true, Ordering::Release);
        }
        Poll::Ready(question)
    }
}

/// The session's end of its questions.
#[derive(Debug, Default)]
pub(crate) struct Asker(Mutex<Option<Ends>>);

#[derive(Debug, Clone)]
struct Ends {
    questions: Sender<Question>,
    /// Weak, so that the channel closes when nobody takes questions any more.
    takers: WeakReceiver<Question>,
}

impl Asker {
    /// Somebody who takes questions.
    pub(crate) fn taker(&self) -> Questions {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let there = ends.as_ref().and_then(|ends| ends.takers.upgrade());
        let taker = there.unwrap_or_else(|| {
            let (questions, taker) = async_channel::bounded(MAX_WAITING_QUESTIONS);
            let takers = taker.downgrade();
            *ends = Some(Ends { questions, takers });
            taker
        });
        Questions(Box::pin(taker))
    }

    /// Asks and waits for the answer.
    async fn ask(&self, text: String, call: PolicyCall) -> Decision {
        let name = call.tool.name.clone();
        let nobody = || Decision::deny(format!("nobody is there to permit the call of {name}"));
        let questions = {
            let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            ends.as_ref().map(|ends| ends.questions.clone())
        };
        let Some(questions) = questions else {
            return nobody();
        };
        let (answer, answered) = async_channel::bounded(1);
        let taken = Arc::new(AtomicBool::new(false));
        let question = Question {
            text,
            call,
            answer,
            taken: Arc::clone(&taken),
        };
        if questions.send(question).await.is_err() {
            return nobody();
        }
        let answer = tokio::select! {
            biased;
            answer = answered.recv() => answer,
            () = questions.closed() => {
                if !taken.load(Ordering::Acquire) {
                    // It lies in the channel, and nobody is left to take it.
                    return nobody();
                }
                answered.recv().await
            }
        };
        answer.unwrap_or_else(|_| Decision::deny(format!("the call of {name} was not permitted")))
    }
}

/// What a policy says about a call, after everybody was asked who must be: the input to run the tool
/// with, `None` for the script's own.
pub(crate) async fn decide(
    policy: &dyn Policy,
    asker: &Asker,
    call: PolicyCall,
) -> Result<Option<RawJson>, ToolError> {
    let decision = match policy.decide(call.clone()).await {
        Decision::Ask(text) => asker.ask(text, call).await,
        decided => decided,
    };
    match decision {
        Decision::Allow => Ok(None),
        Decision::Change(input) => Ok(Some(input)),
        Decision::Deny(reason) | Decision::Ask(reason) => Err(ToolError::new(reason)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use code_mode_api::{ToolKind, ToolName};
    use tokio::time::timeout;

    use super::*;

    fn call() -> PolicyCall {
        let name = "write".to_owned();
        PolicyCall {
            session_id: SessionId::new("s").expect("not empty"),
            cell_id: CellId::new("1"),
            exec_call_id: "exec".into(),
            call_id: "tool-1".into(),
            tool: Arc::new(ToolDefinition {
                tool_name: ToolName {
                    name: name.clone(),
                    namespace: None,
                },
                name,
                description: String::new(),
                kind: ToolKind::Function,
                input_schema: None,
                output_schema: None,
            }),
            input: Arc::from(RawJson::default()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn more_questions_than_the_bound_wait_until_one_is_taken() {
        let asker = Arc::new(Asker::default());
        let mut taker = asker.taker();
        let ask = || {
            let asker = Arc::clone(&asker);
            tokio::spawn(async move { asker.ask("May it?".to_owned(), call()).await })
        };
        let asked: Vec<_> = (0..=MAX_WAITING_QUESTIONS).map(|_| ask()).collect();
        // With the clock stopped, the time only passes when everybody waits.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(taker.0.len(), MAX_WAITING_QUESTIONS);
        for _ in 0..=MAX_WAITING_QUESTIONS {
            let question = timeout(Duration::from_secs(1), taker.next()).await;
            question.expect("in time").expect("a question").allow();
        }
        for decision in asked {
            assert!(matches!(decision.await, Ok(Decision::Allow)));
        }
    }
}
