// SPDX-License-Identifier: Apache-2.0
//! Scripts of ours that have V8, ICU and the allocator do once what most scripts need.
//!
//! The zygote runs one before it forks children ahead of need: what it makes is shared by all cells. A confined cell can
//! open no file, and neither can the zygote once it is locked in, so what the scripts need of files is read before that.
//! Each child that nobody waits for runs another script before it has a client: the page faults of a first run take
//! longer than the run itself.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use code_mode_api::{CellLimits, ContentItem, Globals, ToolDefinition, ToolKind, ToolName};
use code_mode_engine::limits::{self, EffectiveLimits};
use code_mode_engine::typescript::TypeScriptError;
use code_mode_engine::{
    Bound, Ended, ReadyIsolate, ScriptOptions, Stop, StopCause, ToolAnswer, ToolCall, ToolTable,
    World,
};

use crate::cell;
use crate::wire::{OfferedTool, Run};

/// What has V8 and ICU read files: the time zone of the machine. Locales are in the program.
const READ_FILES: &str = "new Date(0).getTimezoneOffset();";

/// What the zygote does once. Nothing is left in the globals: it is all within functions.
const ZYGOTE: &str = r#"
const now = new Date(0);
now.toString(); now.toLocaleString(); now.toLocaleDateString('de'); now.getTimezoneOffset();
new Intl.DateTimeFormat('en', { dateStyle: 'full', timeStyle: 'long', timeZone: 'UTC' }).format(now);
new Intl.DateTimeFormat().resolvedOptions().timeZone;
new Intl.NumberFormat('en').format(1234.5); (1234.5).toLocaleString();
new Intl.Collator('en').compare('a', 'b'); 'a'.localeCompare('b');
new Intl.PluralRules('en').select(1); new Intl.ListFormat('en').format(['a', 'b']);
[...new Intl.Segmenter('en', { granularity: 'word' }).segment('a b')];
'é'.normalize('NFD'); 'ß'.toUpperCase(); 'A'.toLocaleLowerCase('tr');
JSON.parse(JSON.stringify({ a: [1, 'b', null, true, { c: 1.5 }] }));
new Uint8Array(16).fill(1).map(x => x + 1); new Float64Array(4).sort(); new ArrayBuffer(8).slice(1);
[3, 1, 2].sort((a, b) => a - b).map(x => x * 2).filter(Boolean).reduce((a, b) => a + b, 0);
new Map([[1, 2]]); new Set([1]); new WeakMap(); Object.entries({ a: 1 }); Symbol('s');
/(\d+)-(?<name>\w+)/u.exec('12-ab'); 'a-b'.replace(/-/g, '+').split('+'); `${1 + 1}`.padStart(4);
10n ** 20n; Math.random(); parseInt('7'); (0.1).toFixed(2);
try { null.x } catch (error) { String(error.stack) }
class A { #x = 1; get x() { return this.#x } } new A().x;
const f = async (n) => { await null; return n }; await Promise.all([f(1), f(2)]);
await Promise.allSettled([Promise.reject(new Error('e'))]);
function* g() { yield 1 } [...g()];
"#;

/// What the zygote does once in the context with the web's globals.
const WEB: &str = r#"
const url = new URL('../b?x=1#y', 'https://exämple.org/a/'); url.searchParams.append('z', 'ä');
text(url.href); text(new URLSearchParams({ a: 1 }).toString());
text(new TextDecoder().decode(new TextEncoder().encode('ä')));
text(atob(btoa('a')) + crypto.randomUUID() + performance.now());
text(structuredClone({ a: [1, new Date(0), new Map([[1, new Set([2])]])] }));
const controller = new AbortController();
await Promise.allSettled([tools.warm_up({}, { signal: controller.signal })]); controller.abort();
await new Promise((done) => queueMicrotask(done)); clearInterval(setInterval(() => {}, 1));
console.log('%s', 1, { a: 1 });
delete tools.warm_up;
"#;

/// What each child does once: what nearly every script does.
const CELL: &str = r#"
const all = await Promise.all([1, 2].map(n => tools.warm_up({ n, a: [1] })));
for (const answer of all) text(`${answer}`);
text({ a: [1, 2] }); store('k', [1]); load('k'); Math.random();
text(all.map(x => x * 2).join() + JSON.stringify({ a: JSON.parse('[1]') }));
delete tools.warm_up;
"#;

/// Whether scripts see the time zone that was asked for, which `wanted` holds.
pub(crate) const TIME_ZONE_CHECK: &str = r#"
const of = (zone) => new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone;
if (of(wanted) !== of(undefined)) throw new RangeError(`the time zone is ${of(undefined)}, not ${wanted}`);
"#;

/// The same of the locale.
pub(crate) const LOCALE_CHECK: &str = r#"
const of = (locale) => new Intl.NumberFormat(locale).resolvedOptions().locale;
if (!Intl.NumberFormat.supportedLocalesOf(wanted).length) throw new RangeError(`unknown locale ${wanted}`);
if (of(wanted) !== of(undefined)) throw new RangeError(`the locale is ${of(undefined)}, not ${wanted}`);
"#;

/// The tool that it calls.
const TOOL: &str = "warm_up";

/// The calls that [`CELL`] makes.
const CALLS: u64 = 2;

/// Reads what scripts need of files.
pub(crate) fn read_files(isolate: &mut ReadyIsolate) -> Result<(), String> {
    run(isolate, Globals::Contract, READ_FILES)
}

/// Prepares the zygote's isolate.
pub(crate) fn zygote(isolate: &mut ReadyIsolate) -> Result<(), String> {
    run(isolate, Globals::Contract, ZYGOTE)?;
    run(isolate, Globals::Contract, CELL)?;
    isolate.prepare_web();
    run(isolate, Globals::Web, WEB)?;
    run(isolate, Globals::Web, CELL)
}

/// Runs one of the checks above.
pub(crate) fn check(isolate: &mut ReadyIsolate, check: &str, wanted: &str) -> Result<(), String> {
    run(
        isolate,
        Globals::Contract,
        &format!("const wanted = {wanted:?};{check}"),
    )
}

/// Prepares a child's copy of it, in its own process: the child plays a cell's whole part.
pub(crate) fn cell(isolate: &mut ReadyIsolate) -> Result<(), String> {
    let run = Run {
        source: CELL.to_owned(),
        limits: limits(),
        answer_spin: Duration::ZERO,
        options: ScriptOptions::default(),
        tools: vec![OfferedTool {
            name: TOOL.to_owned(),
            tool_name: tool_name(),
        }],
        stored: Some(Vec::new()),
    };
    cell::rehearse(isolate, &run, CALLS)
}

fn limits() -> EffectiveLimits {
    EffectiveLimits::of_operator(
        &CellLimits::default(),
        limits::DEFAULT_MAX_VALUE_BYTES,
        limits::DEFAULT_MAX_STORED_VALUE_BYTES,
    )
}

fn run(isolate: &mut ReadyIsolate, globals: Globals, source: &str) -> Result<(), String> {
    let world = Nowhere {
        globals,
        limits: limits(),
        calls: RefCell::default(),
        stored: RefCell::default(),
    };
    match isolate.warm_up(Rc::new(world), tools()?, source) {
        Ended::Completed { error_text: None } => Ok(()),
        Ended::Completed {
            error_text: Some(error),
        } => Err(format!("a script of the zygote's own failed: {error}")),
        Ended::Panicked(message) => {
            Err(format!("a script of the zygote's own panicked: {message}"))
        }
    }
}

fn tool_name() -> ToolName {
    ToolName {
        name: TOOL.to_owned(),
        namespace: None,
    }
}

fn tools() -> Result<ToolTable, String> {
    let tool = ToolDefinition {
        name: TOOL.to_owned(),
        tool_name: tool_name(),
        description: String::new(),
        kind: ToolKind::Function,
        input_schema: None,
        output_schema: None,
    };
    ToolTable::new(Arc::from([tool]), 1, usize::MAX).map_err(|error| error.to_string())
}

/// A world that leads nowhere: calls are answered with `1` at once, output is dropped.
struct Nowhere {
    globals: Globals,
    limits: EffectiveLimits,
    calls: RefCell<VecDeque<ToolAnswer>>,
    stored: RefCell<Option<Arc<str>>>,
}

impl World for Nowhere {
    fn limits(&self) -> &EffectiveLimits {
        &self.limits
    }

    fn options(&self) -> ScriptOptions {
        ScriptOptions {
            globals: self.globals,
            ..ScriptOptions::default()
        }
    }

    fn without_types(&self, _source: &str) -> Result<String, TypeScriptError> {
        Err(TypeScriptError::Unreadable {
            reason: "scripts of ours have no types".to_owned(),
        })
    }

    fn stopper(&self) -> Arc<dyn Stop> {
        Arc::new(Unstopped)
    }

    fn stop_cause(&self) -> Option<StopCause> {
        None
    }

    fn output(&self, _item: ContentItem) -> Result<(), Bound> {
        Ok(())
    }

    fn call(&self, call: ToolCall) {
        self.calls.borrow_mut().push_back(ToolAnswer {
            call: call.call,
            result: Ok(Box::from("1")),
        });
    }

    fn abandon(&self, _call: u64) {}

    fn notify(&self, _call: u64, _text: String) -> Result<(), Bound> {
        Ok(())
    }

    fn yield_control(&self) {}

    fn load(&self, _key: &str) -> Option<Arc<str>> {
        self.stored.borrow().clone()
    }

    fn save(&self, _key: String, value: Arc<str>) -> Result<(), Bound> {
        *self.stored.borrow_mut() = Some(value);
        Ok(())
    }

    fn tool_descriptions(&self) -> Vec<String> {
        vec![String::new()]
    }

    fn inbox(&self, until: Option<Instant>) -> VecDeque<ToolAnswer> {
        if let Some(until) = until {
            let left = until.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(Duration::from_millis(1)));
        }
        std::mem::take(&mut *self.calls.borrow_mut())
    }
}

/// Scripts of ours reach no bound.
struct Unstopped;

impl Stop for Unstopped {
    fn stop(&self, _cause: StopCause) {}
}
