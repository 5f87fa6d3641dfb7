// SPDX-License-Identifier: Apache-2.0
//! What a session and the calls of its scripts share: who hears from which script, what the user is asked,
//! and what was put out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_api::{BoxFuture, CellId, ContentItem, RawJson, StateLost};
use code_mode_embed::Output;
use rmcp::model::{ContentBlock, InputRequests, InputResponses};

use crate::bounds::{DEFAULT_OUTPUT_BYTES, MAX_OUTPUT_BYTES};
use crate::consent;
use crate::front::Caller;
use crate::observer::{self, Observer};
use crate::output::{self, Kept};
use crate::prelude::Prelude;
use crate::questions::{Decision, Questions};
use crate::upstream::ProgressSink;

/// Texts for the client that no request is there to take; the oldest goes first.
const MAX_PENDING_NOTES: usize = 100;

/// Scripts without a final answer that a session remembers; the oldest goes first.
const MAX_REMEMBERED_SCRIPTS: usize = 256;

/// See the module.
pub struct SessionState {
    id: String,
    inner: Mutex<Inner>,
    questions: Questions,
}

#[derive(Default)]
struct Inner {
    /// The scripts without a final answer, oldest first.
    scripts: VecDeque<Script>,
    /// Who hears from the cell of which exec.
    observers: HashMap<String, (u64, Observer)>,
    next_observer: u64,
    /// The last client's end that was seen, to ask the user through.
    latest: Option<Observer>,
    pending: HashMap<String, VecDeque<String>>,
    kept: Kept,
    /// Tools that the user lets be called for the rest of the session.
    consented: HashSet<(String, String)>,
    /// The newest host whose loss was told.
    told_loss: u64,
}

/// A script without a final answer.
pub struct Script {
    exec: String,
    /// What stands in front of it.
    pub prelude: Prelude,
}

impl SessionState {
    /// The state of a session; `id` is told in the audit log.
    pub fn new(id: String) -> Self {
        Self {
            id,
            inner: Mutex::default(),
            questions: Questions::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `observer` hear from the exec's cell until what this gives is dropped.
    pub fn observe(self: &Arc<Self>, exec: &str, observer: Observer) -> Heard {
        let mut inner = self.lock();
        inner.next_observer += 1;
        let number = inner.next_observer;
        inner.latest = Some(observer.clone());
        inner.observers.insert(exec.to_owned(), (number, observer));
        Heard {
            state: Arc::clone(self),
            exec: exec.to_owned(),
            number,
        }
    }

    /// Remembers a script that was started.
    pub fn remember(&self, exec: String, prelude: Prelude) {
        let mut inner = self.lock();
        if inner.scripts.len() >= MAX_REMEMBERED_SCRIPTS
            && let Some(gone) = inner.scripts.pop_front()
        {
            inner.pending.remove(&gone.exec);
        }
        inner.scripts.push_back(Script { exec, prelude });
    }

    /// Notes that a script's final answer is handed out; gives the script the first time.
    pub fn end(&self, exec: &str) -> Option<Script> {
        let mut inner = self.lock();
        let at = inner.scripts.iter().position(|known| known.exec == exec)?;
        inner.pending.remove(exec);
        inner.scripts.remove(at)
    }

    /// The blocks of what a cell has put out, which is kept.
    pub fn blocks(&self, cell: &CellId, output: &Output, budget: Option<usize>) -> output::Blocks {
        let budget = budget.unwrap_or(DEFAULT_OUTPUT_BYTES).min(MAX_OUTPUT_BYTES);
        let items: Vec<&ContentItem> = output.items().collect();
        output::blocks(cell, &items, budget, &mut self.lock().kept)
    }

    /// At most `limit` bytes of what is kept of a cell's text from `offset` on, and the length of all of it.
    pub fn kept(&self, cell: &CellId, offset: usize, limit: usize) -> Option<(String, usize)> {
        let inner = self.lock();
        let (text, total) = inner.kept.read(cell, offset, limit)?;
        Some((text.to_owned(), total))
    }

    /// The cells whose text is kept, with its length.
    pub fn kept_cells(&self) -> Vec<(CellId, usize)> {
        let inner = self.lock();
        let cells = inner.kept.cells();
        cells.map(|(cell, bytes)| (cell.clone(), bytes)).collect()
    }

    /// The news that the host was lost before a script, the first time.
    pub fn loss(&self, lost: &StateLost, restored: bool) -> Option<ContentBlock> {
        let mut inner = self.lock();
        if inner.told_loss >= lost.lost_generation {
            return None;
        }
        inner.told_loss = lost.lost_generation;
        let values = match restored {
            true => "stored values were put back",
            false => "stored values are gone",
        };
        Some(ContentBlock::text(format!(
            "[The host was lost before this script ({}): running scripts are gone, {values}.]",
            lost.cause
        )))
    }

    /// The questions that wait for the user about this exec; resolves when there are some.
    pub async fn asked(&self, exec: &str) -> InputRequests {
        self.questions.asked(exec).await
    }

    /// What the user says to questions.
    pub fn answer(&self, responses: &InputResponses) {
        for (id, response) in responses {
            self.questions.answer(id, consent::answered(response));
        }
    }

    fn observer_of(&self, exec: &str) -> Option<Observer> {
        let inner = self.lock();
        inner
            .observers
            .get(exec)
            .map(|(_, observer)| observer.clone())
    }

    /// Tells the client what a script says; keeps it for the next request about its cell when there is
    /// none now.
    pub async fn notify(&self, exec: &str, text: String) {
        match self.observer_of(exec) {
            Some(observer) => observer.say(text).await,
            None => {
                let mut inner = self.lock();
                let pending = inner.pending.entry(exec.to_owned()).or_default();
                if pending.len() == MAX_PENDING_NOTES {
                    pending.pop_front();
                }
                pending.push_back(observer::cut(text));
            }
        }
    }

    /// Tells the client what a script has said while no request was there to take it.
    pub async fn deliver_pending(&self, exec: &str) {
        let pending = self.lock().pending.remove(exec).unwrap_or_default();
        let Some(observer) = self.observer_of(exec) else {
            return;
        };
        for text in pending {
            observer.say(text).await;
        }
    }
}

impl Caller for SessionState {
    fn id(&self) -> &str {
        &self.id
    }

    fn progress_of(self: Arc<Self>, exec: &str, server: &str) -> ProgressSink {
        let state = Arc::downgrade(&self);
        let (exec, server) = (exec.to_owned(), server.to_owned());
        Arc::new(move |text| {
            let observer = state.upgrade().and_then(|state| state.observer_of(&exec));
            if let Some(observer) = observer {
                observer.progress_soon(format!("{server}: {text}"));
            }
        })
    }

    fn ask_consent<'a>(
        &'a self,
        exec: &'a str,
        server: &'a str,
        tool: &'a str,
        input: &'a RawJson,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let key = (server.to_owned(), tool.to_owned());
            let observer = {
                let inner = self.lock();
                if inner.consented.contains(&key) {
                    return Ok(());
                }
                let own = inner.observers.get(exec).map(|(_, own)| own.clone());
                own.or_else(|| inner.latest.clone())
            };
            let observer = observer.ok_or("there is nobody to ask")?;
            let asking = consent::ask(&observer, &self.questions, exec, server, tool, input);
            match asking.await? {
                Decision::Once => Ok(()),
                Decision::Session => {
                    self.lock().consented.insert(key);
                    Ok(())
                }
                Decision::No => Err("the user did not agree".to_owned()),
            }
        })
    }
}

/// An observer that hears; dropped when its request is over.
pub struct Heard {
    state: Arc<SessionState>,
    exec: String,
    number: u64,
}

impl Drop for Heard {
    fn drop(&mut self) {
        let mut inner = self.state.lock();
        // A later request may have taken over.
        if inner
            .observers
            .get(&self.exec)
            .is_some_and(|(number, _)| *number == self.number)
        {
            inner.observers.remove(&self.exec);
        }
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;
    use crate::prelude;

    fn state() -> SessionState {
        SessionState::new("s".to_owned())
    }

    fn remember(state: &SessionState, number: usize) {
        let (_, prelude) = prelude::prepare("");
        state.remember(format!("exec-{number}"), prelude);
    }

    #[tokio::test]
    async fn what_nobody_hears_is_kept_for_the_next_request_and_bounded() {
        let state = state();
        remember(&state, 1);
        for number in 0..MAX_PENDING_NOTES + 2 {
            state.notify("exec-1", number.to_string()).await;
        }
        let inner = state.lock();
        let pending = &inner.pending["exec-1"];
        assert_eq!(pending.len(), MAX_PENDING_NOTES);
        assert_eq!(pending.front().map(String::as_str), Some("2"));
    }

    #[tokio::test]
    async fn no_more_scripts_are_remembered_than_there_is_room_for() {
        let state = state();
        remember(&state, 0);
        state.notify("exec-0", "text".to_owned()).await;
        remember(&state, 1);
        state.notify("exec-1", "text".to_owned()).await;
        assert!(state.end("exec-1").is_some());
        assert!(state.end("exec-1").is_none());
        for number in 2..=MAX_REMEMBERED_SCRIPTS + 1 {
            remember(&state, number);
        }
        let inner = state.lock();
        assert_eq!(inner.scripts.len(), MAX_REMEMBERED_SCRIPTS);
        assert!(inner.scripts.iter().all(|script| script.exec != "exec-0"));
        assert!(inner.pending.is_empty());
    }
}
