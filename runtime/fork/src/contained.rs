// SPDX-License-Identifier: Apache-2.0
//! Work within a cell's process that may overflow its stack or find no memory: reading a source as
//! TypeScript. Nothing is repaired; the process says why and ends, as it would at a bound.

use std::sync::OnceLock;

use code_mode_engine::typescript::{TypeScriptError, without_types};

use crate::stream::{self, STREAM};
use crate::wire::tell;

/// The stack that the handlers of signals run on, bytes.
const HANDLER_STACK_BYTES: usize = 64 << 10;

/// The signals by which a process learns that its stack or its memory is at its end.
const SIGNALS: [libc::c_int; 3] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGABRT];

/// What is said at the end of the stack, and at the end of memory; encoded before it is needed, since a
/// handler can take no memory.
static LAST_WORDS: OnceLock<[Vec<u8>; 2]> = OnceLock::new();

/// A source without its types. When the source is more than this process can hold, the process says so in
/// the place of the script's end, and ends.
///
/// # Errors
/// Those of [`without_types`].
pub(crate) fn read_typescript(source: &str) -> Result<String, TypeScriptError> {
    LAST_WORDS.get_or_init(|| {
        [
            "it is nested too deeply",
            "it takes more memory than a cell has",
        ]
        .map(|reason| {
            let error = TypeScriptError::Unreadable {
                reason: reason.to_owned(),
            };
            let mut message = Vec::new();
            tell::end(&mut message, Some(&format!("SyntaxError: {error}")));
            message
        })
    });
    let _handlers = Handlers::install();
    without_types(source)
}

/// The handlers of [`SIGNALS`] while it lives; what was there before comes back.
struct Handlers {
    stack_before: libc::stack_t,
    actions_before: [libc::sigaction; SIGNALS.len()],
    /// Last, so that it is there until nobody uses it.
    _stack: Vec<u8>,
}

impl Handlers {
    fn install() -> Self {
        let mut stack = vec![0_u8; HANDLER_STACK_BYTES];
        let ours = libc::stack_t {
            ss_sp: stack.as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: HANDLER_STACK_BYTES,
        };
        // SAFETY: all-zero values of both types are valid. The stack lives as long as this value, whose drop
        // takes it out of use; the handler makes only calls that a signal may interrupt.
        unsafe {
            let mut stack_before: libc::stack_t = std::mem::zeroed();
            libc::sigaltstack(&raw const ours, &raw mut stack_before);
            let mut actions_before: [libc::sigaction; SIGNALS.len()] = std::mem::zeroed();
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = at_the_end as *const () as usize;
            action.sa_flags = libc::SA_ONSTACK;
            for (signal, before) in SIGNALS.into_iter().zip(&mut actions_before) {
                libc::sigaction(signal, &raw const action, before);
            }
            Self {
                stack_before,
                actions_before,
                _stack: stack,
            }
        }
    }
}

impl Drop for Handlers {
    fn drop(&mut self) {
        // SAFETY: what is set was there before.
        unsafe {
            for (signal, before) in SIGNALS.into_iter().zip(&self.actions_before) {
                libc::sigaction(signal, before, std::ptr::null_mut());
            }
            libc::sigaltstack(&raw const self.stack_before, std::ptr::null_mut());
        }
    }
}

/// The handler: says what was at its end, and ends the process.
extern "C" fn at_the_end(signal: libc::c_int) {
    let words = LAST_WORDS.get();
    let [deep, large] = words.map_or([&[][..], &[][..]], |words| words.each_ref().map(|it| &**it));
    let mut message = if signal == libc::SIGABRT { large } else { deep };
    while !message.is_empty() {
        // SAFETY: the descriptor is the stream, and `message` is readable for the length that is passed.
        let sent = unsafe {
            libc::send(
                STREAM,
                message.as_ptr().cast(),
                message.len(),
                libc::MSG_NOSIGNAL,
            )
        };
        match usize::try_from(sent) {
            Ok(sent) if sent > 0 => message = message.get(sent..).unwrap_or_default(),
            // Whether it was heard changes nothing for this process.
            _ => break,
        }
    }
    stream::leave()
}
