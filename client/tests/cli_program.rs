//! The program `code_mode` over the real host process.
//!
//! `CODE_MODE_HOST` must name the host; `CODE_MODE` may name another program under test than the one
//! that was built with these tests.

mod cli {
    mod run;
    mod support;
    mod terminal;
    mod tools;
}
