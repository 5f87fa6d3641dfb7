# SPDX-License-Identifier: Apache-2.0
"""Versions of what is not ours and that no lock file pins, each written here alone.

Shell scripts read them with `version_of` (tools/versions.sh): each is one line, NAME = "VALUE".
docs/build.md says where every other version stands.
"""

# The major version of LLVM in the build root: clang, lld and their tools carry it in their names, so another version in
# the root is an error and no surprise. tools/root/packages.txt asks for the packages, as Debian calls them.
LLVM = "22"

# The gcc whose runtime files the sysroot has: that of the oldest Debian our programs run on.
SYSROOT_GCC = "12"

# What checks the third-party crates (ci/deny.sh), and the checksum of its crate.
CARGO_DENY = "0.20.2"
CARGO_DENY_SHA256 = "e528dfcbe739af7ce37a77d3d6df1b29dd6887b1c701d888820c0f16b864f737"

# The Codex CLI of npm that speaks gRPC (ci/codex_grpc.sh), and the checksum of its package for Linux.
CODEX = "0.169.0"
CODEX_LINUX_SHA512 = "a34e4dc803820f28123d1a35ca29f3c6f91149d9ac672043f44ee66e99a345a9d27ccf25ca9a96b50804a385df364c21b82476685bbc9a518eb101855d56d5c3"

# Those that speak V1 frames, one for each dialect (ci/codex.sh).
CODEX_OF_FRAMES = "0.147.0 0.157.0 0.163.0"

# What checks the manifests against the published schemas of Kubernetes, and brings these along (ci/manifests.sh).
KUBERNETES_VALIDATE = "1.37.0"

# What ci/mcp.sh tries our MCP front end with: servers and the inspector of npm, the client library of PyPI, and agents.
MCP_SERVERS = "2026.8.31"
MCP_INSPECTOR = "2.12.0"
MCP_PYTHON = "2.3.0"
CLAUDE_CODE = "2.1.197"
GEMINI_CLI = "0.61.0"
