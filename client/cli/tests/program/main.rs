// SPDX-License-Identifier: Apache-2.0
//! The program `code_mode` over the real host process.
//!
//! `CODE_MODE_HOST` may name the host, otherwise it is the one that Cargo has built; `CODE_MODE` may
//! name another program under test than the one that was built with these tests.

mod address;
mod arguments;
mod mcp;
mod order;
mod repl;
mod run;
mod signals;
mod support;
mod terminal;
mod tools;
