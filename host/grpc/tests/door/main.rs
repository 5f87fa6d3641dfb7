// SPDX-License-Identifier: Apache-2.0
//! The door as a client sees it: a real client over an in-memory connection, sessions that a test plays.

mod bounds;
mod calls;
mod cells;
mod extensions;
mod health;
mod hostile;
mod raw;
mod sessions;
mod strangers;
mod support;
mod trace;
