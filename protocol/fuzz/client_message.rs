// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a message from a client.

#![no_main]

#[path = "../tests/support/oracle.rs"]
mod oracle;
#[path = "../tests/support/mod.rs"]
mod support;

code_mode_fuzz::fuzz_target!(oracle::payload::<code_mode_protocol::ClientMessage>);
