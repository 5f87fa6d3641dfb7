// SPDX-License-Identifier: Apache-2.0
//! The waist over the runtime, with cells on threads.

#[path = "cases/waist.rs"]
mod cases;
mod support;

const FORKED: bool = false;
