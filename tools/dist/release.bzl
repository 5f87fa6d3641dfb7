# SPDX-License-Identifier: Apache-2.0
"""What a release says about itself, beside its version in MODULE.bazel. docs/releasing.md tells when to change it."""

# The name of the product, in file names and documents.
PRODUCT = "code_mode"

# The time that every file in a package carries: the day of the release, so that a package can be made again.
RELEASE_TIME = "2026-11-21T00:00:00Z"

# Whom the Debian package names; who publishes it elsewhere puts the own name here.
MAINTAINER = "Code Mode maintainers <maintainers@code-mode.invalid>"

# The newest glibc whose symbols the programs may use: what manylinux_2_34 and the Debian package promise.
MAX_GLIBC = "2.34"
