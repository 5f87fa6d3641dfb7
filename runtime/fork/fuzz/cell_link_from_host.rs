// SPDX-License-Identifier: Apache-2.0
//! Any bytes as what the host says to a cell.

#![no_main]

#[path = "../tests/support/oracle.rs"]
mod oracle;

code_mode_fuzz::fuzz_target!(oracle::from_host);
