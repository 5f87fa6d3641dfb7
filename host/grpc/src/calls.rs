// SPDX-License-Identifier: Apache-2.0
//! Tool calls and notifications of one session: who gets them, and which are unanswered.

use std::collections::HashMap;
use std::sync::Arc;

use code_mode_api::waist::CallId;
use code_mode_api::{RawJson, ToolError, ToolName};
use code_mode_grpc::tonic::Status;
use code_mode_grpc::v1;

use crate::limits::{MAX_SUBSCRIBED_NAMES, MAX_SUBSCRIPTIONS, REMEMBERED_IDS};
use crate::mailbox::Mailbox;
use crate::remembered::Remembered;

/// An answer that the session is to be given.
pub(crate) type ToolAnswer = (CallId, Result<RawJson, ToolError>);

/// What is open between the scripts and the client.
pub(crate) struct Calls {
    /// How many tool calls may be unanswered at one time.
    most: usize,
    subscriptions: Vec<Subscription>,
    next_subscription: u64,
    open: HashMap<CallId, OpenCall>,
    by_invocation: HashMap<String, CallId>,
    finished: Remembered,
    /// Notifications that the client has not been sent; value: their id.
    notifications: HashMap<CallId, String>,
}

struct Subscription {
    number: u64,
    /// None means every tool.
    names: Vec<ToolName>,
    mailbox: Arc<Mailbox<v1::ToolCall>>,
}

struct OpenCall {
    invocation: String,
    subscription: u64,
}

/// What a call or notification was that needs no answer any more.
pub(crate) enum Cancelled {
    /// A tool call; its invocation.
    Call(String),
    /// A notification; its id.
    Notification(String),
}

impl Calls {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            subscriptions: Vec::new(),
            next_subscription: 1,
            open: HashMap::new(),
            by_invocation: HashMap::new(),
            finished: Remembered::new(REMEMBERED_IDS),
            notifications: HashMap::new(),
        }
    }

    /// Takes a subscription in and gives its number.
    pub(crate) fn subscribe(
        &mut self,
        names: Vec<ToolName>,
        mailbox: Arc<Mailbox<v1::ToolCall>>,
    ) -> Result<u64, Status> {
        let named: usize = self.subscriptions.iter().map(|one| one.names.len()).sum();
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS
            || named + names.len() > MAX_SUBSCRIBED_NAMES
        {
            return Err(Status::resource_exhausted(
                "code-mode session has too many tool subscriptions",
            ));
        }
        let number = self.next_subscription;
        self.next_subscription += 1;
        self.subscriptions.push(Subscription {
            number,
            names,
            mailbox,
        });
        Ok(number)
    }

    /// Takes a subscription out and gives the answers of the calls that it had.
    pub(crate) fn unsubscribe(&mut self, number: u64) -> Vec<ToolAnswer> {
        self.subscriptions.retain(|one| one.number != number);
        let lost: Vec<CallId> = self
            .open
            .iter()
            .filter(|(_, call)| call.subscription == number)
            .map(|(call, _)| *call)
            .collect();
        lost.into_iter()
            .map(|call| {
                self.finish(call);
                let error = "code-mode tool subscription closed before returning tool output";
                (call, Err(ToolError::new(error)))
            })
            .collect()
    }

    /// Finds the stream for a call of `tool`: the first subscription that names it, or else the first
    /// that names none. Or gives the error that the script gets.
    pub(crate) fn open(
        &mut self,
        call: CallId,
        tool: &ToolName,
        invocation: &str,
    ) -> Result<Arc<Mailbox<v1::ToolCall>>, ToolError> {
        let subscriptions = &self.subscriptions;
        let subscription = subscriptions
            .iter()
            .find(|one| one.names.contains(tool))
            .or_else(|| subscriptions.iter().find(|one| one.names.is_empty()))
            .ok_or_else(|| {
                ToolError::new("no code-mode tool subscription matches the requested tool")
            })?;
        if self.open.len() >= self.most {
            return Err(ToolError::new(
                "code-mode session has too many pending delegate calls",
            ));
        }
        self.open.insert(
            call,
            OpenCall {
                invocation: invocation.to_owned(),
                subscription: subscription.number,
            },
        );
        self.by_invocation.insert(invocation.to_owned(), call);
        Ok(Arc::clone(&subscription.mailbox))
    }

    /// The call that a completion is for; `None` for one that is answered or cancelled already.
    pub(crate) fn complete(&mut self, invocation: &str) -> Result<Option<CallId>, Status> {
        match self.by_invocation.get(invocation) {
            Some(call) => {
                let call = *call;
                self.finish(call);
                Ok(Some(call))
            }
            None if self.finished.contains(invocation) => Ok(None),
            None => Err(Status::not_found(format!(
                "unknown code-mode tool invocation {invocation}"
            ))),
        }
    }

    /// A notification is on its way.
    pub(crate) fn notify(&mut self, call: CallId, id: String) {
        self.notifications.insert(call, id);
    }

    /// A notification was handed to the connection. False when it was cancelled before.
    pub(crate) fn notified(&mut self, call: CallId) -> bool {
        self.notifications.remove(&call).is_some()
    }

    /// A call or notification needs no answer any more. `None` when it had one.
    pub(crate) fn cancel(&mut self, call: CallId) -> Option<Cancelled> {
        if let Some(id) = self.notifications.remove(&call) {
            return Some(Cancelled::Notification(id));
        }
        self.finish(call).map(Cancelled::Call)
    }

    /// Takes all subscriptions out; their streams are to be ended.
    pub(crate) fn close(&mut self) -> Vec<Arc<Mailbox<v1::ToolCall>>> {
        self.subscriptions
            .drain(..)
            .map(|subscription| subscription.mailbox)
            .collect()
    }

    fn finish(&mut self, call: CallId) -> Option<String> {
        let open = self.open.remove(&call)?;
        self.by_invocation.remove(&open.invocation);
        self.finished.insert(&open.invocation);
        Some(open.invocation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str) -> ToolName {
        ToolName {
            name: name.to_owned(),
            namespace: None,
        }
    }

    fn subscribe(calls: &mut Calls, names: &[&str]) -> Arc<Mailbox<v1::ToolCall>> {
        let mailbox = Mailbox::new();
        let names = names.iter().map(|name| tool(name)).collect();
        calls
            .subscribe(names, Arc::clone(&mailbox))
            .expect("there is room");
        mailbox
    }

    #[test]
    fn a_call_goes_to_the_first_that_names_its_tool_and_else_to_the_first_that_names_none() {
        let mut calls = Calls::new(10);
        let all = subscribe(&mut calls, &[]);
        let first = subscribe(&mut calls, &["b", "a"]);
        let second = subscribe(&mut calls, &["a"]);
        let a = calls.open(CallId(1), &tool("a"), "i1").expect("is taken");
        assert!(Arc::ptr_eq(&a, &first) && !Arc::ptr_eq(&a, &second));
        let c = calls.open(CallId(2), &tool("c"), "i2").expect("is taken");
        assert!(Arc::ptr_eq(&c, &all));
        let other_namespace = ToolName {
            namespace: Some("n".to_owned()),
            ..tool("a")
        };
        let other = calls.open(CallId(3), &other_namespace, "i3");
        assert!(Arc::ptr_eq(&other.expect("is taken"), &all));
    }

    #[test]
    fn a_call_beyond_the_bound_fails_until_another_is_answered() {
        let mut calls = Calls::new(1);
        let _all = subscribe(&mut calls, &[]);
        assert!(calls.open(CallId(1), &tool("a"), "i1").is_ok());
        let error = calls.open(CallId(2), &tool("a"), "i2").err();
        let message = "code-mode session has too many pending delegate calls";
        assert_eq!(error, Some(ToolError::new(message)));
        assert!(matches!(calls.complete("i1"), Ok(Some(CallId(1)))));
        assert!(calls.open(CallId(3), &tool("a"), "i3").is_ok());
    }

    #[test]
    fn a_completion_that_comes_late_does_nothing_and_one_of_an_unknown_call_is_an_error() {
        let mut calls = Calls::new(1);
        let _all = subscribe(&mut calls, &[]);
        assert!(calls.open(CallId(1), &tool("a"), "i1").is_ok());
        assert!(matches!(calls.cancel(CallId(1)), Some(Cancelled::Call(id)) if id == "i1"));
        assert!(calls.cancel(CallId(1)).is_none());
        assert!(matches!(calls.complete("i1"), Ok(None)));
        assert!(calls.complete("i9").is_err());
    }

    #[test]
    fn a_call_is_known_to_be_finished_until_so_many_others_are() {
        let mut calls = Calls::new(1);
        let _all = subscribe(&mut calls, &[]);
        for number in 0..=REMEMBERED_IDS {
            let id = number.to_string();
            assert!(calls.open(CallId(number as u64), &tool("a"), &id).is_ok());
            assert!(matches!(calls.complete(&id), Ok(Some(_))));
        }
        assert!(matches!(calls.complete("1"), Ok(None)));
        assert!(calls.complete("0").is_err(), "it is forgotten");
    }

    #[test]
    fn the_calls_of_a_subscription_that_ends_fail() {
        let mut calls = Calls::new(10);
        let _first = subscribe(&mut calls, &["a"]);
        let _second = subscribe(&mut calls, &["b"]);
        assert!(calls.open(CallId(1), &tool("a"), "i1").is_ok());
        assert!(calls.open(CallId(2), &tool("b"), "i2").is_ok());
        let lost: Vec<CallId> = calls
            .unsubscribe(1)
            .into_iter()
            .map(|lost| lost.0)
            .collect();
        assert_eq!(lost, [CallId(1)]);
        assert!(calls.open(CallId(3), &tool("a"), "i3").is_err());
    }

    #[test]
    fn the_subscriptions_of_a_session_are_bounded_in_number_and_names() {
        let mut calls = Calls::new(1);
        let many = vec![tool("a"); MAX_SUBSCRIBED_NAMES];
        assert!(calls.subscribe(many, Mailbox::new()).is_ok());
        assert!(calls.subscribe(vec![tool("b")], Mailbox::new()).is_err());
        for _ in 1..MAX_SUBSCRIPTIONS {
            assert!(calls.subscribe(Vec::new(), Mailbox::new()).is_ok());
        }
        assert!(calls.subscribe(Vec::new(), Mailbox::new()).is_err());
    }
}
