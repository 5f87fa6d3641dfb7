# SPDX-License-Identifier: Apache-2.0
"""Archives whose bytes follow from their members alone: no clock, no user, no order of a folder.

Every member has the time of the release, belongs to root, and stands where its path sorts it.
"""

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

PROGRAM = 0o755
"""The mode of what is run."""

DATA = 0o644
"""The mode of what is read."""

GZIP_LEVEL = 9
"""Packing happens once, fetching often."""

BLOCK = b"\n"
"""What fills a member of an `ar` archive up to an even length."""


@dataclass(frozen=True)
class Member:
    """One file of an archive: its content and mode, or where a symbolic link leads."""

    content: bytes = b""
    mode: int = DATA
    link: str = ""


Members = Mapping[str, Member]
"""What is in an archive, by its path."""


def seconds(time: str) -> int:
    """A time such as 2026-01-01T00:00:00Z in seconds since 1970."""
    return int(datetime.strptime(time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())


def read(path: str | Path, mode: int = DATA) -> Member:
    """A member with the content of a file."""
    return Member(Path(path).read_bytes(), mode)


def below(folder: str, members: Members) -> dict[str, Member]:
    """The same members in a folder."""
    return {f"{folder}/{path}": member for path, member in members.items()}


def folders(paths: Iterable[str]) -> list[str]:
    """The folders that paths lie in, outer ones first."""
    found = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    return sorted(found - {"."})


def tar(members: Members, time: str, *, prefix: str = "", modes: Mapping[str, int] | None = None) -> bytes:
    """A tar archive. `prefix` stands before each path; `modes` are those of folders that are not 0755."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as archive:

        def add(path: str, kind: bytes, mode: int, content: bytes = b"", link: str = "") -> None:
            entry = tarfile.TarInfo(prefix + path)
            entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(content), link
            entry.mtime = seconds(time)
            entry.uname = entry.gname = "root"
            archive.addfile(entry, io.BytesIO(content))

        for folder in sorted({*folders(members), *(modes or {})}):
            add(folder, tarfile.DIRTYPE, (modes or {}).get(folder, 0o755))
        for path, member in sorted(members.items()):
            if member.link:
                add(path, tarfile.SYMTYPE, 0o777, link=member.link)
            else:
                add(path, tarfile.REGTYPE, member.mode, member.content)
    return output.getvalue()


def compressed(content: bytes) -> bytes:
    """The content as gzip writes it, without a name and a time."""
    output = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=output, mode="wb", compresslevel=GZIP_LEVEL, mtime=0) as stream:
        stream.write(content)
    return output.getvalue()


def zipped(members: Members, time: str) -> bytes:
    """A zip archive, in the order of the members: wheels end with their list."""
    output = io.BytesIO()
    moment = datetime.fromtimestamp(seconds(time), UTC)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=GZIP_LEVEL) as archive:
        for path, member in members.items():
            entry = zipfile.ZipInfo(path, moment.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | member.mode) << 16
            archive.writestr(entry, member.content)
    return output.getvalue()


def ar(members: Members, time: str) -> bytes:
    """An `ar` archive as Debian's packages are, in the order of the members."""
    output = bytearray(b"!<arch>\n")
    for name, member in members.items():
        header = f"{name:<16}{seconds(time):<12}{0:<6}{0:<6}{stat.S_IFREG | member.mode:<8o}{len(member.content):<10}`\n"
        output += header.encode("ascii") + member.content
        output += BLOCK * (len(member.content) % 2)
    return bytes(output)
