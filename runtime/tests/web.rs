// SPDX-License-Identifier: Apache-2.0
//! The globals of the web, with cells on threads.

#[path = "cases/web.rs"]
mod cases;
mod support;

const FORKED: bool = false;
