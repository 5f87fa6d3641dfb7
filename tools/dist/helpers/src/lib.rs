// SPDX-License-Identifier: Apache-2.0
//! What packing a release needs and Python's own library lacks.
//!
//! # Purpose
//! The packages are put together by the Python programs of `tools/dist`. Two things they leave to libraries that are
//! better at them: [`licences`] knows the licences by their SPDX names, [`typescript`] makes JavaScript and declarations
//! of the TypeScript client, since no Node is in the build root.
//!
//! # Life cycle
//! Each program reads files, writes files and ends; nothing is kept.
//!
//! # Threads
//! None.
//!
//! # Limits
//! The inputs are this repository's own files; nothing bounds them but memory.

#![forbid(unsafe_code)]

pub mod licences;
pub mod typescript;
