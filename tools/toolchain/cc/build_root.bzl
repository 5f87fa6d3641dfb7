# SPDX-License-Identifier: Apache-2.0
"""What the build root is, for Bazel: a key that changes when its compilers change.

Compilers are called by their absolute path inside the build root, which every action sees.
Bazel does not hash files there, so the key file below, an input of each compile and link, stands
for them: `tools/bazel` computes it from the names, versions and checksums of the packages that can
change what a compiler puts out.
"""

def _build_root_impl(repository_ctx):
    key = repository_ctx.os.environ.get("CODE_MODE_TOOLCHAIN_KEY")
    if not key:
        fail("CODE_MODE_TOOLCHAIN_KEY is not set: start Bazel by tools/bazel, which makes the build root and sets it")
    repository_ctx.file("toolchain_key.txt", key + "\n")
    repository_ctx.file("BUILD.bazel", 'exports_files(["toolchain_key.txt"])\n')

build_root = repository_rule(
    implementation = _build_root_impl,
    doc = "Makes `//:toolchain_key.txt`, which identifies the compilers of the build root.",
    environ = ["CODE_MODE_TOOLCHAIN_KEY"],
)
