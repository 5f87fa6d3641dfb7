# SPDX-License-Identifier: Apache-2.0
"""Programs that libFuzzer of the build root drives: how they are compiled, and the test of each."""

load("@rules_rust//rust:defs.bzl", "rust_binary")
load("//tools/toolchain/cc:llvm.bzl", "CLANG_RESOURCES")

# LLVM's pass that counts the edges which an input takes and tells what is compared with what. rustc of any channel takes
# it. `--config=fuzz` in .bazelrc gives the same flags to all Rust.
_COVERAGE_FLAGS = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
]

# Whatever overflows or breaks an assertion is a finding.
_CHECK_FLAGS = ["-Cdebug-assertions=on", "-Coverflow-checks=on"]

# libFuzzer of the root's clang has the main function. It is written in C++ over the system's library: the one of the
# sysroot, which every Debian 12 has. No shipped program is linked with it.
_LINK_FLAGS = [
    "-Clink-arg=%s/lib/linux/libclang_rt.fuzzer-x86_64.a" % CLANG_RESOURCES,
    "-Clink-arg=/opt/sysroot/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
]

# Inputs that a test tries, its seeds included, unless the package says otherwise: a second or two.
_TEST_RUNS = 5000

def fuzz_target(name, src, srcs, deps, seeds, dictionary, runs, rustc_env, rustc_flags, version):
    """Declares a fuzz target with its test, NAME_test, and NAME_run, which `ci/fuzz.sh` starts long runs with.

    The test runs the target on its seeds and on a fixed number of inputs made from them, the same every time.

    Args:
        name: the name of the program.
        src: its source file, which calls `fuzz_target!` of //tools/fuzz.
        srcs: the modules that it shares with tests.
        deps: labels of the libraries that it uses.
        seeds: the files that fuzzing begins with.
        dictionary: the file of words that inputs are likely to hold, or None.
        runs: how many inputs the test tries, or None for the usual number.
        rustc_env: environment variables of the compiler.
        rustc_flags: flags of the compiler.
        version: the version of the crate.
    """
    rust_binary(
        name = name,
        testonly = True,
        srcs = [src] + srcs,
        crate_root = src,
        rustc_env = rustc_env,
        rustc_flags = rustc_flags + _CHECK_FLAGS + _LINK_FLAGS + select({
            "//tools/fuzz:all_rust_is_instrumented": [],
            "//conditions:default": _COVERAGE_FLAGS,
        }),
        version = version,
        deps = deps + ["//tools/fuzz"],
    )
    run = dict(
        srcs = ["//tools/fuzz:run.sh"],
        args = [
            str(runs or _TEST_RUNS),
            "$(rootpath {})".format(name),
            "$(rootpath {})".format(dictionary) if dictionary else "-",
        ] + ["$(rootpath {})".format(seed) for seed in seeds],
        data = [name] + ([dictionary] if dictionary else []) + seeds,
    )
    native.sh_test(
        name = name + "_test",
        size = "small",
        **run
    )
    native.sh_binary(
        name = name + "_run",
        testonly = True,
        # By which ci/fuzz.sh finds it.
        tags = ["fuzz"],
        **run
    )
