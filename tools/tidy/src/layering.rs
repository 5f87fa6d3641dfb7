// SPDX-License-Identifier: Apache-2.0
//! Who may use what: the invariants of ARCHITECTURE.md about packages, as far as a file's text shows them.

use crate::file::{SourceFile, Violation};

/// A name that only some folders may use.
struct Reserved {
    /// What the code contains when it uses the name.
    needles: &'static [&'static str],
    /// Prefixes of the paths that may.
    allowed: &'static [&'static str],
    /// Where the rule holds: prefixes of paths, all of them when empty.
    scope: &'static [&'static str],
    /// What to do instead.
    advice: &'static str,
}

const RUST: [Reserved; 7] = [
    Reserved {
        needles: &["io::stdin(", "io::stdout(", "io::stderr("],
        allowed: &[
            "host/",
            "client/overhead/",
            "client/cli/",
            // What it tries is told over the one stream that its confinement leaves it.
            "runtime/fork/src/bin/hostile_host.rs",
        ],
        scope: &[],
        advice: "only the host and the command line touch standard streams; use `tracing`, or take a reader or writer",
    },
    Reserved {
        needles: &["v8::", "use v8;"],
        allowed: &["runtime/engine/src/", "third_party/v8/"],
        scope: &[],
        advice: "only the engine names V8; go through code_mode_engine, or code_mode_api outside of the runtime",
    },
    Reserved {
        needles: &[
            "std::process::",
            "tokio::process",
            "std::net::",
            "tokio::net",
            "std::fs",
            "tokio::fs",
        ],
        allowed: &[],
        scope: &["protocol/"],
        advice: "the protocol reads and writes frames and knows no process, socket or file",
    },
    Reserved {
        needles: &["socketpair(", "UnixStream::pair("],
        allowed: &["runtime/fork/src/"],
        scope: &["runtime/"],
        advice: "the sockets of cells are runtime/fork's; go through its Link",
    },
    Reserved {
        needles: &["wait_for_room(", "poll_room("],
        allowed: &["runtime/api/src/waist/", "runtime/src/waist.rs"],
        scope: &[],
        advice: "only a cell's own thread, or the task of its process, waits for a door",
    },
    Reserved {
        needles: &["Callback::Closed)"],
        allowed: &["runtime/src/cell/life.rs"],
        scope: &["runtime/src/"],
        advice: "when a cell is closed is decided in one place, `CellRecord::conclude`",
    },
    Reserved {
        needles: &[
            "async_channel::unbounded(",
            "blocking::channel()",
            "mpsc::channel()",
            "mpsc::channel::<",
            "unbounded_channel(",
            "unbounded_channel::<",
        ],
        allowed: &[
            // One command at a time for each tool that runs; its caller waits until it has started.
            "client/cli/src/command_tool.rs",
            // Within its tests.
            "client/cli/src/host_processes.rs",
            // One request and one answer at a time.
            "client/cli/src/repl_lines.rs",
            // The hub's bounds in events and bytes, for which whoever publishes waits.
            "client/embed/src/cell_event.rs",
            // Slots of calls, a budget of bytes, and one event for each thing that there is.
            "client/src/connection/mod.rs",
            // Within its tests, and a host that is one.
            "client/src/delegate.rs",
            "client/src/simulation/",
            // Tokio's, with a bound of one.
            "host/frames/src/serve.rs",
            // What one scripted transcript makes a host say.
            "host/src/conformance_grpc/",
            // The calls that the benchmark's own scripts have open.
            "runtime/api/benchsuite/src/delegate.rs",
            // The one process that it starts.
            "runtime/api/testsuite/src/listening.rs",
            // One order for each isolate in the making, and one for each thread that ends.
            "runtime/src/threads/keeper.rs",
            // One job in the life of a thread.
            "runtime/src/threads/worker.rs",
        ],
        scope: &[],
        advice: "bound the channel, or say here what bounds what is in it",
    },
];

const BUILD: [Reserved; 2] = [
    Reserved {
        needles: &["\"@crates//:v8\"", "\"@crates//:deno_core_icudata\""],
        allowed: &["runtime/engine/BUILD.bazel", "third_party/v8/"],
        scope: &[],
        advice: "only the engine links V8",
    },
    Reserved {
        needles: &[
            "\"//runtime\"",
            "\"//runtime:",
            "\"//runtime/engine\"",
            "\"//runtime/fork\"",
        ],
        allowed: &["host/", "runtime/"],
        scope: &[],
        advice: "only the host links the runtime; everyone else uses //runtime/api",
    },
];

fn starts_with_any(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| path.starts_with(prefix))
}

/// Whether the line uses the name, and not a longer one that ends with it.
fn uses(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '/')
    })
}

fn check_reserved(file: &SourceFile, rules: &[Reserved], comment: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for rule in rules {
        let in_scope = rule.scope.is_empty() || starts_with_any(&file.path, rule.scope);
        if !in_scope || starts_with_any(&file.path, rule.allowed) {
            continue;
        }
        for (index, line) in file.text.lines().enumerate() {
            let code = line.split(comment).next().unwrap_or_default();
            if rule.needles.iter().any(|needle| uses(code, needle)) {
                found.push(file.violation(index + 1, rule.advice));
            }
        }
    }
    found
}

pub(crate) fn check_rust(file: &SourceFile) -> Vec<Violation> {
    // This file names what it forbids, and a test or bench may look at a package from outside.
    let exempt = ["tools/tidy/", "/tests/", "/benches/", "_tests.rs"];
    if exempt.iter().any(|part| file.path.contains(part)) {
        return Vec::new();
    }
    check_reserved(file, &RUST, "// ")
}

pub(crate) fn check_build(file: &SourceFile) -> Vec<Violation> {
    check_reserved(file, &BUILD, "# ")
}

/// The packages that ARCHITECTURE.md describes.
const PACKAGES: [&str; 8] = [
    "client",
    "client/cli",
    "client/embed",
    "client/mcp",
    "host",
    "protocol",
    "runtime",
    "runtime/api",
];

pub(crate) fn check_documents(files: &[SourceFile]) -> Vec<Violation> {
    let mut found = Vec::new();
    for path in ["README.md", "ARCHITECTURE.md"] {
        if !files.iter().any(|file| file.path == path) {
            found.push(SourceFile::new(path, "").violation(0, "write it: a newcomer starts here"));
        }
    }
    for file in files.iter().filter(|file| file.path == "ARCHITECTURE.md") {
        for package in PACKAGES {
            if !file.text.contains(&format!("`{package}`")) {
                found.push(file.violation(
                    0,
                    format!("describe the package `{package}` in the code map"),
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::messages;

    fn rust(path: &str, line: &str) -> usize {
        check_rust(&SourceFile::new(path, line)).len()
    }

    #[test]
    fn standard_streams_belong_to_the_host_and_the_command_line() {
        assert_eq!(rust("runtime/src/a.rs", "let out = std::io::stdout();"), 1);
        assert_eq!(rust("client/src/pool.rs", "io::stderr()"), 1);
        assert_eq!(rust("host/src/stdio.rs", "io::stdin()"), 0);
        assert_eq!(rust("client/cli/src/output.rs", "io::stdout()"), 0);
        assert_eq!(rust("runtime/benches/a.rs", "io::stdout()"), 0);
    }

    #[test]
    fn v8_is_named_by_the_runtime_alone() {
        assert_eq!(
            rust("host/src/a.rs", "let isolate = v8::Isolate::new();"),
            1
        );
        assert_eq!(rust("runtime/api/src/a.rs", "use v8::Local;"), 1);
        assert_eq!(rust("runtime/src/a.rs", "use v8::Local;"), 1);
        assert_eq!(rust("runtime/engine/src/a.rs", "use v8::Local;"), 0);
        assert_eq!(
            rust("host/src/a.rs", "runtime_v8::version() // not v8::x"),
            0
        );
    }

    #[test]
    fn the_protocol_knows_no_process_socket_or_file() {
        assert_eq!(rust("protocol/src/a.rs", "use tokio::process::Command;"), 1);
        assert_eq!(rust("protocol/src/a.rs", "std::fs::read(path)"), 1);
        assert_eq!(rust("client/src/a.rs", "use tokio::process::Command;"), 0);
    }

    #[test]
    fn who_waits_for_a_door_and_what_closes_a_cell_has_its_place() {
        let waits = "let _ = outbox.wait_for_room(bytes);";
        assert_eq!(rust("runtime/src/waist.rs", waits), 0);
        assert_eq!(rust("host/frames/src/word.rs", waits), 1);
        let closes = "state.callbacks.push_back(Callback::Closed);";
        assert_eq!(rust("runtime/src/cell/life.rs", closes), 0);
        assert_eq!(rust("runtime/src/cell/delivery.rs", closes), 1);
        assert_eq!(
            rust("runtime/src/cell/delivery.rs", "Callback::Closed => {}"),
            0
        );
        let pair = "let (ours, theirs) = UnixStream::pair()?;";
        assert_eq!(rust("runtime/src/forks.rs", pair), 1);
        assert_eq!(rust("runtime/fork/src/check.rs", pair), 0);
    }

    #[test]
    fn a_channel_without_a_bound_is_listed_with_what_bounds_it() {
        let made = "let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();";
        assert_eq!(rust("host/grpc/src/word.rs", made), 1);
        assert_eq!(rust("client/src/connection/mod.rs", made), 0);
        assert_eq!(rust("host/src/stdio_tests.rs", made), 0);
        let bounded = "let (sender, receiver) = mpsc::channel(MAX_WAITING);";
        assert_eq!(rust("host/grpc/src/word.rs", bounded), 0);
    }

    #[test]
    fn only_the_runtime_links_v8_and_only_the_host_links_the_runtime() {
        let build = |path: &str, line: &str| check_build(&SourceFile::new(path, line)).len();
        assert_eq!(build("client/BUILD.bazel", "        \"@crates//:v8\","), 1);
        assert_eq!(build("runtime/BUILD.bazel", "        \"@crates//:v8\","), 1);
        assert_eq!(
            build("runtime/engine/BUILD.bazel", "        \"@crates//:v8\","),
            0
        );
        assert_eq!(build("client/BUILD.bazel", "        \"//runtime\","), 1);
        assert_eq!(build("client/BUILD.bazel", "        \"//runtime/api\","), 0);
    }

    #[test]
    fn the_documents_are_there_and_name_each_package() {
        assert_eq!(check_documents(&[]).len(), 2);
        let architecture = SourceFile::new(
            "ARCHITECTURE.md",
            "`client` `client/cli` `client/embed` `client/mcp` `host` `protocol` `runtime`\n",
        );
        let found = check_documents(&[SourceFile::new("README.md", ""), architecture]);
        assert_eq!(
            messages(&found),
            ["ARCHITECTURE.md:0: describe the package `runtime/api` in the code map"]
        );
    }
}
