// SPDX-License-Identifier: Apache-2.0
//! Counters of the door, in the text format of Prometheus.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// Text in the format of Prometheus.
#[derive(Default)]
pub struct Page(String);

impl Page {
    /// What the lines that follow are about.
    pub fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A value. Labels stand in braces; without any they are empty.
    pub fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        // As above.
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// A value without labels, and what it is about.
    pub fn number(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(name, "", value);
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// A number that only grows.
#[derive(Default)]
pub struct Counter(AtomicU64);

/// A number that goes up and down.
#[derive(Default)]
pub struct Gauge(AtomicU64);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Gauge {
    /// One more.
    pub fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number now.
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the door counts.
#[derive(Default)]
pub struct Metrics {
    /// Connections that are open.
    pub connections: Gauge,
    /// Connections that were turned away: too many, no peer, no handshake.
    pub connections_refused: Counter,
    /// Requests without a valid token, or of a browser.
    pub requests_refused: Counter,
    /// Sessions that are open.
    pub sessions: Gauge,
    /// Cells that run or keep a result.
    pub cells: Gauge,
    /// Scripts that were started.
    pub executions: Counter,
    /// Scripts that were not started because they were refused.
    pub executions_refused: Counter,
    /// Tool calls handed to a subscription.
    pub tool_calls: Counter,
    /// Tool calls that failed because nobody subscribes to the tool, or too many were pending.
    pub tool_calls_refused: Counter,
    /// Notifications of scripts.
    pub notifications: Counter,
}

impl Metrics {
    /// All of them as text.
    pub fn render(&self) -> String {
        let mut page = Page::default();
        let gauges = [
            ("connections", &self.connections, "Open gRPC connections."),
            ("sessions", &self.sessions, "Open sessions."),
            ("cells", &self.cells, "Cells that run or keep a result."),
        ];
        let counters = [
            (
                "connections_refused",
                &self.connections_refused,
                "Connections turned away.",
            ),
            (
                "requests_refused",
                &self.requests_refused,
                "Requests without a valid token, or of a browser.",
            ),
            ("executions", &self.executions, "Scripts started."),
            (
                "executions_refused",
                &self.executions_refused,
                "Scripts refused.",
            ),
            (
                "tool_calls",
                &self.tool_calls,
                "Tool calls handed to a subscription.",
            ),
            (
                "tool_calls_refused",
                &self.tool_calls_refused,
                "Tool calls that found no subscription or no room.",
            ),
            (
                "notifications",
                &self.notifications,
                "Notifications of scripts.",
            ),
        ];
        for (name, gauge, help) in gauges {
            let name = format!("code_mode_grpc_{name}");
            page.number(&name, "gauge", help, gauge.now());
        }
        for (name, counter, help) in counters {
            let name = format!("code_mode_grpc_{name}_total");
            let value = counter.0.load(Ordering::Relaxed);
            page.number(&name, "counter", help, value);
        }
        page.into_text()
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn each_number_is_told_with_its_kind() {
        let metrics = Metrics::default();
        metrics.sessions.up();
        metrics.sessions.up();
        metrics.sessions.down();
        metrics.executions.add_one();
        let text = metrics.render();
        assert!(text.contains(
            "# HELP code_mode_grpc_sessions Open sessions.\n\
             # TYPE code_mode_grpc_sessions gauge\n\
             code_mode_grpc_sessions 1\n"
        ));
        assert!(text.contains("\ncode_mode_grpc_executions_total 1\n"));
    }
}
