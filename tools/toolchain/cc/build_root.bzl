# SPDX-License-Identifier: Apache-2.0
"""What the build root is, for Bazel: keys that change when its programs change.

Programs of the build root are called by their absolute path inside it, which every action sees.
Bazel does not hash files there, so the two key files below stand for them: `tools/bazel` computes
both. `toolchain_key.txt` follows from the packages that can change what a compiler puts out and is an
input of each compile and link; `root_key.txt` follows from the whole root and is an input of every other
action that runs something, as a shell, an interpreter or the C library of the root. With the second in the
place of the first, V8 would be compiled anew for each new shell. `ci/keyed.sh` finds an action without.
`cpu_key.txt` stands for the processor, for the one action whose result depends on it: the C library chooses its
routines by what the processor can do, so the same program takes other instructions on another one.
"""

# What `tools/bazel` sets, and the file that tells it to actions.
_FILES = {
    "CODE_MODE_CPU_KEY": "cpu_key.txt",
    "CODE_MODE_ROOT_KEY": "root_key.txt",
    "CODE_MODE_TOOLCHAIN_KEY": "toolchain_key.txt",
}

def _build_root_impl(repository_ctx):
    for name, file in _FILES.items():
        key = repository_ctx.os.environ.get(name)
        if not key:
            fail("{} is not set: start Bazel by tools/bazel, which makes the build root and sets it".format(name))
        repository_ctx.file(file, key + "\n")
    repository_ctx.file("BUILD.bazel", "exports_files({})\n".format(json.encode(_FILES.values())))

build_root = repository_rule(
    implementation = _build_root_impl,
    doc = "Makes `//:toolchain_key.txt`, which identifies the compilers of the build root, `//:root_key.txt`, which identifies all of it, and `//:cpu_key.txt`, which identifies the machine's processor.",
    environ = _FILES.keys(),
)
