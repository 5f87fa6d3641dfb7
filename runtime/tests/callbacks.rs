//! The synchronous interface that a host builds on, with cells on threads.

#[path = "cases/callbacks.rs"]
mod cases;
mod support;

const FORKED: bool = false;
