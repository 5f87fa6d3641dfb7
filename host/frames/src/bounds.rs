// SPDX-License-Identifier: Apache-2.0
//! What a client asks of a session when it opens it.

use std::time::Duration;

use code_mode_protocol as wire;
use code_mode_service::SessionOutput;

/// What a client has asked of a session when it opened it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SessionBounds {
    /// The longest yield time of any request.
    pub(crate) max_yield_time: Option<Duration>,
    /// V8 heap of a cell, in bytes.
    pub(crate) max_heap_bytes: Option<u64>,
    /// Whether the host cuts output that is too long.
    pub(crate) cuts_output: bool,
}

impl SessionBounds {
    /// The bounds of a `session/open`.
    pub(crate) fn new(
        limits: Option<wire::CellExecutionLimits>,
        truncation: Option<wire::OutputTruncation>,
    ) -> Self {
        let limits = limits.unwrap_or_default();
        Self {
            max_yield_time: limits.max_yield_time_ms.map(Duration::from_millis),
            max_heap_bytes: limits.max_heap_size_bytes,
            cuts_output: truncation == Some(wire::OutputTruncation::Server),
        }
    }

    /// What becomes of the output of the session's cells; `kept_bytes` is the bound of what is kept of it.
    pub(crate) fn output(&self, kept_bytes: usize) -> SessionOutput {
        if self.cuts_output {
            SessionOutput::cut_to_tokens(kept_bytes)
        } else {
            SessionOutput::whole()
        }
    }

    /// A request's yield time within the session's bound; `default` is that of a request which does
    /// not say.
    pub(crate) fn yield_time(
        &self,
        requested: Option<Duration>,
        default: Duration,
    ) -> Option<Duration> {
        match self.max_yield_time {
            Some(maximum) => Some(requested.unwrap_or(default).min(maximum)),
            None => requested,
        }
    }

    /// A request's heap bound within the session's.
    pub(crate) fn heap_bytes(&self, requested: Option<u64>) -> Option<u64> {
        match (requested, self.max_heap_bytes) {
            (Some(requested), Some(maximum)) => Some(requested.min(maximum)),
            (requested, maximum) => requested.or(maximum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lowers_yield_times_and_heaps_and_never_raises_them() {
        let bounds = SessionBounds {
            max_yield_time: Some(Duration::from_millis(50)),
            max_heap_bytes: Some(100),
            cuts_output: false,
        };
        let default = Duration::from_secs(10);
        let time = |millis| Some(Duration::from_millis(millis));
        assert_eq!(bounds.yield_time(None, default), time(50));
        assert_eq!(bounds.yield_time(time(60), default), time(50));
        assert_eq!(bounds.yield_time(time(40), default), time(40));
        assert_eq!(bounds.heap_bytes(None), Some(100));
        assert_eq!(bounds.heap_bytes(Some(50)), Some(50));
        assert_eq!(bounds.heap_bytes(Some(200)), Some(100));
        let none = SessionBounds::default();
        assert_eq!(none.yield_time(None, default), None);
        assert_eq!(none.yield_time(time(60), default), time(60));
        assert_eq!(none.heap_bytes(Some(7)), Some(7));
        assert_eq!(none.heap_bytes(None), None);
    }
}
