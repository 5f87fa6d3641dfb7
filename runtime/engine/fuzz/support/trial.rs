// SPDX-License-Identifier: Apache-2.0
//! What must hold for any script: it ends, nothing panics, and what it hands over is as the world may expect.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use code_mode_api::{
    CellLimits, ContentItem, Globals, LimitName, ToolDefinition, ToolError, ToolKind, ToolName,
};
use code_mode_engine::limits::{EffectiveLimits, MAX_ERROR_TEXT_BYTES};
use code_mode_engine::platform::{self, Helpers, Jit};
use code_mode_engine::typescript::TypeScriptError;
use code_mode_engine::{
    Bound, Ended, IsolateStopper, ReadyIsolate, ScriptOptions, Stop, StopCause, ToolAnswer,
    ToolCall, ToolTable, World,
};
use serde_json::value::RawValue;

/// How long a script runs before it is stopped.
const TIME: Duration = Duration::from_secs(1);

/// A timer that is further away ends the script instead: nobody waits for it.
const LONGEST_WAIT: Duration = Duration::from_millis(2);

/// How often it is looked whether a script is to be stopped.
const TICK: Duration = Duration::from_millis(10);

/// Texts that a script may output, bytes.
const OUTPUT_BYTES: u64 = 64 << 10;

/// One value to a tool, or one that is stored, bytes.
const VALUE_BYTES: u64 = 4 << 10;

/// Values that a script may store.
const STORE_KEYS: usize = 16;

/// Notifications that a script may send.
const NOTIFICATIONS: u64 = 16;

fn limits() -> EffectiveLimits {
    let few = CellLimits {
        heap_bytes: Some(16 << 20),
        external_bytes: Some(4 << 20),
        cpu_time: Some(TIME),
        output_bytes: Some(OUTPUT_BYTES),
        open_tool_calls: Some(8),
        total_tool_calls: Some(64),
        timers: Some(8),
        ..CellLimits::default()
    };
    let value_bytes = usize::try_from(VALUE_BYTES).unwrap_or(usize::MAX);
    EffectiveLimits::of_operator(&few, value_bytes, value_bytes)
}

/// Runs a script in an isolate of its own. A bit of `choice` each says which globals it has and how it reads integers.
pub fn run(source: &str, choice: u8) {
    static SET_UP: Once = Once::new();
    SET_UP.call_once(|| {
        platform::set_up(Helpers::None, Jit::On).expect("V8 is set up");
        std::thread::spawn(stop_what_is_late);
    });
    let limits = limits();
    let mut isolate = ReadyIsolate::new(limits.heap_bytes);
    let brake = Arc::new(Brake {
        isolate: isolate.stopper(),
        cause: OnceLock::new(),
    });
    let options = ScriptOptions {
        globals: if choice & 1 == 0 {
            Globals::Contract
        } else {
            Globals::Web
        },
        typescript: false,
        exact_integers: choice & 2 != 0,
    };
    let world = Rc::new(Trial {
        limits,
        options,
        brake: Arc::clone(&brake),
        last_call: Cell::new(None),
        answers: RefCell::default(),
        output: Cell::new(0),
        notifications: Cell::new(0),
        stored: RefCell::default(),
    });
    set_running(Some((Instant::now() + TIME, brake)));
    let ended = isolate.run(world, tools(), source);
    set_running(None);
    match ended {
        Ended::Panicked(message) => panic!("a callback panicked ({message}):\n{source}"),
        Ended::Completed { error_text } => {
            let length = error_text.map_or(0, |text| text.len());
            assert!(
                length <= MAX_ERROR_TEXT_BYTES,
                "an error text of {length} bytes:\n{source}"
            );
        }
    }
}

fn tools() -> ToolTable {
    let tools: Vec<ToolDefinition> = ["echo", "strange-name", "fails"]
        .into_iter()
        .map(|name| ToolDefinition {
            name: name.to_owned(),
            tool_name: ToolName {
                name: name.to_owned(),
                namespace: None,
            },
            description: format!("what {name} does"),
            kind: ToolKind::Function,
            input_schema: None,
            output_schema: None,
        })
        .collect();
    ToolTable::new(Arc::from(tools), usize::MAX, usize::MAX).expect("few tools")
}

/// The script that runs, with the time at which it is late.
static RUNNING: Mutex<Option<(Instant, Arc<Brake>)>> = Mutex::new(None);

fn set_running(running: Option<(Instant, Arc<Brake>)>) {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = running;
}

/// Stops each script that is late, and again for as long as it goes on.
fn stop_what_is_late() {
    loop {
        std::thread::sleep(TICK);
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((late, brake)) = &*running
            && *late <= Instant::now()
        {
            let milliseconds = u64::try_from(TIME.as_millis()).unwrap_or(u64::MAX);
            brake.stop(StopCause::Limit(LimitName::CpuTimeMs, milliseconds));
        }
    }
}

struct Brake {
    isolate: IsolateStopper,
    cause: OnceLock<StopCause>,
}

impl Stop for Brake {
    fn stop(&self, cause: StopCause) {
        // The first cause counts.
        let _ = self.cause.set(cause);
        self.isolate.unwind();
    }
}

/// The script's world: tools answer at once, each in another way, and what is handed over is looked at.
struct Trial {
    limits: EffectiveLimits,
    options: ScriptOptions,
    brake: Arc<Brake>,
    /// The numbers of the last call: among all, and among those of tools.
    last_call: Cell<Option<(u64, u64)>>,
    answers: RefCell<VecDeque<ToolAnswer>>,
    output: Cell<u64>,
    notifications: Cell<u64>,
    stored: RefCell<BTreeMap<String, Arc<str>>>,
}

/// A text that crosses as JSON is JSON.
fn check_json(text: &str, what: &str) {
    let read = serde_json::from_str::<&RawValue>(text);
    assert!(read.is_ok(), "{what} is no JSON: {text:?}");
}

impl World for Trial {
    fn limits(&self) -> &EffectiveLimits {
        &self.limits
    }

    fn options(&self) -> ScriptOptions {
        self.options
    }

    fn without_types(&self, _source: &str) -> Result<String, TypeScriptError> {
        Err(TypeScriptError::Unreadable {
            reason: "these scripts have no types".to_owned(),
        })
    }

    fn stopper(&self) -> Arc<dyn Stop> {
        Arc::clone(&self.brake) as _
    }

    fn stop_cause(&self) -> Option<StopCause> {
        self.brake.cause.get().cloned()
    }

    fn output(&self, item: ContentItem) -> Result<(), Bound> {
        let bytes = match &item {
            ContentItem::Text(text) => text.len(),
            ContentItem::Image { image_url, .. } => image_url.len(),
            ContentItem::Audio { audio_url } => audio_url.len(),
        };
        let output = self.output.get().saturating_add(bytes as u64);
        if output > OUTPUT_BYTES {
            return Err((LimitName::OutputBytes, OUTPUT_BYTES));
        }
        self.output.set(output);
        Ok(())
    }

    fn call(&self, call: ToolCall) {
        let ToolCall {
            call,
            number,
            tool,
            input,
        } = call;
        check_json(&input, "the input of a tool");
        assert!(
            input.len() as u64 <= VALUE_BYTES,
            "an input of {} bytes",
            input.len()
        );
        assert!(tool < 3, "there is no tool {tool}");
        assert!(
            self.last_call
                .get()
                .is_none_or(|(last, last_number)| last < call && last_number + 1 == number),
            "call {call}, tool call {number} after {:?}",
            self.last_call.get()
        );
        self.last_call.set(Some((call, number)));
        let result = match (tool, number % 4) {
            (2, _) => Err(ToolError::new("it fails \u{0} \u{1F600}")),
            (_, 0) => Ok(Box::from(
                r#"{"content":[{"type":"text","text":"x"}],"a":1e400}"#,
            )),
            (_, 1) => Ok(Box::from("123456789012345678901234567890")),
            _ => Ok(Box::from(input)),
        };
        self.answers
            .borrow_mut()
            .push_back(ToolAnswer { call, result });
    }

    fn abandon(&self, _call: u64) {}

    fn notify(&self, _call: u64, _text: String) -> Result<(), Bound> {
        self.notifications.set(self.notifications.get() + 1);
        if self.notifications.get() > NOTIFICATIONS {
            return Err((LimitName::OpenNotifications, NOTIFICATIONS));
        }
        Ok(())
    }

    fn yield_control(&self) {}

    fn load(&self, key: &str) -> Option<Arc<str>> {
        self.stored.borrow().get(key).cloned()
    }

    fn save(&self, key: String, value: Arc<str>) -> Result<(), Bound> {
        check_json(&value, "a stored value");
        let mut stored = self.stored.borrow_mut();
        if stored.len() >= STORE_KEYS && !stored.contains_key(&key) {
            return Err((LimitName::StoreKeys, STORE_KEYS as u64));
        }
        stored.insert(key, value);
        Ok(())
    }

    fn tool_descriptions(&self) -> Vec<String> {
        ["echo", "strange-name", "fails"]
            .map(|name| format!("what {name} does"))
            .to_vec()
    }

    fn inbox(&self, until: Option<Instant>) -> VecDeque<ToolAnswer> {
        let answers = std::mem::take(&mut *self.answers.borrow_mut());
        if answers.is_empty() {
            let wait = until.map(|until| until.saturating_duration_since(Instant::now()));
            match wait {
                Some(wait) if wait <= LONGEST_WAIT => std::thread::sleep(wait),
                _ => self.brake.stop(StopCause::Terminated),
            }
        }
        answers
    }
}
