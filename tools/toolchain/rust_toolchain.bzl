# SPDX-License-Identifier: Apache-2.0
"""The Rust toolchain over Debian's packages."""

load("@rules_rust//rust:toolchain.bzl", "rust_toolchain", "rustfmt_toolchain")

# What runs the compiler and what the compiled programs run on: one platform.
_TRIPLE = "x86_64-unknown-linux-gnu"
_CONSTRAINTS = [
    "@platforms//cpu:x86_64",
    "@platforms//os:linux",
]

def debian_rust_toolchain(name):
    """Declares the toolchains that MODULE.bazel registers as //tools/toolchain:rust and :rustfmt.

    Programs link through the C++ toolchain that Bazel resolves, as rules_rust always does.

    Args:
        name: the name of the Rust toolchain; the formatter's is NAMEfmt.
    """
    rust_toolchain(
        name = name + "_impl",
        binary_ext = "",
        cargo = "@debian_rust//:cargo",
        cargo_clippy = "@debian_rust//:cargo-clippy",
        clippy_driver = "@debian_rust//:clippy-driver",
        # Line tables keep backtraces readable in every mode and cost little to compile.
        debug_info = {
            "dbg": "line-tables-only",
            "fastbuild": "line-tables-only",
            "opt": "0",
        },
        default_edition = "2024",
        dylib_ext = ".so",
        exec_triple = _TRIPLE,
        # What is slower than this misses the deadlines of tests.
        opt_level = {
            "dbg": "1",
            "fastbuild": "0",
            "opt": "3",
        },
        # The C++ toolchain links with -pthread. rustc names every library itself, so clang calls that flag unused, and
        # rustc reports whatever a linker says.
        extra_rustc_flags = ["-Clink-arg=-Wno-unused-command-line-argument"],
        rust_doc = "@debian_rust//:rustdoc",
        rust_std = "@debian_rust//:rust_std",
        rustc = "@debian_rust//:rustc",
        rustc_lib = "@debian_rust//:rustc_lib",
        rustfmt = "@debian_rust//:rustfmt",
        staticlib_ext = ".a",
        stdlib_linkflags = [
            "-lpthread",
            "-ldl",
        ],
        # A release carries no symbols: nobody debugs it in place, and they would be most of its size.
        strip_level = {
            "dbg": "none",
            "fastbuild": "none",
            "opt": "symbols",
        },
        target_triple = _TRIPLE,
    )
    native.toolchain(
        name = name,
        exec_compatible_with = _CONSTRAINTS,
        target_compatible_with = _CONSTRAINTS,
        toolchain = name + "_impl",
        toolchain_type = "@rules_rust//rust:toolchain_type",
    )
    rustfmt_toolchain(
        name = name + "fmt_impl",
        rustc = "@debian_rust//:rustc",
        rustc_lib = "@debian_rust//:rustc_lib",
        rustfmt = "@debian_rust//:rustfmt",
    )
    native.toolchain(
        name = name + "fmt",
        exec_compatible_with = _CONSTRAINTS,
        target_compatible_with = _CONSTRAINTS,
        toolchain = name + "fmt_impl",
        toolchain_type = "@rules_rust//rust/rustfmt:toolchain_type",
    )
