// SPDX-License-Identifier: Apache-2.0
//! Every limit of a cell, a session and a runtime, with cells in processes of their own.

#[path = "cases/limits.rs"]
mod cases;
#[path = "cases/session_limits.rs"]
mod session_cases;
mod support;

const FORKED: bool = true;
