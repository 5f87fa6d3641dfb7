// SPDX-License-Identifier: Apache-2.0
//! The globals of the web, with cells in processes of their own.

#[path = "cases/web.rs"]
mod cases;
mod support;

const FORKED: bool = true;
