# SPDX-License-Identifier: Apache-2.0
"""The lints of every Rust package, for Bazel's rules and for Cargo's manifests alike.

All of them are warnings to the compiler, so that work in progress builds; the clippy test of each package fails on any
warning. An exception stands in the source as `#[expect(lint, reason = "...")]`.
"""

# Lints beyond the defaults. Key: the lint's tool. Value: its lints.
LINTS = {
    "rust": [
        # Every public item says what it is for.
        "missing_docs",
        # An unsafe function's body says which of its operations are the unsafe ones.
        "unsafe_op_in_unsafe_fn",
    ],
    "clippy": [
        # `#[allow]` without a reason tells the next reader nothing.
        "allow_attributes_without_reason",
        # A lock across an await is held for as long as the other side pleases: clippy.toml names more guards.
        "await_holding_invalid_type",
        "await_holding_lock",
        # Left over from debugging; and standard output carries frames only.
        "dbg_macro",
        "print_stderr",
        "print_stdout",
        # Unfinished work does not get in.
        "todo",
        "unimplemented",
        # Each unsafe block says why it is sound.
        "undocumented_unsafe_blocks",
    ],
}

# The conditions of builds that look for mistakes, which .bazelrc sets for them, and rust_crate.bzl for coverage.
CFGS = ["address_sanitizer", "coverage", "undefined_sanitizer"]

def lint_flags():
    """Gives the lints as flags of rustc and clippy.

    Returns:
        A list of flags. rustc passes over the lints of clippy.
    """
    return ["-W" + lint for lint in LINTS["rust"]] + ["-Wclippy::" + lint for lint in LINTS["clippy"]]
