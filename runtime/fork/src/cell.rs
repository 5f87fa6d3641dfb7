// SPDX-License-Identifier: Apache-2.0
//! The process of one cell: one script, one thread, one stream to the host.
//!
//! Whatever a helper has told the host has left this process when the helper returns; so it is kept,
//! however the process ends. Where a thread would be told to stop and unwind, this process says why and
//! ends.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use code_mode_api::{ContentItem, ToolDefinition, ToolKind};
use code_mode_engine::limits::EffectiveLimits;
use code_mode_engine::platform::LastWords;
use code_mode_engine::typescript::TypeScriptError;
use code_mode_engine::{
    Bound, Ended, ReadyIsolate, ScriptOptions, Stop, StopCause, ToolAnswer, ToolCall, ToolTable,
    World, limit_text,
};

use crate::channel;
use crate::confine::Cage;
use crate::contained;
use crate::life;
use crate::probe;
use crate::stream::{self, STREAM, Stream};
use crate::wire::{DeathNote, OfferedTool, Run, ToCell, tell};

/// Closes all descriptors but this one, which becomes the stream's, and where there is no confinement
/// standard error, to which debuggers' tools report.
///
/// # Errors
/// When the kernel refuses, after which the process is of no use.
pub(crate) fn keep_only(stream: OwnedFd, cage: &Cage) -> io::Result<Stream> {
    const FIRST: libc::c_uint = STREAM.cast_unsigned() + 1;
    const KEPT: libc::c_uint = libc::STDERR_FILENO.cast_unsigned();
    // SAFETY: these calls take descriptors and flags only. Whoever owns the ones that are closed does
    // not use them again: this process does nothing else from now on.
    let kept = unsafe {
        libc::dup2(stream.as_raw_fd(), STREAM) == STREAM
            && if cage.is_open() {
                libc::close_range(FIRST, KEPT - 1, 0) == 0
                    && libc::close_range(KEPT + 1, libc::c_uint::MAX, 0) == 0
            } else {
                libc::close_range(FIRST, libc::c_uint::MAX, 0) == 0
            }
    };
    let error = io::Error::last_os_error();
    // It was closed above, by number.
    std::mem::forget(stream);
    if kept { Ok(Stream::new()) } else { Err(error) }
}

/// Says why this process is of no use, and ends it.
pub(crate) fn refuse(reason: &str) -> ! {
    stream::say(|to| tell::note(to, &DeathNote::Unprepared(reason.to_owned())));
    life::end(1)
}

/// Whose script a process runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// One of our own, which has this process do once all that a client's will have it do.
    Ours,
    /// The client's, the last thing that the process does.
    Clients,
}

/// Waits for the one script, runs it and ends the process.
pub(crate) fn run(mut isolate: ReadyIsolate, stream: Stream) -> ! {
    play(&mut isolate, stream, Whose::Clients);
    stream::leave()
}

/// Plays the whole part of a cell once, with the process itself as its host: whatever a cell does first is
/// slow, because the memory that it needs is only then mapped or copied.
///
/// # Errors
/// When the script fails or a socket cannot be had.
pub(crate) fn rehearse(isolate: &mut ReadyIsolate, run: &Run, answers: u64) -> Result<(), String> {
    let failed = |error: io::Error| format!("Failed to rehearse: {error}");
    let (host, cell) = channel::stream_pair().map_err(failed)?;
    // The answers are there before the calls are made, since nobody else could give them.
    let mut bytes = Vec::new();
    ToCell::Run(Box::new(run.clone())).encode(&mut bytes);
    for call in 1..=answers {
        let result = Ok(Box::from("1"));
        ToCell::Answer(ToolAnswer { call, result }).encode(&mut bytes);
    }
    rustix::io::write(&host, &bytes).map_err(|error| failed(error.into()))?;
    // SAFETY: the descriptor of the stream belongs to nobody in this process yet.
    if unsafe { libc::dup2(cell.as_raw_fd(), STREAM) } != STREAM {
        return Err(failed(io::Error::last_os_error()));
    }
    match play(isolate, Stream::new(), Whose::Ours) {
        Ended::Completed { error_text: None } => Ok(()),
        ended => Err(format!("the rehearsal of a cell failed: {ended:?}")),
    }
}

/// Takes a script from the stream and runs it.
fn play(isolate: &mut ReadyIsolate, mut stream: Stream, whose: Whose) -> Ended {
    let run = match stream.receive(None) {
        Some(ToCell::Run(run)) => run,
        // The host has no use for this process any more.
        _ => life::end(0),
    };
    let Run {
        source,
        limits,
        answer_spin,
        options,
        tools,
        stored,
    } = *run;
    stream.stay_awake_for(answer_spin);
    stream::keep_reserve();
    if whose == Whose::Clients {
        isolate.lower_heap_bound(limits.heap_bytes);
    }
    if let Err(reason) = seed(isolate) {
        refuse(&reason);
    }
    let Some(tools) = table(tools) else {
        refuse("the host offers tools that it has not checked");
    };
    let world = Rc::new(CellWorld {
        limits,
        options,
        stopper: Arc::new(EndOfProcess),
        own: RefCell::default(),
        all_known: stored.is_some(),
        known: RefCell::new(
            stored
                .into_iter()
                .flatten()
                .map(|(key, value)| (key, Some(Arc::from(value))))
                .collect(),
        ),
        stream: RefCell::new(stream),
        answers: RefCell::default(),
    });
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match whose {
        Whose::Ours => isolate.warm_up(world, tools, &source),
        Whose::Clients => isolate.run(world, tools, &source),
    }));
    let ended =
        ended.unwrap_or_else(|panic| Ended::Panicked(code_mode_engine::panic_message(&*panic)));
    match &ended {
        Ended::Completed { error_text } => {
            stream::say(|to| tell::end(to, error_text.as_deref()));
        }
        Ended::Panicked(message) => {
            stream::say(|to| tell::note(to, &DeathNote::Panicked(message.clone())));
        }
    }
    ended
}

/// Gives the isolate's generators of random numbers a seed that no other cell has.
pub(crate) fn seed(isolate: &mut ReadyIsolate) -> Result<(), String> {
    let mut seed = [0; 8];
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| format!("Failed to get a seed from the kernel: {error}"))?;
    isolate.seed(i64::from_le_bytes(seed));
    Ok(())
}

/// The table of tools of which only the names are known here; the host has checked them all.
fn table(tools: Vec<OfferedTool>) -> Option<ToolTable> {
    let tools = tools
        .into_iter()
        .map(|OfferedTool { name, tool_name }| ToolDefinition {
            name,
            tool_name,
            description: String::new(),
            kind: ToolKind::Function,
            input_schema: None,
            output_schema: None,
        })
        .collect();
    ToolTable::new(tools, usize::MAX, usize::MAX).ok()
}

/// Tells the host why V8 ends this process.
pub(crate) fn leave_last_words(words: LastWords<'_>) {
    match words {
        LastWords::OutOfMemory {
            location, detail, ..
        } => stream::say_short(|to| {
            let at = if detail.is_empty() { location } else { detail };
            tell::note(to, &DeathNote::OutOfMemory(at.to_owned()));
        }),
        LastWords::Broken {
            file,
            line,
            message,
        } => stream::say_short(|to| {
            let text = if file.is_empty() {
                message.to_owned()
            } else {
                format!("{message} ({file}:{line})")
            };
            tell::note(to, &DeathNote::Broken(text));
        }),
    }
    life::end(1)
}

/// What the script reaches: all of it over the stream.
struct CellWorld {
    limits: EffectiveLimits,
    options: ScriptOptions,
    stopper: Arc<EndOfProcess>,
    /// What the script has stored.
    own: RefCell<HashMap<String, Arc<str>>>,
    /// Stored values of the session as far as they are known here; `None` for a key that there is not.
    known: RefCell<HashMap<String, Option<Arc<str>>>>,
    /// Whether `known` holds every stored value.
    all_known: bool,
    stream: RefCell<Stream>,
    /// Answers that came while something else was waited for.
    answers: RefCell<VecDeque<ToolAnswer>>,
}

impl CellWorld {
    /// Takes messages until one is the wanted answer; those of tools are kept.
    fn wait_for<T>(&self, wanted: impl Fn(ToCell) -> Result<T, ToCell>) -> T {
        loop {
            let Some(message) = self.stream.borrow_mut().receive(None) else {
                // The host is gone, and with it all that this process is for.
                life::end(0)
            };
            match wanted(message) {
                Ok(answer) => return answer,
                Err(ToCell::Answer(answer)) => self.answers.borrow_mut().push_back(answer),
                Err(_) => refuse("the host answers what was not asked"),
            }
        }
    }
}

impl World for CellWorld {
    fn limits(&self) -> &EffectiveLimits {
        &self.limits
    }

    fn options(&self) -> ScriptOptions {
        self.options
    }

    fn without_types(&self, source: &str) -> Result<String, TypeScriptError> {
        contained::read_typescript(source)
    }

    fn stopper(&self) -> Arc<dyn Stop> {
        Arc::clone(&self.stopper) as _
    }

    fn stop_cause(&self) -> Option<StopCause> {
        // This process ends where a thread would begin to stop.
        None
    }

    fn output(&self, item: ContentItem) -> Result<(), Bound> {
        // The host counts, since it has the observers: what is over a bound is not kept, and ends the
        // cell before anything that follows is acted on.
        stream::say_with(|to| tell::output(to, &item));
        Ok(())
    }

    fn call(&self, call: ToolCall) {
        stream::say_with(|to| tell::call(to, &call));
    }

    fn abandon(&self, call: u64) {
        // The answer may lie here already; the script then finds nobody who waits for it.
        stream::say(|to| tell::abandon(to, call));
    }

    fn notify(&self, call: u64, text: String) -> Result<(), Bound> {
        stream::say_with(|to| tell::notify(to, call, &text));
        Ok(())
    }

    fn yield_control(&self) {
        stream::say(tell::yield_control);
    }

    fn load(&self, key: &str) -> Option<Arc<str>> {
        if let Some(answer) = probe::answer(key) {
            return Some(answer);
        }
        if let Some(value) = self.own.borrow().get(key) {
            return Some(Arc::clone(value));
        }
        if let Some(value) = self.known.borrow().get(key) {
            return value.clone();
        }
        if self.all_known {
            return None;
        }
        stream::say(|to| tell::load(to, key));
        let value = self.wait_for(|message| match message {
            ToCell::Stored(value) => Ok(value.map(Arc::from)),
            other => Err(other),
        });
        self.known
            .borrow_mut()
            .insert(key.to_owned(), Option::clone(&value));
        value
    }

    fn save(&self, key: String, value: Arc<str>) -> Result<(), Bound> {
        // As with output, the host counts.
        stream::say_with(|to| tell::save(to, &key, &value));
        self.own.borrow_mut().insert(key, value);
        Ok(())
    }

    fn tool_descriptions(&self) -> Vec<String> {
        stream::say(tell::describe);
        self.wait_for(|message| match message {
            ToCell::Descriptions(descriptions) => Ok(descriptions),
            other => Err(other),
        })
    }

    fn inbox(&self, until: Option<Instant>) -> VecDeque<ToolAnswer> {
        let mut answers = std::mem::take(&mut *self.answers.borrow_mut());
        let mut stream = self.stream.borrow_mut();
        // Everything that is there already, or the first that comes.
        let mut wait_until = if answers.is_empty() {
            until
        } else {
            Some(Instant::now())
        };
        loop {
            match stream.receive_until(wait_until) {
                Ok(Some(ToCell::Answer(answer))) => answers.push_back(answer),
                Ok(Some(_)) => refuse("the host answers what was not asked"),
                Ok(None) => return answers,
                Err(_) => life::end(0),
            }
            wait_until = Some(Instant::now() - Duration::from_nanos(1));
        }
    }
}

/// Stops the script by ending its process, once the reason is told.
struct EndOfProcess;

impl Stop for EndOfProcess {
    fn stop(&self, cause: StopCause) {
        match cause {
            StopCause::Exit | StopCause::Terminated => stream::say(|to| tell::end(to, None)),
            StopCause::Limit(limit, maximum) => {
                stream::say_short(|to| tell::end(to, Some(&limit_text(limit, maximum))));
            }
            StopCause::Panic(message) => {
                stream::say(|to| tell::note(to, &DeathNote::Panicked(message)));
            }
        }
        stream::leave()
    }
}
