# SPDX-License-Identifier: Apache-2.0
"""The tarball: everything in the layout of /usr, with checksums, in one folder; and the symbols, apart."""

import argparse
import hashlib
import subprocess

from archives import Member, Members, below, compressed, read, tar

CHECKSUMS = "SHA256SUMS"
"""The list of all files of a tarball, for `sha256sum -c`."""


def checksums(members: Members) -> Member:
    """The lines of `sha256sum` about all members."""
    lines = [f"{hashlib.sha256(member.content).hexdigest()}  {path}" for path, member in sorted(members.items())]
    return Member(("\n".join(lines) + "\n").encode())


def tarball(members: Members, options: argparse.Namespace) -> bytes:
    """The whole product in a folder of its own."""
    listed = {**members, CHECKSUMS: checksums(members)}
    return compressed(tar(below(f"{options.product}-{options.version}-linux-x86_64", listed), options.time))


def build_id(program: str) -> str:
    """The id that the linker gave a program, which its symbols keep."""
    notes = subprocess.run(["/usr/bin/llvm-readelf-22", "-n", program], check=True, capture_output=True, text=True)
    found = [line.split()[-1] for line in notes.stdout.splitlines() if "Build ID:" in line]
    if len(found) != 1:
        raise ValueError(f"{program} has no build id")
    return found[0]


def has_line_tables(program: str) -> bool:
    """Whether a file of symbols knows lines of sources."""
    sections = subprocess.run(["/usr/bin/llvm-readelf-22", "-S", program], check=True, capture_output=True, text=True)
    return ".debug_line" in sections.stdout


def symbols(paths: list[str], options: argparse.Namespace) -> bytes:
    """The symbols of programs where debuggers look for them: by build id, below a folder `.build-id`."""
    members = {}
    for path in paths:
        if not has_line_tables(path):
            raise ValueError(f"{path} has no line tables: symbols are packed with --config=release")
        identity = build_id(path)
        members[f".build-id/{identity[:2]}/{identity[2:]}.debug"] = read(path)
    return compressed(tar(members, options.time))
