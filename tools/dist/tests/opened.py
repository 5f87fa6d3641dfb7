# SPDX-License-Identifier: Apache-2.0
"""Opens packages for the tests, by Python's own readers and not by what wrote them."""

import io
import json
import tarfile
import zipfile
from dataclasses import dataclass, field


@dataclass
class File:
    """A file in a package, or a link in it."""

    content: bytes
    mode: int
    link: str = ""
    owner: str = "0:0"
    time: int = 0


@dataclass
class Package:
    """The files of a package by path, in the order in which they stand in it."""

    files: dict[str, File] = field(default_factory=dict)

    def __getitem__(self, path: str) -> File:
        return self.files[path]

    def text(self, path: str) -> str:
        """A file's text."""
        return self.files[path].content.decode()

    def json(self, path: str) -> dict:
        """A file's value."""
        return json.loads(self.files[path].content)


def tar(content: bytes, strip: str = "") -> Package:
    """A tar archive, compressed or not; folders are left out."""
    package = Package()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for entry in archive:
            path = entry.name.removeprefix("./").removeprefix(strip)
            owner = f"{entry.uid}:{entry.gid}"
            if entry.issym():
                package.files[path] = File(b"", entry.mode, entry.linkname, owner, entry.mtime)
            elif entry.isfile():
                stream = archive.extractfile(entry)
                package.files[path] = File(stream.read() if stream else b"", entry.mode, "", owner, entry.mtime)
    return package


def wheel(content: bytes) -> Package:
    """A wheel."""
    package = Package()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            package.files[entry.filename] = File(archive.read(entry), (entry.external_attr >> 16) & 0o7777)
    return package


def ar(content: bytes) -> dict[str, bytes]:
    """The members of an `ar` archive."""
    if not content.startswith(b"!<arch>\n"):
        raise ValueError("this is no ar archive")
    members = {}
    at = 8
    while at < len(content):
        header = content[at : at + 60].decode("ascii")
        size = int(header[48:58])
        members[header[:16].rstrip()] = content[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    return members


def layers(image: Package) -> tuple[dict, list[bytes]]:
    """The configuration of an image in OCI layout, and its layers as they are kept."""

    def blob(reference: dict) -> bytes:
        return image[f"blobs/sha256/{reference['digest'].removeprefix('sha256:')}"].content

    manifest = json.loads(blob(image.json("index.json")["manifests"][0]))
    return json.loads(blob(manifest["config"])), [blob(layer) for layer in manifest["layers"]]


def root_of(image: Package) -> Package:
    """What a container of the image sees."""
    root = Package()
    for layer in layers(image)[1]:
        root.files |= tar(layer).files
    return root
