# SPDX-License-Identifier: Apache-2.0
"""THIRD_PARTY_NOTICES and the SPDX document, from what is linked into the programs.

Fails when something is linked of which it is not known who wrote it and under which licence it is.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

RULE = "=" * 100
"""What stands between two texts."""


class Unknown(Exception):
    """Something is linked and cannot be accounted for."""


@dataclass
class Component:
    """Something of somebody else's that is in the programs."""

    name: str
    version: str
    licence: str
    kind: str
    copyright: str = ""
    url: str = ""
    purl: str = ""
    sha256: str = ""
    texts: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The name under which the SPDX document knows it."""
        return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", f"{self.kind}-{self.name}-{self.version}")


def repository_of(path: str) -> str:
    """The repository that a file of Bazel's `external` folder belongs to: `.../_main~crates~serde-1.0.1/LICENSE`."""
    found = re.search(r"(?:^|/)external/([^/]+)/", path)
    if not found:
        raise Unknown(f"{path} is in no external repository")
    return found.group(1).split("~")[-1]


def text_of(path: str) -> str:
    """The text of a licence file, in one form: the same words are to be printed once."""
    text = Path(path).read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n").replace("\f", "\n")
    return "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))


def crates(linked: list[str], facts: list[dict], files: list[str]) -> list[Component]:
    """The components that are crates."""
    by_repository = {fact["repository"]: fact for fact in facts}
    texts: dict[str, list[str]] = {}
    for path in sorted(files):
        texts.setdefault(repository_of(path), []).append(text_of(path))
    found = []
    for repository in linked:
        fact = by_repository.get(repository)
        if fact is None:
            raise Unknown(f"the crate {repository} is linked, and Cargo's metadata do not know it")
        if not fact["license"]:
            raise Unknown(f"the crate {repository} is linked, and its manifest names no licence")
        found.append(
            Component(
                name=fact["name"],
                version=fact["version"],
                licence=fact["license"],
                kind="crate",
                copyright=", ".join(re.sub(r"\s*<[^>]*>?", "", author) for author in fact["authors"]),
                url=fact["url"] or "",
                purl=f"pkg:cargo/{fact['name']}@{fact['version']}",
                sha256=fact["sha256"],
                texts=texts.get(repository, []),
            )
        )
    return found


def parts(linked: list[str], table: dict[str, dict], version: str) -> list[Component]:
    """The components that are parts of V8's source tree."""
    found = []
    for part in linked:
        facts = table.get(part)
        if facts is None:
            raise Unknown(f"{part} is compiled into V8's archive; say whose it is in third_party/v8/licences.bzl")
        for name, licence, copyright in facts:
            found.append(Component(name=name, version=version, licence=licence, kind="v8", copyright=copyright))
    for part in sorted(set(table) - set(linked)):
        raise Unknown(f"{part} is in third_party/v8/licences.bzl and no longer compiled into V8's archive: remove it")
    return found


def packages(table: list[dict], lock: str) -> list[Component]:
    """The components that are files of the build root's packages."""
    versions = {tuple(line.split()[:2]): line.split()[2:] for line in lock.splitlines() if len(line.split()) == 5}
    found = []
    for entry in table:
        locked = versions.get((entry["suite"], entry["name"]))
        if locked is None:
            raise Unknown(f"{entry['name']} of {entry['suite']} is linked and not in tools/root/packages.lock")
        found.append(
            Component(
                name=entry["name"],
                version=locked[0],
                licence=entry["licence"],
                kind="package",
                purl=f"pkg:deb/debian/{entry['name']}@{locked[0]}?arch=amd64&distro={entry['suite']}",
                sha256=locked[1],
                texts=[text_of(entry["copyright"])],
            )
        )
    return found


def with_standard_texts(components: list[Component], program: str) -> None:
    """Puts licence expressions into SPDX's form, and gives the standard texts to components that bring none."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "asked"), Path(folder, "answered")
        asked.write_text(json.dumps(sorted({component.licence for component in components})))
        subprocess.run([program, asked, answered], check=True)
        known = json.loads(answered.read_text())
    for component in components:
        licence = known[component.licence]
        component.licence = licence["expression"]
        component.texts = [text for text in component.texts if text]
        if not component.texts:
            component.texts = [text.strip("\n") for text in licence["texts"].values()]
        if not component.texts:
            raise Unknown(f"{component.name} {component.version} has no licence text")


def notices(components: list[Component], product: str) -> str:
    """The text of THIRD_PARTY_NOTICES: who is in it, then each licence text once, with those who use it."""
    lines = [
        f"{product} contains work of others. First what it is and under which licence each is, then the texts.",
        "",
    ]
    for component in components:
        holder = f" - {component.copyright}" if component.copyright else ""
        lines.append(f"* {component.name} {component.version}: {component.licence}{holder}")
    users: dict[str, list[str]] = {}
    for component in components:
        for text in dict.fromkeys(component.texts):
            users.setdefault(text, []).append(f"{component.name} {component.version}")
    for text, names in users.items():
        lines += ["", RULE, "The following text belongs to:", *(f"  {name}" for name in names), RULE, "", text]
    return "\n".join(lines) + "\n"


def document(components: list[Component], product: str, version: str, time: str) -> dict:
    """The SPDX document, version 2.3."""
    packages = [
        {
            "SPDXID": "SPDXRef-product",
            "name": product,
            "versionInfo": version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False,
            "licenseConcluded": "Apache-2.0",
            "licenseDeclared": "Apache-2.0",
            "copyrightText": "NOASSERTION",
            "primaryPackagePurpose": "APPLICATION",
        }
    ]
    for component in components:
        package = {
            "SPDXID": component.id,
            "name": component.name,
            "versionInfo": component.version,
            "downloadLocation": component.url or "NOASSERTION",
            "filesAnalyzed": False,
            "licenseConcluded": component.licence,
            "licenseDeclared": component.licence,
            "copyrightText": component.copyright or "NOASSERTION",
        }
        if component.sha256:
            package["checksums"] = [{"algorithm": "SHA256", "checksumValue": component.sha256}]
        if component.purl:
            package["externalRefs"] = [
                {
                    "referenceCategory": "PACKAGE-MANAGER",
                    "referenceType": "purl",
                    "referenceLocator": component.purl,
                }
            ]
        packages.append(package)
    relationships = [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-product")]
    relationships += [("SPDXRef-product", "CONTAINS", component.id) for component in components]
    content = hashlib.sha256(json.dumps(packages, sort_keys=True).encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{product}-{version}",
        # Unique to these contents, as the specification asks; nothing need be there.
        "documentNamespace": f"https://spdx.org/spdxdocs/{product}-{version}-{content}",
        "creationInfo": {"created": time, "creators": [f"Tool: {product}-tools-dist"]},
        "packages": packages,
        "relationships": [
            {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
            for one, kind, other in relationships
        ],
    }


def main() -> None:
    """Reads the arguments, writes both files."""
    parser = argparse.ArgumentParser(fromfile_prefix_chars="@")
    for name in ["linked", "crates", "parts", "packages", "lock", "licence-texts", "v8-version"]:
        parser.add_argument(f"--{name}", required=True)
    for name in ["product", "version", "time", "notices", "sbom"]:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--licence-file", action="append", default=[])
    options = parser.parse_args()
    load = lambda path: json.loads(Path(path).read_text())  # noqa: E731
    linked = load(options.linked)
    try:
        components = [
            *crates(linked["crates"], load(options.crates), options.licence_file),
            *parts(linked["parts"], load(options.parts), options.v8_version),
            *packages(load(options.packages), Path(options.lock).read_text()),
        ]
        with_standard_texts(components, options.licence_texts)
    except Unknown as error:
        sys.exit(f"notices.py: {error}")
    Path(options.notices).write_text(notices(components, options.product), encoding="utf-8")
    sbom = document(components, options.product, options.version, options.time)
    Path(options.sbom).write_text(json.dumps(sbom, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
