# SPDX-License-Identifier: Apache-2.0
"""Packs one package. Usage: pack.py KIND --output FILE OPTION..., from Bazel's rules in packages.bzl."""

import argparse
import sys
from pathlib import Path

from archives import Member, read
from debian import debian
from image import image, system
from npm import library, platform
from tarball import symbols, tarball
from wheel import wheel


def members(options: argparse.Namespace) -> dict[str, Member]:
    """The product as it is installed: each `--file` is DESTINATION=MODE=PATH, each folder goes with all its files."""
    found: dict[str, Member] = {}
    for entry in options.file:
        destination, mode, path = entry.split("=", 2)
        if Path(path).is_dir():
            for file in sorted(Path(path).rglob("*")):
                if file.is_file():
                    found[f"{destination}/{file.relative_to(path)}"] = read(file, int(mode, 8))
        else:
            found[destination] = read(path, int(mode, 8))
    return found


def files_of(paths: list[str]) -> list[str]:
    """The paths, with the files of folders in their place."""
    return [str(file) for path in paths for file in ([path] if Path(path).is_file() else sorted(Path(path).iterdir()))]


def packed(options: argparse.Namespace) -> bytes:
    """The package."""
    product = members(options)
    match options.kind:
        case "tarball":
            return tarball(product, options)
        case "symbols":
            return symbols(options.source, options)
        case "deb":
            return debian(product, options)
        case "wheel":
            return wheel(product, options.source, options, programs=True)
        case "wheel-anywhere":
            return wheel(product, options.source, options, programs=False)
        case "npm":
            return library(product, files_of(options.source), options)
        case "npm-linux-x64":
            return platform(product, "linux-x64", options)
        case "image":
            rights = dict(entry.split("=", 1) for entry in options.rights)
            return image(product, system(options.source, rights, "ld-linux-x86-64.so.2"), options)
        case other:
            raise ValueError(f"there is no package of the kind {other}")


def main() -> None:
    """Reads the arguments, writes the package."""
    parser = argparse.ArgumentParser(fromfile_prefix_chars="@")
    parser.add_argument("kind")
    for name in ["output", "product", "version", "time"]:
        parser.add_argument(f"--{name}", required=True)
    for name in ["maintainer", "readme", "pyproject", "package-json"]:
        parser.add_argument(f"--{name}")
    for name in ["file", "source", "rights"]:
        parser.add_argument(f"--{name}", action="append", default=[])
    options = parser.parse_args()
    try:
        content = packed(options)
    except ValueError as error:
        sys.exit(f"pack.py: {error}")
    Path(options.output).write_bytes(content)


if __name__ == "__main__":
    main()
