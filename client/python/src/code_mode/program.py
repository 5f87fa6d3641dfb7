# SPDX-License-Identifier: Apache-2.0
"""The command `code_mode` of an installed package: the program in it, in place of this process."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from .locate import PACKAGED_PLATFORM

PROGRAM = "code_mode"
"""The file name of the command line, beside the host."""

EXIT_SET_UP = 2
"""The command line's own exit status when it cannot do what it was asked."""


def main(*, package_folder: Path | None = None, platform_name: str | None = None) -> int:
    """Runs the program; returns only when there is none, after saying why."""
    program = (package_folder or Path(__file__).parent) / "bin" / PROGRAM
    try:
        os.execv(program, [str(program), *sys.argv[1:]])
    except OSError as error:
        print(f"code_mode: {_reason(program, error, platform_name)}", file=sys.stderr)
    return EXIT_SET_UP


def _reason(program: Path, error: OSError, platform_name: str | None) -> str:
    here = platform_name or f"{sys.platform}-{platform.machine().lower()}"
    if here != PACKAGED_PLATFORM:
        return f"there is no program for {here}, only for {PACKAGED_PLATFORM}: run it there, or in a container"
    if not program.exists():
        return (
            "this package came without its program, which needs glibc 2.34 or newer and pip 21.2 or newer: "
            "install it again where both are"
        )
    return f"Failed to start {program}: {error.strerror}"
