// SPDX-License-Identifier: Apache-2.0
//! The synchronous interface that a host builds on, with cells in processes of their own.

#[path = "cases/callbacks.rs"]
mod cases;
mod support;

const FORKED: bool = true;
