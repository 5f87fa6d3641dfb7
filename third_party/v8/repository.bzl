# SPDX-License-Identifier: Apache-2.0
"""Repositories made from the published crate `v8`, which carries V8's whole source.

The version and the sha256 come from Cargo.lock, the only crate lock; the file comes from Cargo's
own cache, which `tools/bazel` fills before Bazel runs.
"""

load("//third_party/crates:archive.bzl", "extract_crate", "locked_crates")
load(":config.bzl", "V8_SANDBOX")

_CRATE = "v8"

# What the crate keeps outside V8's tree and V8's BUILD file expects inside it, or the overlay uses.
_MOVES = [
    "buildtools",
    "src/binding.cc",
    "src/binding.hpp",
    "src/crdtp_binding.cc",
    "src/support.h",
    "third_party/dragonbox/src",
    "third_party/fast_float/src",
    "third_party/fp16/src",
    "third_party/icu",
    "third_party/jinja2",
    "third_party/libc++",
    "third_party/libc++abi",
    "third_party/llvm-libc/src",
    "third_party/markupsafe",
    "third_party/simdutf",
]

def _extract(repository_ctx, output, subfolder):
    lock = repository_ctx.path(Label("//:Cargo.lock"))
    repository_ctx.watch(lock)
    for crate in locked_crates(repository_ctx.read(lock)):
        if crate.name == _CRATE:
            extract_crate(repository_ctx, crate, output, subfolder)
            return
    fail("Cargo.lock has no crate {}".format(_CRATE))

def _v8_impl(repository_ctx):
    # V8's own BUILD file takes V8's tree for the root of its repository, so that tree becomes it.
    _extract(repository_ctx, "crate", "")
    result = repository_ctx.execute(["sh", "-euc", """
        mv crate/v8/* .
        for path in "$@"; do
            case $path in src/*) to=rusty_v8/$path ;; *) to=$path ;; esac
            mkdir -p "$(dirname "$to")"
            rm -rf "$to"
            mv "crate/$path" "$to"
        done
        mv crate/src rusty_v8/src/rust
        rm -r crate
        # ICU is built by one BUILD file of ours; its own would cut parts of it off as packages.
        find third_party/icu -name BUILD.bazel -delete
    """, "sh"] + _MOVES)
    if result.return_code != 0:
        fail("Failed to lay out V8's source: " + result.stderr)
    for patch in repository_ctx.attr.patches:
        repository_ctx.patch(patch, strip = 1)
    for overlay, target in repository_ctx.attr.overlays.items():
        repository_ctx.file(target, repository_ctx.read(overlay))
    for overlay, target in repository_ctx.attr.appended.items():
        repository_ctx.file(target, repository_ctx.read(target) + "\n" + repository_ctx.read(overlay))
    repository_ctx.file("code_mode_config.bzl", "V8_SANDBOX = {}\n".format(V8_SANDBOX))

v8_repository = repository_rule(
    implementation = _v8_impl,
    attrs = {
        "appended": attr.label_keyed_string_dict(
            doc = "Files of ours, each with the file of V8 that it is appended to.",
        ),
        "overlays": attr.label_keyed_string_dict(
            doc = "Files of ours, each with its place in V8's tree.",
        ),
        "patches": attr.label_list(
            doc = "Patches of V8's tree, in order.",
        ),
    },
    doc = "V8's source tree with the parts of the crate that it needs around it.",
    environ = ["CARGO_HOME"],
)

def _v8_part_impl(repository_ctx):
    _extract(repository_ctx, "", "/" + repository_ctx.attr.folder)
    for patch in repository_ctx.attr.patches:
        repository_ctx.patch(patch, strip = 1)

v8_part_repository = repository_rule(
    implementation = _v8_part_impl,
    attrs = {
        "folder": attr.string(
            doc = "The part's folder in the crate.",
            mandatory = True,
        ),
        "patches": attr.label_list(
            doc = "Patches of the part, in order.",
        ),
    },
    doc = "A library that the crate carries with Bazel files of its own.",
    environ = ["CARGO_HOME"],
)
