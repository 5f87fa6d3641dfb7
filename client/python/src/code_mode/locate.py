# SPDX-License-Identifier: Apache-2.0
"""Where the host program is."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import HostNotFound

HOST_PROGRAM = "code_mode_host"
"""The file name of the host."""

HOST_VARIABLE = "CODE_MODE_HOST"
"""The environment variable that names the host."""

PACKAGED_PLATFORM = "linux-x86_64"
"""The platform whose host a package of ours can carry."""

HostCommand = str | os.PathLike[str] | Sequence[str]
"""A program, or a program with its arguments, such as `["ssh", "box", "code_mode_host"]`."""


def find_host(
    host: HostCommand | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    package_folder: Path | None = None,
    platform_name: str | None = None,
) -> list[str]:
    """The command of the host: the argument, CODE_MODE_HOST, this package's own program, or one in PATH.

    Raises HostNotFound, with all that was looked at in one sentence.
    """
    environment = os.environ if environment is None else environment
    search_path = environment.get("PATH")
    if host is not None:
        command = [os.fspath(host)] if isinstance(host, (str, os.PathLike)) else list(host)
        return _named("host=", command, search_path)
    if value := environment.get(HOST_VARIABLE):
        return _named(HOST_VARIABLE, [value], search_path)
    packaged = (package_folder or Path(__file__).parent) / "bin" / HOST_PROGRAM
    if _is_program(packaged):
        return [str(packaged)]
    if found := shutil.which(HOST_PROGRAM, path=search_path):
        return [found]
    here = platform_name or f"{sys.platform}-{platform.machine().lower()}"
    if here != PACKAGED_PLATFORM:
        raise HostNotFound(
            f"there is no code-mode host for {here}, only for {PACKAGED_PLATFORM}: "
            f"name one with host= or {HOST_VARIABLE}, for instance one that runs elsewhere behind ssh"
        )
    raise HostNotFound(
        f"the code-mode host was not found: name it with host= or {HOST_VARIABLE}, install a package that carries it, "
        f"or put {HOST_PROGRAM} into PATH (there is none at {packaged})"
    )


def _named(by: str, command: list[str], search_path: str | None) -> list[str]:
    if not command or not command[0]:
        raise HostNotFound(f"the code-mode host that {by} names is empty")
    program = command[0]
    if os.sep not in program and (found := shutil.which(program, path=search_path)):
        return [found, *command[1:]]
    if not _is_program(Path(program)):
        raise HostNotFound(f"the code-mode host that {by} names cannot be run: {program} is no executable file")
    return [os.path.abspath(program), *command[1:]]


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
