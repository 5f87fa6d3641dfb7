# SPDX-License-Identifier: Apache-2.0
"""The package for Debian and its relatives."""

import argparse
import hashlib

from archives import Member, Members, ar, below, compressed, tar

NAME = "code-mode"
"""Debian's names have no underscore."""

DEPENDS = "libc6 (>= 2.34), libgcc-s1 (>= 4.2)"
"""What the programs are linked to; //dist:glibc_test holds the first to its word."""

KIBIBYTE = 1024


def control(members: Members, options: argparse.Namespace) -> Member:
    """What dpkg is told about the package."""
    size = sum(-(-len(member.content) // KIBIBYTE) for member in members.values())
    return Member(
        f"""Package: {NAME}
Version: {options.version}
Architecture: amd64
Maintainer: {options.maintainer}
Installed-Size: {size}
Depends: {DEPENDS}
Section: devel
Priority: optional
Description: run JavaScript that calls tools, in V8, in a process of its own
 An agent hands a script to the host code_mode_host, which runs it in a fresh
 V8 isolate with nothing but the agent's own tools and bounds all it uses.
 The command line code_mode does the same for people.
""".encode()
    )


def debian(members: Members, options: argparse.Namespace) -> bytes:
    """The .deb: two archives in one, what to know and what to unpack."""
    rights = members[f"share/doc/{options.product}/LICENSE"].content
    rights += b"\n\n" + members[f"share/doc/{options.product}/THIRD_PARTY_NOTICES"].content
    files = below("usr", members) | {f"usr/share/doc/{NAME}/copyright": Member(rights)}
    sums = "".join(f"{hashlib.md5(member.content).hexdigest()}  {path}\n" for path, member in sorted(files.items()))
    about = {"control": control(files, options), "md5sums": Member(sums.encode())}
    return ar(
        {
            "debian-binary": Member(b"2.0\n"),
            "control.tar.gz": Member(compressed(tar(about, options.time, prefix="./"))),
            "data.tar.gz": Member(compressed(tar(files, options.time, prefix="./"))),
        },
        options.time,
    )
