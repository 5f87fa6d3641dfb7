# SPDX-License-Identifier: Apache-2.0
"""The wheels: one with both programs for Linux on x86-64, one without for all else, which says where they run."""

import argparse
import base64
import hashlib
import tomllib
from pathlib import Path

from archives import PROGRAM, Member, Members, read, zipped

PLATFORM = "py3-none-manylinux_2_34_x86_64"
"""The tag of the wheel with the programs; //dist:glibc_test holds them to it."""

ANYWHERE = "py3-none-any"
"""The tag of the wheel without."""

PROGRAMS = ["code_mode", "code_mode_host"]


def metadata(project: dict, version: str, readme: str, rights: list[str]) -> str:
    """The text of METADATA, from the project's table in pyproject.toml."""
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {version}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        *(f"License-File: {name}" for name in rights),
        *(f"Classifier: {classifier}" for classifier in project["classifiers"]),
        f"Requires-Python: {project['requires-python']}",
        "Description-Content-Type: text/markdown",
    ]
    return "\n".join(lines) + "\n\n" + readme


def record(members: Members, path: str) -> Member:
    """The list of all files with their hashes, which is the last of them."""
    lines = []
    for name, member in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(member.content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(member.content)}")
    return Member(("\n".join([*lines, f"{path},,"]) + "\n").encode())


def wheel(members: Members, sources: list[str], options: argparse.Namespace, *, programs: bool) -> bytes:
    """A wheel of the module's sources, and of the programs if they are to be in it."""
    project = tomllib.loads(Path(options.pyproject).read_text(encoding="utf-8"))["project"]
    if project["version"] != options.version:
        raise ValueError(f"pyproject.toml is of version {project['version']}, the build of {options.version}")
    content = {f"code_mode/{Path(path).name}": read(path) for path in sorted(sources)}
    if programs:
        content |= {f"code_mode/bin/{name}": Member(members[f"bin/{name}"].content, PROGRAM) for name in PROGRAMS}
    rights = {"LICENSE": members[f"share/doc/{options.product}/LICENSE"]}
    if programs:
        for name in ["THIRD_PARTY_NOTICES", f"{options.product}.spdx.json"]:
            rights[name] = members[f"share/doc/{options.product}/{name}"]
    readme = Path(options.readme).read_text(encoding="utf-8")
    facts = metadata(project, options.version, readme, list(rights))
    tag = PLATFORM if programs else ANYWHERE
    info = f"{project['name'].replace('-', '_')}-{options.version}.dist-info"
    pure = "false" if programs else "true"
    content |= {f"{info}/licenses/{name}": member for name, member in rights.items()}
    content |= {
        f"{info}/METADATA": Member(facts.encode()),
        f"{info}/WHEEL": Member(
            f"Wheel-Version: 1.0\nGenerator: tools/dist\nRoot-Is-Purelib: {pure}\nTag: {tag}\n".encode()
        ),
        f"{info}/entry_points.txt": Member(b"[console_scripts]\ncode_mode = code_mode.program:main\n"),
    }
    content[f"{info}/RECORD"] = record(content, f"{info}/RECORD")
    return zipped(content, options.time)
