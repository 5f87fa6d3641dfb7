// SPDX-License-Identifier: Apache-2.0
//! The golden files: every message variant, written by hand from the wire contract.

/// One golden file.
#[allow(dead_code, reason = "each test binary uses a part")]
pub struct Golden {
    /// The file's name without its ending.
    pub name: &'static str,
    /// The payload.
    pub json: &'static str,
}

macro_rules! golden {
    ($direction:literal, $name:literal) => {
        Golden {
            name: $name,
            json: include_str!(concat!("../../testdata/", $direction, "/", $name, ".json"))
                .trim_ascii_end(),
        }
    };
}

/// Messages from a client to a host.
pub const CLIENT: &[Golden] = &[
    golden!("client", "hello"),
    golden!("client", "hello-with-all-lists"),
    golden!("client", "session-open"),
    golden!("client", "session-open-limits"),
    golden!("client", "session-open-other-values"),
    golden!("client", "session-execute"),
    golden!("client", "session-execute-other-values"),
    golden!("client", "session-execute-limits"),
    golden!("client", "session-wait"),
    golden!("client", "session-wait-default"),
    golden!("client", "session-wait-tokens"),
    golden!("client", "session-wait-range"),
    golden!("client", "session-terminate"),
    golden!("client", "session-terminate-tokens"),
    golden!("client", "session-shutdown"),
    golden!("client", "session-list-cells"),
    golden!("client", "session-export-store"),
    golden!("client", "session-import-store"),
    golden!("client", "operation-cancel"),
    golden!("client", "operation-yield"),
    golden!("client", "delegate-tool-result"),
    golden!("client", "delegate-tool-result-null"),
    golden!("client", "delegate-notification-delivered"),
    golden!("client", "delegate-error"),
];

/// Messages from a host to a client.
pub const HOST: &[Golden] = &[
    golden!("host", "ready"),
    golden!("host", "ready-with-capabilities"),
    golden!("host", "rejected-no-compatible-version"),
    golden!("host", "rejected-missing-capability"),
    golden!("host", "rejected-invalid-hello"),
    golden!("host", "session-ready"),
    golden!("host", "execution-started"),
    golden!("host", "initial-result"),
    golden!("host", "initial-result-failed"),
    golden!("host", "initial-result-audio"),
    golden!("host", "initial-result-timings"),
    golden!("host", "initial-yielded"),
    golden!("host", "initial-yielded-timings"),
    golden!("host", "initial-terminated"),
    golden!("host", "initial-error"),
    golden!("host", "initial-error-details"),
    golden!("host", "wait-live-terminated"),
    golden!("host", "wait-missing"),
    golden!("host", "session-closed"),
    golden!("host", "cells-listed"),
    golden!("host", "store-exported"),
    golden!("host", "store-imported"),
    golden!("host", "output-read"),
    golden!("host", "operation-error"),
    golden!("host", "operation-error-details"),
    golden!("host", "delegate-tool-invoke"),
    golden!("host", "delegate-tool-invoke-freeform"),
    golden!("host", "delegate-notification"),
    golden!("host", "delegate-cancel"),
    golden!("host", "cell-closed"),
];
