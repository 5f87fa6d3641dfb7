# SPDX-License-Identifier: Apache-2.0
"""The container image, in the layout of the Open Container Initiative: the programs, what they link to, no shell."""

import argparse
import hashlib
import json

from archives import Member, Members, below, compressed, read, tar

USER = 65532
"""The user and group of the process: nobody's, and by custom that of images without root."""

USER_NAME = "nonroot"

SECOND = 1_000_000_000
"""A second in the image's unit, nanoseconds."""

HEALTH = ["CMD", "/usr/bin/code_mode", "run", "--quiet", "-e", "text('well')"]
"""Runs a script in a host of its own: shows that scripts can run in this container."""


def system(libraries: list[str], rights: dict[str, str], loader: str) -> dict[str, Member]:
    """What a dynamically linked program expects around itself."""
    user = f"{USER_NAME}:x:{USER}:{USER}:{USER_NAME}:/home/{USER_NAME}:/usr/sbin/nologin\n"
    members = {
        "etc/passwd": Member(f"root:x:0:0:root:/root:/usr/sbin/nologin\n{user}".encode()),
        "etc/group": Member(f"root:x:0:\n{USER_NAME}:x:{USER}:\n".encode()),
        "lib64": Member(link="usr/lib64"),
        "lib": Member(link="usr/lib"),
        f"usr/lib64/{loader}": Member(link=f"../lib/x86_64-linux-gnu/{loader}"),
    }
    for path in libraries:
        members[f"usr/lib/x86_64-linux-gnu/{path.rsplit('/', 1)[-1]}"] = read(path, 0o755)
    for name, path in rights.items():
        members[f"usr/share/doc/{name}/copyright"] = read(path)
    return members


def layer(members: Members, time: str) -> tuple[bytes, str]:
    """A layer as it is fetched, and the digest of what it unpacks to."""
    modes = {"tmp": 0o1777} if "etc/passwd" in members else {}
    plain = tar(members, time, modes=modes)
    return compressed(plain), f"sha256:{hashlib.sha256(plain).hexdigest()}"


def image(members: Members, base: Members, options: argparse.Namespace) -> bytes:
    """The layout as a tar archive, as `podman load`, `docker load` and skopeo's `oci-archive:` take it."""
    blobs: dict[str, Member] = {}

    def blob(content: bytes, kind: str) -> dict:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = Member(content)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    def text(value: dict, kind: str) -> dict:
        return blob(json.dumps(value, indent=1, sort_keys=True).encode(), kind)

    layers = [layer(base, options.time), layer(below("usr", members), options.time)]
    labels = {
        "org.opencontainers.image.title": options.product,
        "org.opencontainers.image.version": options.version,
        "org.opencontainers.image.licenses": "Apache-2.0",
    }
    config = text(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": options.time,
            "config": {
                "User": f"{USER}:{USER}",
                "Entrypoint": ["/usr/bin/code_mode_host"],
                "Env": ["PATH=/usr/bin"],
                "WorkingDir": "/tmp",
                "StopSignal": "SIGTERM",
                "Labels": labels,
                # No part of the OCI's format: Docker reads it, others pass it over.
                "Healthcheck": {"Test": HEALTH, "Interval": 30 * SECOND, "Timeout": 10 * SECOND, "Retries": 3},
            },
            "rootfs": {"type": "layers", "diff_ids": [digest for _, digest in layers]},
            "history": [
                {"created": options.time, "created_by": f"{options.product}: {what}"}
                for what in ["libraries of Debian 12", "programs"]
            ],
        },
        "config.v1+json",
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [blob(content, "layer.v1.tar+gzip") for content, _ in layers],
    }
    entry = text(manifest, "manifest.v1+json") | {
        "annotations": {"org.opencontainers.image.ref.name": f"{options.product}:{options.version}"},
        "platform": {"architecture": "amd64", "os": "linux"},
    }
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}
    content = {
        "oci-layout": Member(json.dumps({"imageLayoutVersion": "1.0.0"}).encode()),
        "index.json": Member(json.dumps(index, indent=1, sort_keys=True).encode()),
        **blobs,
    }
    return tar(content, options.time)
