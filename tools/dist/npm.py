# SPDX-License-Identifier: Apache-2.0
"""The packages for npm: a small one with the library, and one for each platform with the programs.

npm installs of the small one's optional dependencies those that fit the machine.
"""

import argparse
import json
from pathlib import Path

from archives import PROGRAM, Member, Members, below, compressed, read, tar

PLATFORMS = {"linux-x64": {"os": ["linux"], "cpu": ["x64"], "libc": ["glibc"]}}
"""Where the programs run, in npm's words."""

LEFT_OUT = ["devDependencies", "scripts"]
"""What only matters to those who work on the library."""

PROGRAMS = ["code_mode", "code_mode_host"]


def _archive(members: Members, time: str) -> bytes:
    return compressed(tar(below("package", members), time))


def _manifest(fields: dict) -> Member:
    return Member((json.dumps(fields, indent=2) + "\n").encode())


def library(members: Members, compiled: list[str], options: argparse.Namespace) -> bytes:
    """The small package."""
    fields = json.loads(Path(options.package_json).read_text(encoding="utf-8"))
    if fields["version"] != options.version:
        raise ValueError(f"package.json is of version {fields['version']}, the build of {options.version}")
    fields = {key: value for key, value in fields.items() if key not in LEFT_OUT}
    fields["optionalDependencies"] = {f"{fields['name']}-{platform}": options.version for platform in PLATFORMS}
    # What npm starts has to be executable in the archive, too: not every installer sets the mode.
    programs = {Path(path).name for path in fields["bin"].values()}
    content = {
        f"dist/{Path(path).name}": read(path, PROGRAM if Path(path).name in programs else 0o644) for path in compiled
    }
    content |= {
        "LICENSE": members[f"share/doc/{options.product}/LICENSE"],
        "README.md": read(options.readme),
        "package.json": _manifest(fields),
    }
    return _archive(content, options.time)


def platform(members: Members, name: str, options: argparse.Namespace) -> bytes:
    """The package with the programs for one platform."""
    fields = json.loads(Path(options.package_json).read_text(encoding="utf-8"))
    library_name = fields["name"]
    doc = f"share/doc/{options.product}"
    content = {f"bin/{program}": members[f"bin/{program}"] for program in PROGRAMS}
    content |= {
        "LICENSE": members[f"{doc}/LICENSE"],
        "README.md": Member(f"# {library_name}-{name}\n\nThe programs of {library_name}, for {name}.\n".encode()),
        "THIRD_PARTY_NOTICES": members[f"{doc}/THIRD_PARTY_NOTICES"],
        f"{options.product}.spdx.json": members[f"{doc}/{options.product}.spdx.json"],
        "package.json": _manifest(
            {
                "name": f"{library_name}-{name}",
                "version": options.version,
                "description": f"The programs of {library_name}, for {name}",
                "license": fields["license"],
                "preferUnplugged": True,
                **PLATFORMS[name],
            }
        ),
    }
    return _archive(content, options.time)
