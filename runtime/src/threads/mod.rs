// SPDX-License-Identifier: Apache-2.0
//! Cells as threads of this process: one V8 thread for each, made by one keeper, a few ready ahead.

pub(crate) mod births;
mod body;
pub(crate) mod inbox;
pub(crate) mod keeper;
pub(crate) mod pool;
pub(crate) mod typescript;
mod worker;
