// SPDX-License-Identifier: Apache-2.0
//! The host as its clients see it: frames in, frames out, and the way it ends.

mod bounds;
mod cells;
mod conformance;
mod extensions;
mod order;
mod process;
mod program;
mod races;
mod seeds;
mod supervision;
mod support;
