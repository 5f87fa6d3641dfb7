// SPDX-License-Identifier: Apache-2.0
//! Questions for users whose client cannot be asked while a request is under way. From the revision 2026-07-28
//! on the answer to a request says what is to be asked, and the client makes the request again with what the
//! user says.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::model::{ElicitRequest, ElicitRequestParams, InputRequest, InputRequests};
use tokio::sync::{Notify, oneshot};

/// Questions of one session that wait for an answer; a call that would ask one more is refused.
pub const MAX_QUESTIONS: usize = 64;

/// What the user said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// This call.
    Once,
    /// All calls of this tool for the rest of the session.
    Session,
    /// No.
    No,
}

/// The questions of one session.
#[derive(Default)]
pub struct Questions {
    inner: Mutex<Inner>,
    /// Rung with each new question.
    rung: Notify,
}

#[derive(Default)]
struct Inner {
    next: u64,
    open: BTreeMap<String, Question>,
}

struct Question {
    exec: String,
    params: ElicitRequestParams,
    answer: oneshot::Sender<Decision>,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and waits for the answer. Whoever drops the future takes the question back.
    ///
    /// # Errors
    /// When nobody answers in time or too many questions are open; in words for scripts.
    pub async fn ask(
        &self,
        exec: &str,
        params: ElicitRequestParams,
        patience: Duration,
    ) -> Result<Decision, String> {
        let (answer, decided) = oneshot::channel();
        let open = {
            let mut inner = self.lock();
            if inner.open.len() >= MAX_QUESTIONS {
                return Err(format!(
                    "{MAX_QUESTIONS} questions wait for the user already"
                ));
            }
            inner.next += 1;
            let id = format!("question-{}", inner.next);
            let question = Question {
                exec: exec.to_owned(),
                params,
                answer,
            };
            inner.open.insert(id.clone(), question);
            Open {
                questions: self,
                id,
            }
        };
        self.rung.notify_waiters();
        let decided = tokio::time::timeout(patience, decided).await;
        drop(open);
        match decided {
            Ok(Ok(decision)) => Ok(decision),
            Ok(Err(_)) | Err(_) => Err(format!(
                "the user has not answered within {} s",
                patience.as_secs()
            )),
        }
    }

    /// The questions about this exec that wait for an answer; resolves when there are some.
    pub async fn asked(&self, exec: &str) -> InputRequests {
        loop {
            let rung = self.rung.notified();
            let open = self.open(exec);
            if !open.is_empty() {
                return open;
            }
            rung.await;
        }
    }

    fn open(&self, exec: &str) -> InputRequests {
        let inner = self.lock();
        let own = inner.open.iter().filter(|(_, open)| open.exec == exec);
        own.map(|(id, open)| {
            let request = ElicitRequest::new(open.params.clone());
            (id.clone(), InputRequest::Elicitation(request))
        })
        .collect()
    }

    /// Answers a question; one that is not open any more needs no answer.
    pub fn answer(&self, id: &str, decision: Decision) {
        let question = self.lock().open.remove(id);
        if let Some(question) = question {
            // The call may have been cancelled meanwhile.
            let _ = question.answer.send(decision);
        }
    }
}

/// A question that is taken back when this is dropped.
struct Open<'a> {
    questions: &'a Questions,
    id: String,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.questions.lock().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn params() -> ElicitRequestParams {
        let form = serde_json::json!({
            "message": "May it?", "requestedSchema": {"type": "object", "properties": {}},
        });
        serde_json::from_value(form).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_is_asked_about_its_exec_and_answered_once() {
        let questions = Questions::default();
        let (decided, ()) = tokio::join!(questions.ask("exec-1", params(), PATIENCE), async {
            let asked = questions.asked("exec-1").await;
            let ids: Vec<&String> = asked.keys().collect();
            assert_eq!(ids, ["question-1"]);
            assert!(questions.open("exec-2").is_empty());
            questions.answer("question-1", Decision::Once);
            questions.answer("question-1", Decision::No);
        });
        assert_eq!(decided, Ok(Decision::Once));
        let late = questions.ask("exec-1", params(), PATIENCE).await;
        assert_eq!(late, Err("the user has not answered within 5 s".to_owned()));
        assert!(questions.open("exec-1").is_empty());
    }

    #[tokio::test]
    async fn no_more_questions_are_open_than_there_is_room_for() {
        let questions = Questions::default();
        let mut open = Vec::new();
        for _ in 0..MAX_QUESTIONS {
            let mut asking = Box::pin(questions.ask("exec-1", params(), PATIENCE));
            tokio::select! {
                biased;
                _ = &mut asking => panic!("nobody has answered"),
                () = std::future::ready(()) => {}
            }
            open.push(asking);
        }
        let refused = questions.ask("exec-1", params(), PATIENCE).await;
        assert_eq!(
            refused,
            Err("64 questions wait for the user already".to_owned())
        );
        drop(open);
        assert!(questions.open("exec-1").is_empty());
    }
}
