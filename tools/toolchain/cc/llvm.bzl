# SPDX-License-Identifier: Apache-2.0
"""Where the build root has LLVM: Debian keeps each major version apart."""

load("//tools:versions.bzl", "LLVM")

# Libraries, libclang among them.
LLVM_LIBRARIES = "/usr/lib/llvm-%s/lib" % LLVM

# Clang's own headers and the libraries of its runtime.
CLANG_RESOURCES = "%s/clang/%s" % (LLVM_LIBRARIES, LLVM)

def llvm_tool(name):
    """The path of one of LLVM's programs, as `clang` or `llvm-ar`."""
    return "/usr/bin/%s-%s" % (name, LLVM)
