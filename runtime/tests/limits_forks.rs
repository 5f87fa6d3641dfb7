// SPDX-License-Identifier: Apache-2.0
//! Every limit of a cell, a session and a runtime, with cells in processes of their own.

#[path = "cases/limits.rs"]
mod cases;
mod support;

const FORKED: bool = true;
