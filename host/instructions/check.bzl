# SPDX-License-Identifier: Apache-2.0
"""The check of a host's instructions against the baseline, and what renews that."""

load("//tools:cargo_sync.bzl", "sync_files")

def instruction_check(baseline, counter, host):
    """Declares `:measured`, what the host costs; `:baseline_test`; and `:renew`, which writes the baseline.

    The measurement is an action and not part of the test, so that `renew`, which runs outside the build root, writes
    what the build root's valgrind and C library gave.

    Args:
        baseline: the name of the baseline's file in this package.
        counter: the label of the program `count_instructions`.
        host: the label of the host program.
    """

    # The programs are sources: as tools they would be built, V8 with them, once more in the other configuration.
    native.genrule(
        name = "measured",
        srcs = [counter, host],
        outs = ["measured.txt"],
        cmd = "$(execpath {}) measure $(execpath {}) $@".format(counter, host),
        # Only the test and `renew` want it: `build //...` is not to wait for it.
        tags = ["manual"],
        # valgrind and the C library are the root's, and that one's routines are chosen by the processor.
        tools = [
            "//tools/toolchain/cc:cpu_key",
            "//tools/toolchain/cc:root_key",
        ],
    )

    # No script is needed around it: the test is the program itself.
    native.sh_test(
        name = "baseline_test",
        size = "small",
        srcs = [counter],
        args = [
            "compare",
            "$(rootpath {})".format(baseline),
            "$(rootpath :measured)",
        ],
        data = [
            baseline,
            ":measured",
        ],
        # Counting takes a while, and says nothing about a build with checks or sanitizers: the gate asks for it by name.
        tags = ["manual"],
    )

    sync_files(
        name = "renew",
        files = {":measured": native.package_name() + "/" + baseline},
        tags = ["manual"],
    )
