// SPDX-License-Identifier: Apache-2.0
//! Cells as processes: one task for each, which does for its cell what the process says.
//!
//! The task trusts nothing: it checks and counts all that it is told before it acts on it, and a process
//! that says what it should not is killed. What a cell had said up to then is kept, however it ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use code_mode_api::SideEffects;
use code_mode_engine::{Bound, StopCause, ToolCall, ToolTable, limit_text};
use code_mode_fork::{
    Child, DeathNote, Exit, FromCell, KernelCall, Link, LinkError, LinkReader, Nursery,
    OfferedTool, Run, ToCell,
};
use serde_json::value::RawValue;
use tracing::Instrument;

use crate::cell::Cell;
use crate::job::Job;
use crate::limits::{MAX_ERROR_TEXT_BYTES, RUN_STORE_BYTES};
use crate::reach::Reach;
use crate::store::{Snapshot, Writes};
use crate::timing;

/// How much longer than [`MAX_ERROR_TEXT_BYTES`] an error text with its hint may be, bytes.
const HINT_BYTES: usize = 64 << 10;

/// How long the process of a cell that has ended well is left alone: to end it takes a processor away that
/// whoever waits for the result may need just then.
const LINGER: Duration = Duration::from_millis(1);

/// How much longer the task of a cell stays awake for its process than a cell does for a tool.
const AWAKE_FACTOR: u32 = 4;

/// The processes of one runtime's cells.
pub(crate) struct Forks {
    nursery: Nursery,
    handle: tokio::runtime::Handle,
}

impl Forks {
    pub(crate) fn new(nursery: Nursery, handle: tokio::runtime::Handle) -> Arc<Self> {
        Arc::new(Self { nursery, handle })
    }

    /// Runs a job in a process of its own: one that is ready gets it here and now.
    pub(crate) fn run(self: &Arc<Self>, mut job: Job) {
        let _tokio = self.handle.enter();
        let begun =
            self.nursery
                .take()
                .and_then(|child| match Conversation::begin(child, &mut job) {
                    Ok(conversation) => Some(conversation),
                    Err(error) => {
                        let cell = job.cell.cell();
                        tracing::warn!(
                            session = %cell.session_id, cell = %cell.id,
                            exec_call = cell.exec_call_id, %error,
                            "a process that was ready cannot be used"
                        );
                        None
                    }
                });
        let within = job.within.clone();
        let begun = match begun {
            Some(conversation) => Ok(Running { conversation, job }),
            None => Err(job),
        };
        let forks = Arc::clone(self);
        let running = async move {
            match begun {
                Ok(running) => forks.finish(running).await,
                Err(job) => forks.run_at_need(job).await,
            }
        };
        self.handle.spawn(running.instrument(within));
    }

    /// Has children born until as many are ready as there should be.
    pub(crate) fn refill(&self) {
        self.nursery.refill();
    }

    /// Runs a job in a process that is born for it.
    async fn run_at_need(&self, mut job: Job) {
        let born = tokio::select! {
            born = self.nursery.birth() => born.map_err(|error| error.to_string()),
            () = stopped(job.cell.cell()) => Err("it was stopped before it had a process".to_owned()),
        };
        let begun = born.and_then(|child| {
            Conversation::begin(child, &mut job)
                .map_err(|error| format!("Failed to reach its process: {error}"))
        });
        match begun {
            Ok(conversation) => self.finish(Running { conversation, job }).await,
            Err(cause) => {
                let cell = job.cell.cell();
                if cell.stop_cause().is_none() {
                    tracing::warn!(
                        session = %cell.session_id, cell = %cell.id,
                        exec_call = cell.exec_call_id, cause, "a cell has never run"
                    );
                }
                job.cell.never_born(cause);
            }
        }
    }

    /// Goes on with a cell until its process is reaped.
    async fn finish(&self, mut running: Running) {
        let Running { conversation, job } = &mut running;
        drop(std::mem::replace(&mut job.queued, tracing::Span::none()));
        let cell = Arc::clone(job.cell.cell());
        let _span = timing::cell(&cell);
        let end = conversation.listen(&cell, &job.tools).await;
        let linger = match &end {
            End::Script(_) if cell.stop_cause().is_none() => LINGER,
            _ => Duration::ZERO,
        };
        let link = Arc::clone(&conversation.link);
        cell.script_ended();
        conversation.writes.commit();
        // The result does not wait for the process to be gone, unless how it went is the result.
        let mut exit = None;
        {
            let reaped = part(&link, linger);
            let settled = settled(&cell);
            tokio::pin!(reaped, settled);
            loop {
                tokio::select! {
                    biased;
                    () = &mut settled => break,
                    how = &mut reaped, if exit.is_none() => exit = Some(how),
                }
            }
        }
        if exit.is_none() && matches!(end, End::Silence) {
            exit = Some(part(&link, linger).await);
        }
        let error_text = match cell.stop_cause() {
            Some(StopCause::Limit(limit, maximum)) => Some(limit_text(limit, maximum)),
            Some(_) => None,
            None => {
                let (error_text, abnormal) = end.tell(exit.as_ref());
                if abnormal {
                    tracing::error!(
                        session = %cell.session_id, cell = %cell.id, exec_call = cell.exec_call_id,
                        error = error_text, "the process of a cell failed"
                    );
                    self.nursery.died_abnormally(&link);
                }
                error_text
            }
        };
        cell.finished(error_text);
        if exit.is_none()
            && let Err(error) = part(&link, linger).await
        {
            tracing::warn!(
                session = %cell.session_id, cell = %cell.id, exec_call = cell.exec_call_id,
                %error, "the process of a cell was not reaped"
            );
        }
        let Running { conversation, job } = running;
        drop(conversation);
        job.cell.reaped();
    }
}

/// A cell and its process. Wherever this is dropped, the process is gone before the cell's seat is given back.
struct Running {
    // What stands first is dropped first.
    conversation: Conversation,
    job: Job,
}

/// Ends a process after a while, and reaps it. Nothing that it might still do is wanted.
async fn part(link: &Link, linger: Duration) -> std::io::Result<Exit> {
    if !linger.is_zero() {
        tokio::time::sleep(linger).await;
    }
    link.process().kill();
    link.reap().await
}

/// Resolves when the cell is to be stopped.
async fn stopped(cell: &Cell) {
    while cell.stop_cause().is_none() {
        cell.mailbox.rung().await;
    }
}

/// Resolves when the cell's notifications are delivered, or were waited for long enough.
async fn settled(cell: &Cell) {
    let until = Instant::now() + cell.runtime.config.notification_grace;
    let grace = tokio::time::sleep_until(until.into());
    tokio::pin!(grace);
    while !cell.is_settled() {
        tokio::select! {
            () = cell.mailbox.rung() => {}
            () = &mut grace => return,
        }
    }
}

/// What a cell's process said last.
enum End {
    /// The script has ended: its error text.
    Script(Option<String>),
    /// A bound was reached that is counted here.
    Bound(Bound),
    /// The process ended itself and said why.
    Note(DeathNote),
    /// The process ended without a word.
    Silence,
    /// The process said what none says.
    Nonsense(String),
}

impl End {
    /// The error text that the end gives, and whether it is one that should not be. Where the process was lost
    /// amid its work, the text says as well that the script may have acted, as errors of operations do: this is
    /// a result, which has no field for it.
    fn tell(self, exit: Option<&std::io::Result<Exit>>) -> (Option<String>, bool) {
        let lost = |what: String| {
            let side_effects = SideEffects::Possible;
            Some(format!(
                "{what}; the cell was ended (side effects: {side_effects})"
            ))
        };
        let failed = |what: String| (lost(format!("ProcessError: {what}")), true);
        match self {
            Self::Script(error_text) => (error_text, false),
            Self::Bound((limit, maximum)) => (Some(limit_text(limit, maximum)), false),
            Self::Note(DeathNote::OutOfMemory(place)) => {
                let what = format!("LimitError: the cell's process has no memory left ({place})");
                (lost(what), false)
            }
            Self::Note(DeathNote::Broken(message)) => failed(format!("V8 gave up: {message}")),
            Self::Note(DeathNote::Panicked(message)) => failed(format!("it panicked: {message}")),
            Self::Note(DeathNote::Forbidden(number)) => failed(format!(
                "it made a call into the kernel that is forbidden ({})",
                KernelCall(number)
            )),
            Self::Note(DeathNote::Aborted) => {
                failed("it aborted, as a process does that finds no memory".to_owned())
            }
            Self::Note(DeathNote::Unprepared(reason)) => {
                failed(format!("it could not be prepared: {reason}"))
            }
            Self::Silence => failed(match exit {
                Some(Ok(Exit::Signal(libc::SIGKILL))) => {
                    "it was killed (SIGKILL), perhaps because the machine has no memory left"
                        .to_owned()
                }
                Some(Ok(Exit::Signal(libc::SIGSYS))) => "it made a call into the kernel that is \
                     forbidden, with its signals blocked, so which one is not known"
                    .to_owned(),
                Some(Ok(exit)) => format!("it ended with {exit}"),
                Some(Err(error)) => format!("it ended, and how is not known: {error}"),
                None => "it ended, and how is not known".to_owned(),
            }),
            Self::Nonsense(what) => failed(what),
        }
    }
}

/// What goes back and forth between a cell and its process.
struct Conversation {
    link: Arc<Link>,
    reader: LinkReader,
    /// The session's values when the cell began.
    stored: Snapshot,
    /// What the script has stored.
    writes: Writes,
    /// The number of the last call or notification.
    last_call: u64,
    /// Tool calls so far.
    tool_calls: u64,
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.link.process().end();
    }
}

impl Conversation {
    /// Gives a child its script, which it takes from the job.
    fn begin(child: Child, job: &mut Job) -> std::io::Result<Self> {
        let cell = job.cell.cell();
        let (link, mut reader) = child.link()?;
        let link = Arc::new(link);
        let limits = &cell.limits;
        let longest = limits
            .value_bytes
            .max(limits.output_bytes)
            .max(limits.stored_value_bytes);
        // A short script takes longer than a fast tool.
        reader.set_bounds(longest, AWAKE_FACTOR * cell.runtime.config.answer_spin);
        let stored = cell.store.snapshot();
        let few = cell.store.bytes() <= RUN_STORE_BYTES;
        cell.mailbox.deliver_to(&link);
        cell.begins(Reach::process(Arc::clone(&link)));
        let tools = job.tools.tools().iter();
        link.send(&ToCell::Run(Box::new(Run {
            source: std::mem::take(&mut job.source),
            limits: limits.clone(),
            answer_spin: cell.runtime.config.answer_spin,
            options: cell.options,
            tools: tools
                .map(|tool| OfferedTool {
                    name: tool.name.clone(),
                    tool_name: tool.tool_name.clone(),
                })
                .collect(),
            stored: few.then(|| {
                let pairs = stored.iter();
                pairs
                    .map(|(key, value)| (key.clone(), value.to_string()))
                    .collect()
            }),
        })));
        Ok(Self {
            link,
            reader,
            stored,
            writes: Writes::new(&cell.store),
            last_call: 0,
            tool_calls: 0,
        })
    }

    /// Does what the process says until it ends, one way or another.
    async fn listen(&mut self, cell: &Arc<Cell>, tools: &ToolTable) -> End {
        loop {
            // While the script waits for a tool, whoever answers needs the processor more.
            let soon = cell.open_calls() == 0 && cell.runtime.has_idle_processors();
            let message = match self.reader.next(&self.link, soon).await {
                Ok(Some(message)) => message,
                Ok(None) => return End::Silence,
                Err(error @ (LinkError::Nonsense(_) | LinkError::TooLong { .. })) => {
                    return End::Nonsense(error.to_string());
                }
                Err(error @ LinkError::Stream(_)) => {
                    tracing::warn!(
                        session = %cell.session_id, cell = %cell.id,
                        exec_call = cell.exec_call_id, %error, "the stream of a cell failed"
                    );
                    return End::Silence;
                }
            };
            // What was said before a stop is kept, but nothing is begun any more.
            let begins_nothing = matches!(
                message,
                FromCell::Output(_) | FromCell::Save(..) | FromCell::Notify(..)
            );
            if cell.stop_cause().is_some() && !begins_nothing {
                continue;
            }
            if let Err(end) = self.act(cell, tools, message) {
                return end;
            }
            // A client that does not read makes this cell wait, and with it nobody else.
            while let Some(room) = cell.room() {
                room.await;
            }
        }
    }

    fn act(&mut self, cell: &Arc<Cell>, tools: &ToolTable, message: FromCell) -> Result<(), End> {
        match message {
            FromCell::Output(item) => cell.output(item).map_err(End::Bound),
            FromCell::Call(call) => self.call(cell, tools, call),
            FromCell::Abandon(call) => {
                // One that was answered meanwhile, or that there never was, is nobody's.
                cell.abandon(call);
                Ok(())
            }
            FromCell::Notify(call, text) => {
                self.number(call)?;
                let maximum = cell.limits.value_bytes;
                check(
                    text.len() as u64 <= maximum,
                    "a notification that is too long",
                )?;
                check(!text.trim().is_empty(), "a blank notification")?;
                cell.notify(call, text).map_err(End::Bound)
            }
            FromCell::Yield => {
                cell.yield_control();
                Ok(())
            }
            FromCell::Save(key, value) => {
                check(is_json(&value), "a stored value that is no JSON")?;
                self.writes.put(key, Arc::from(value)).map_err(End::Bound)
            }
            FromCell::Load(key) => {
                let value = self.stored.get(&key).map(|value| value.to_string());
                self.link.send(&ToCell::Stored(value));
                Ok(())
            }
            FromCell::Describe => {
                let tools = tools.tools().iter();
                let descriptions = tools.map(|tool| tool.description.clone()).collect();
                self.link.send(&ToCell::Descriptions(descriptions));
                Ok(())
            }
            FromCell::End(error_text) => {
                let length = error_text.as_ref().map_or(0, String::len);
                check(
                    length <= MAX_ERROR_TEXT_BYTES + HINT_BYTES,
                    "an error text that is too long",
                )?;
                Err(End::Script(error_text))
            }
            FromCell::Note(note) => Err(End::Note(note)),
        }
    }

    fn call(&mut self, cell: &Arc<Cell>, tools: &ToolTable, call: ToolCall) -> Result<(), End> {
        self.number(call.call)?;
        self.tool_calls += 1;
        check(call.number == self.tool_calls, "a call out of turn")?;
        let limits = &cell.limits;
        check(
            self.tool_calls <= limits.total_tool_calls
                && (cell.open_calls() as u64) < limits.open_tool_calls,
            "more tool calls than it may make",
        )?;
        check(
            call.input.len() as u64 <= limits.value_bytes,
            "a tool's input that is too long",
        )?;
        let tool = tools.tool(call.tool);
        let tool = tool.ok_or_else(|| nonsense("the call of a tool that there is not"))?;
        check(is_json(&call.input), "a tool's input that is no JSON")?;
        cell.invoke(call, tool);
        Ok(())
    }

    /// Takes note of the number of a call; they count up.
    fn number(&mut self, call: u64) -> Result<(), End> {
        check(call > self.last_call, "a call with a number from before")?;
        self.last_call = call;
        Ok(())
    }
}

fn check(holds: bool, otherwise: &str) -> Result<(), End> {
    if holds {
        Ok(())
    } else {
        Err(nonsense(otherwise))
    }
}

fn nonsense(what: &str) -> End {
    End::Nonsense(format!("it sent {what}"))
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}
