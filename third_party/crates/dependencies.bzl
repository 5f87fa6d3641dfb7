# SPDX-License-Identifier: Apache-2.0
"""The direct third-party dependencies of the workspace, each with its reason. Cargo.toml is made from this table.

To add or upgrade one:

1. Change this table, and name the crate as `@crates//:NAME` in the BUILD.bazel of the packages that use it.
2. `tools/bazel run //tools:cargo_sync` writes the Cargo manifests.
3. `cargo update --workspace` (or `cargo update NAME`), with the machine's own cargo, renews Cargo.lock.
4. `tools/bazel test //...` fetches the new crates and builds with them.
"""

load("//third_party/v8:config.bzl", "V8_CRATE_FEATURES")

def _crate(version, features = [], default_features = True):
    return struct(version = version, features = features, default_features = default_features)

# Key: the crate. Value: the requirement, in Cargo's terms; Cargo.lock has the exact version.
DEPENDENCIES = {
    # A mistake in a file is shown with its line and a mark below it.
    "annotate-snippets": _crate("0.12"),
    # Whether a stream takes colours: terminals, NO_COLOR and CLICOLOR_FORCE. clap brings it along.
    "anstream": _crate("1"),
    # Queues between threads and tasks that both sides can close, which tokio's lack.
    "async-channel": _crate("2"),
    # The ranking of BM25 over words that we cut ourselves. Without its word lists and its tokenizer.
    "bm25": _crate("2", default_features = False),
    # Times in the audit log. rmcp brings it along.
    "chrono": _crate("0.4", features = ["now"], default_features = False),
    # The command line, its help and its errors; `wrap_help` fits help texts to the terminal.
    "clap": _crate("4", features = ["derive", "wrap_help"]),
    # Completions for bash, zsh and fish, from the same declaration as the command line.
    "clap_complete": _crate("4"),
    # Man pages, from the same declaration.
    "clap_mangen": _crate("0.3"),
    # Tables of the interactive shell, by the width of characters. Without its own view of the terminal.
    "comfy-table": _crate("8", default_features = False),
    # Reads `data:` URIs, which images are, as the WHATWG says.
    "data-url": _crate("0.3"),
    # The ICU 78 data that V8's Intl needs and that the crate `v8` leaves out; it must match V8's ICU exactly.
    "deno_core_icudata": _crate("=0.78.0"),
    # Encodings of text for the web's TextDecoder, as the WHATWG says; browsers use it.
    "encoding_rs": _crate("0.8"),
    # The trait of streams, which the standard library lacks.
    "futures-core": _crate("0.3"),
    # Sending and receiving on streams and sinks, in the example of a web socket.
    "futures-util": _crate("0.3", features = ["sink", "std"], default_features = False),
    # What a broken stream of HTTP/2 says of its request, which hyper hands on and does not name.
    "h2": _crate("0.4", default_features = False),
    # Names and values of headers. rmcp and hyper have them in their interfaces.
    "http": _crate("1"),
    # The trait of a request's body, to count the bytes that a client makes the host hold.
    "http-body": _crate("1"),
    # Bodies of answers that are ready at once.
    "http-body-util": _crate("0.1"),
    # HTTP/2 for gRPC on any stream, with all its bounds, on both sides; HTTP/1 for the page of metrics.
    "hyper": _crate("1", features = ["client", "http1", "http2", "server"], default_features = False),
    # The ties between hyper and tokio.
    "hyper-util": _crate("0.1", features = ["service", "tokio"], default_features = False),
    # JSON with comments, and edits that leave comments and layout as they are.
    "jsonc-parser": _crate("0.34", features = ["cst", "serde"]),
    # The kernel's Landlock: files, sockets and signals that a process gives up for good.
    "landlock": _crate("0.4"),
    # Process groups, resource limits, signals and inherited descriptors: what std does not offer.
    "libc": _crate("0.2"),
    # Searching long texts for a few bytes; the standard library looks at them one by one.
    "memchr": _crate("2"),
    # The parser of TypeScript sources, whose types are taken out, and of the interactive shell: which names an entry
    # declares, where its statements end, whether it goes on. Of the well-kept parsers of JavaScript in Rust the one with
    # the fewest dependencies. All five are of one version.
    "oxc_allocator": _crate("0.146", default_features = False),
    "oxc_ast": _crate("0.146", default_features = False),
    "oxc_ast_visit": _crate("0.146", default_features = False),
    # The rest of the same compiler, for building alone: the TypeScript client becomes JavaScript and its declarations
    # with it, since no Node is in the build root.
    "oxc_codegen": _crate("0.146", default_features = False),
    "oxc_isolated_declarations": _crate("0.146", default_features = False),
    "oxc_parser": _crate("0.146", default_features = False),
    "oxc_semantic": _crate("0.146", default_features = False),
    "oxc_span": _crate("0.146", default_features = False),
    "oxc_transformer": _crate("0.146", default_features = False),
    # A failed comparison of two long values shows what differs.
    "pretty_assertions": _crate("1"),
    # Frames and messages hold for all inputs, not for the ones we thought of. Without its fork and regex parts.
    "proptest": _crate("1", features = ["std"], default_features = False),
    # The encoding of gRPC's messages.
    "prost": _crate("0.14"),
    # Reads .proto files, so that no protoc has to be had.
    "protox": _crate("0.9"),
    # Certificates for tests of TLS, so that no key lies about.
    "rcgen": _crate("0.14", features = ["pem", "ring"], default_features = False),
    # The HTTP client below rmcp's, to say whose certificates and timeouts count.
    "reqwest": _crate("0.13", features = ["rustls-no-provider"], default_features = False),
    # The official SDK of MCP: both roles, both transports, all revisions of the protocol.
    "rmcp": _crate("3", features = [
        "client",
        "elicitation",
        "reqwest-tls-no-provider",
        "server",
        "transport-streamable-http-client-reqwest",
        "transport-streamable-http-server",
    ], default_features = False),
    # Line editing and history for the interactive shell. Without its derive macros and custom key bindings.
    "rustyline": _crate("17", features = ["with-file-history"], default_features = False),
    # Descriptors over sockets, processes by descriptors, limits: the kernel's interface with types.
    "rustix": _crate("1", features = ["fs", "net", "pipe", "process", "rand"]),
    # The certificates that the machine trusts, wherever its distribution keeps them.
    "rustls-native-certs": _crate("0.8"),
    # JSON schemas of Rust types, for tools that are typed closures.
    "schemars": _crate("1"),
    # Filters of system calls, compiled from a list.
    "seccompiler": _crate("0.5"),
    # Wire types are declared, not parsed by hand.
    "serde": _crate("1", features = ["derive"]),
    # JSON. `raw_value` passes a value through unparsed; `float_roundtrip` keeps every double exact.
    "serde_json": _crate("1", features = ["float_roundtrip", "raw_value"]),
    # The hash of a script in the audit log. rmcp brings it along.
    "sha2": _crate("0.11"),
    # What a configuration looks like before and after a change.
    "similar": _crate("3", features = ["std", "text"], default_features = False),
    # Licence expressions and the standard texts of licences, for the notices that the build makes.
    "spdx": _crate("0.13", features = ["text"]),
    # The word that was probably meant. clap brings it along.
    "strsim": _crate("0.11"),
    # Comparing secrets in a time that does not depend on them.
    "subtle": _crate("2", default_features = False),
    # The names of the kernel's calls by their numbers, for logs.
    "syscalls": _crate("0.8", default_features = False),
    # Private folders and files that vanish with their owner.
    "tempfile": _crate("3"),
    # How wide the terminal is. clap brings it along.
    "terminal_size": _crate("0.4"),
    # Error enums with messages, without hand-written Display.
    "thiserror": _crate("2"),
    # Pipes, child processes, signals, timers and tasks; `test-util` stops the clock in tests.
    "tokio": _crate("1", features = [
        "io-std",
        "io-util",
        "macros",
        "net",
        "process",
        "rt",
        "rt-multi-thread",
        "signal",
        "sync",
        "test-util",
        "time",
    ]),
    # TLS 1.3 for listeners beyond loopback. One provider: ring's build needs nothing but a C compiler.
    "tokio-rustls": _crate("0.26", features = ["ring"], default_features = False),
    # Web sockets, in the example that streams to one.
    "tokio-tungstenite": _crate("0.30", features = ["handshake"], default_features = False),
    # Cancellation tokens that form a tree, and a tracker of tasks to wait for.
    "tokio-util": _crate("0.7", features = ["rt"]),
    # The configuration file. Reading only.
    "toml": _crate("1", features = ["parse", "serde", "std"], default_features = False),
    # Edits of TOML that leave comments and layout as they are.
    "toml_edit": _crate("0.25", features = ["display", "parse"], default_features = False),
    # gRPC: the calls of the service and of its clients. The transport is hyper's.
    "tonic": _crate("0.14", features = ["channel", "codegen"], default_features = False),
    # The standard health service.
    "tonic-health": _crate("0.14", default_features = False),
    # Ties prost's messages to tonic's calls.
    "tonic-prost": _crate("0.14"),
    # Compiles the contract's messages and calls.
    "tonic-prost-build": _crate("0.14", default_features = False),
    # Diagnostics with fields, off stdout.
    "tracing": _crate("0.1"),
    # Where the diagnostics go: stderr, as text or JSON, filtered. Without colours.
    "tracing-subscriber": _crate("0.3", features = ["env-filter", "fmt", "json", "std"], default_features = False),
    # URLs and queries for the web's URL and URLSearchParams, as the WHATWG says.
    "url": _crate("2"),
    # Ids that nobody can guess.
    "uuid": _crate("1", features = ["v4"]),
    # V8 itself; third_party/v8 builds it, in the configuration that these features tell the crate.
    "v8": _crate("=152.2.0", features = V8_CRATE_FEATURES),
    # Patterns with `*` and `?` over names.
    "wildmatch": _crate("2"),
}
