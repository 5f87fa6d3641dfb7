# SPDX-License-Identifier: Apache-2.0
"""Formatting and lints of Rust sources as tests."""

load("@rules_rust//rust:defs.bzl", "rust_clippy_aspect")

def _rustfmt_test_impl(ctx):
    toolchain = ctx.toolchains["@rules_rust//rust/rustfmt:toolchain_type"]
    script = ctx.actions.declare_file(ctx.label.name + ".sh")
    ctx.actions.write(script, is_executable = True, content = "\n".join([
        "#!/bin/sh",
        "# Exit status 1 and a diff when a file is not as rustfmt would write it; it goes from the roots to their modules.",
        "exec {} --check --config-path {} {}".format(
            toolchain.rustfmt.short_path,
            ctx.file._config.short_path,
            " ".join([source.short_path for source in ctx.files.roots]),
        ),
        "",
    ]))
    return [DefaultInfo(
        executable = script,
        runfiles = ctx.runfiles(ctx.files.srcs + [ctx.file._config], transitive_files = toolchain.all_files),
    )]

rustfmt_test = rule(
    implementation = _rustfmt_test_impl,
    doc = "Checks that the sources are formatted. To format: `cargo fmt`, or rustfmt on the file.",
    attrs = {
        "roots": attr.label_list(allow_files = [".rs"], doc = "The roots of crates.", mandatory = True),
        "srcs": attr.label_list(allow_files = [".rs"], doc = "The roots and their modules.", mandatory = True),
        "_config": attr.label(allow_single_file = True, default = "//:rustfmt.toml"),
    },
    test = True,
    toolchains = ["@rules_rust//rust/rustfmt:toolchain_type"],
)

def _clippy_test_impl(ctx):
    reports = depset(transitive = [target[OutputGroupInfo].clippy_checks for target in ctx.attr.targets])
    script = ctx.actions.declare_file(ctx.label.name + ".sh")
    ctx.actions.write(script, is_executable = True, content = "\n".join([
        "#!/bin/sh",
        "# Each report is what clippy said about one crate: nothing, or warnings.",
        "status=0",
        "for report in {}; do".format(" ".join([report.short_path for report in reports.to_list()])),
        "  if [ -s \"$report\" ]; then cat \"$report\"; status=1; fi",
        "done",
        "exit $status",
        "",
    ]))
    return [DefaultInfo(executable = script, runfiles = ctx.runfiles(transitive_files = reports))]

clippy_test = rule(
    implementation = _clippy_test_impl,
    doc = "Fails on any warning of rustc or clippy about the targets. Needs --@rules_rust//:capture_clippy_output.",
    attrs = {"targets": attr.label_list(aspects = [rust_clippy_aspect], mandatory = True)},
    test = True,
)
