# SPDX-License-Identifier: Apache-2.0
"""The packages of the build root of which something ends up in what is shipped."""

_SYSROOT = "/opt/sysroot"
_GCC_EXCEPTION = "GPL-3.0-or-later WITH GCC-exception-3.1"

def _package(name, suite, licence, copyright):
    return dict(copyright = copyright, licence = licence, name = name, suite = suite)

# A test compares this list with the compilers that have left their names in the programs.
ROOT_PACKAGES = [
    # The standard library of Rust.
    _package("libstd-rust-dev", "forky", "MIT OR Apache-2.0", "/usr/share/doc/libstd-rust-dev/copyright"),
    # What the start and the end of each program is made of, and what its compiler calls.
    _package("libc6-dev", "bookworm", "LGPL-2.1-or-later", _SYSROOT + "/usr/share/doc/libc6-dev/copyright"),
    _package("libgcc-12-dev", "bookworm", _GCC_EXCEPTION, _SYSROOT + "/usr/share/doc/gcc-12-base/copyright"),
    # The libraries of the image. The other packages take those of the machine.
    _package("libc6", "bookworm", "LGPL-2.1-or-later", _SYSROOT + "/usr/share/doc/libc6/copyright"),
    _package("libgcc-s1", "bookworm", _GCC_EXCEPTION, _SYSROOT + "/usr/share/doc/gcc-12-base/copyright"),
]

# What the programs are linked to at run time.
IMAGE_LIBRARIES = [
    "{}/lib/x86_64-linux-gnu/{}".format(_SYSROOT, name)
    for name in [
        "ld-linux-x86-64.so.2",
        "libc.so.6",
        "libgcc_s.so.1",
        "libm.so.6",
    ]
]

# Where the image keeps who wrote these.
IMAGE_RIGHTS = {
    "libc6": _SYSROOT + "/usr/share/doc/libc6/copyright",
    "libgcc-s1": _SYSROOT + "/usr/share/doc/gcc-12-base/copyright",
}
