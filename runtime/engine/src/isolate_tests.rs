// SPDX-License-Identifier: Apache-2.0
use std::collections::VecDeque;
use std::time::Instant;

use code_mode_api::{CellLimits, ContentItem};

use super::*;
use crate::limits::{DEFAULT_HEAP_BYTES, EffectiveLimits};
use crate::typescript::TypeScriptError;
use crate::{Bound, ScriptOptions, Stop, ToolAnswer, ToolCall};

/// The world of a script that is stopped once it has put out so much: nothing else reaches it.
struct Stopped {
    limits: EffectiveLimits,
    globals: Globals,
    after: usize,
    outputs: std::cell::Cell<usize>,
}

impl Stopped {
    fn after(outputs: usize, globals: Globals) -> Rc<Self> {
        Rc::new(Self {
            limits: EffectiveLimits::of_operator(&CellLimits::default(), 1, 1),
            globals,
            after: outputs,
            outputs: std::cell::Cell::new(0),
        })
    }
}

/// Whoever stops the script has done so.
struct Already;

impl Stop for Already {
    fn stop(&self, _cause: StopCause) {}
}

impl World for Stopped {
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
        unreachable!("the script is JavaScript")
    }

    fn stopper(&self) -> Arc<dyn Stop> {
        Arc::new(Already)
    }

    fn stop_cause(&self) -> Option<StopCause> {
        (self.outputs.get() >= self.after).then_some(StopCause::Terminated)
    }

    fn output(&self, _item: ContentItem) -> Result<(), Bound> {
        self.outputs.set(self.outputs.get() + 1);
        Ok(())
    }

    fn call(&self, _call: ToolCall) {
        unreachable!("the script runs")
    }

    fn abandon(&self, _call: u64) {
        unreachable!("the script runs")
    }

    fn notify(&self, _call: u64, _text: String) -> Result<(), Bound> {
        unreachable!("the script runs")
    }

    fn yield_control(&self) {
        unreachable!("the script runs")
    }

    fn load(&self, _key: &str) -> Option<Arc<str>> {
        unreachable!("the script runs")
    }

    fn save(&self, _key: String, _value: Arc<str>) -> Result<(), Bound> {
        unreachable!("the script runs")
    }

    fn tool_descriptions(&self) -> Vec<String> {
        unreachable!("the script runs")
    }

    fn inbox(&self, _until: Option<Instant>) -> VecDeque<ToolAnswer> {
        VecDeque::new()
    }
}

#[test]
fn a_script_that_is_stopped_before_its_globals_are_made_ends_as_stopped() {
    platform::with_v8(|| {
        for globals in [Globals::Contract, Globals::Web] {
            let mut isolate = ReadyIsolate::new(DEFAULT_HEAP_BYTES);
            isolate.stopper().unwind();
            let world = Stopped::after(0, globals);
            let tools = ToolTable::new(Arc::from([]), 0, 0).expect("no tools");
            let ended = isolate.run(Rc::clone(&world) as _, tools, "text(1)");
            assert_eq!(ended, Ended::Completed { error_text: None }, "{globals:?}");
            assert_eq!(world.outputs.get(), 0);
        }
    });
}

#[test]
fn a_script_that_was_stopped_gets_nothing_more_done_before_v8_unwinds_it() {
    platform::with_v8(|| {
        let mut isolate = ReadyIsolate::new(DEFAULT_HEAP_BYTES);
        let world = Stopped::after(1, Globals::Contract);
        let tools = ToolTable::new(Arc::from([]), 0, 0).expect("no tools");
        // Nobody asks V8 to unwind it.
        let source = "for (;;) { try { text('x') } catch {} }";
        let ended = isolate.run(Rc::clone(&world) as _, tools, source);
        assert_eq!(ended, Ended::Completed { error_text: None });
        assert_eq!(world.outputs.get(), 1);
    });
}
