# SPDX-License-Identifier: Apache-2.0
"""What is in the packages: the same programs in each, and all that each kind of package has to say."""

import base64
import csv
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import opened  # noqa: E402

PROGRAMS = ["code_mode", "code_mode_host"]
DOC = "share/doc/code_mode/"

# What a compiler or linker calls itself in the programs, and the package whose code it stands for. The linker and clang
# put in nothing of their own; V8 is what clang compiled.
PRODUCERS = {
    r"Linker: Debian LLD ": None,
    r"Debian clang version ": None,
    r"GCC: \(Debian 12\.": "libgcc-12-dev",
    r"rustc version ": "libstd-rust-dev",
}

# The files of an image that may be run.
EXECUTABLE = {"usr/bin/code_mode", "usr/bin/code_mode_host"}


class Packages:
    """The packages that the command line names, opened."""

    def __init__(self, paths: list[str]) -> None:
        content = {kind: Path(path).read_bytes() for kind, path in (entry.split("=", 1) for entry in paths)}
        self.top = "code_mode-" + json.loads(content["linked"])["version"] + "-linux-x86_64/"
        self.linked = json.loads(content["linked"])
        self.tarball = opened.tar(content["tarball"], strip=self.top)
        self.deb = opened.ar(content["deb"])
        self.deb_files = opened.tar(self.deb["data.tar.gz"])
        self.wheel = opened.wheel(content["wheel"])
        self.wheel_anywhere = opened.wheel(content["wheel_anywhere"])
        self.npm = opened.tar(content["npm"], strip="package/")
        self.npm_platform = opened.tar(content["npm_platform"], strip="package/")
        self.image = opened.tar(content["image"])
        self.root = opened.root_of(self.image)
        self.version = self.linked["version"]


packages: Packages


def digest(content: bytes) -> str:
    """The hash of some bytes."""
    return hashlib.sha256(content).hexdigest()


class ProgramsTest(unittest.TestCase):
    """The programs are the same everywhere."""

    def test_every_package_has_the_same_programs_and_lets_them_run(self) -> None:
        for name in PROGRAMS:
            places = {
                "tarball": packages.tarball[f"bin/{name}"],
                "deb": packages.deb_files[f"usr/bin/{name}"],
                "wheel": packages.wheel[f"code_mode/bin/{name}"],
                "npm": packages.npm_platform[f"bin/{name}"],
                "image": packages.root[f"usr/bin/{name}"],
            }
            self.assertEqual(len({digest(file.content) for file in places.values()}), 1, name)
            self.assertEqual({kind: file.mode for kind, file in places.items()}, dict.fromkeys(places, 0o755))

    def test_the_programs_have_no_symbols_and_a_build_id(self) -> None:
        for name in PROGRAMS:
            with tempfile.NamedTemporaryFile() as file:
                file.write(packages.tarball[f"bin/{name}"].content)
                file.flush()
                told = readelf("-S", "-n", file.name)
            self.assertNotIn(".symtab", told)
            self.assertNotIn(".debug_line", told)
            self.assertRegex(told, r"Build ID: [0-9a-f]{40}\b")


class TarballTest(unittest.TestCase):
    """The tarball."""

    def test_its_checksums_are_those_of_all_its_files(self) -> None:
        listed = dict(reversed(line.split("  ", 1)) for line in packages.tarball.text("SHA256SUMS").splitlines())
        files = {path: digest(file.content) for path, file in packages.tarball.files.items() if path != "SHA256SUMS"}
        self.assertEqual(listed, files)

    def test_everything_is_roots_and_of_one_time(self) -> None:
        files = packages.tarball.files.values()
        self.assertEqual({file.owner for file in files}, {"0:0"})
        self.assertEqual(len({file.time for file in files}), 1)
        self.assertEqual(list(packages.tarball.files), sorted(packages.tarball.files))

    def test_it_has_documents_manual_pages_completions_and_examples(self) -> None:
        for path in [
            f"{DOC}LICENSE",
            f"{DOC}README.md",
            f"{DOC}CHANGELOG.md",
            f"{DOC}THIRD_PARTY_NOTICES",
            f"{DOC}code_mode.spdx.json",
            f"{DOC}docs/cli.md",
            "share/man/man1/code_mode.1",
            "share/man/man1/code_mode-run.1",
            "share/bash-completion/completions/code_mode",
            "share/zsh/site-functions/_code_mode",
            "share/fish/vendor_completions.d/code_mode.fish",
            "share/code_mode/examples/hello/hello.js",
        ]:
            self.assertGreater(len(packages.tarball[path].content), 0, path)
        self.assertEqual(packages.tarball["share/code_mode/examples/source_report/count_lines.sh"].mode, 0o755)


class DebTest(unittest.TestCase):
    """The Debian package."""

    def test_it_is_what_dpkg_takes(self) -> None:
        self.assertEqual(list(packages.deb), ["debian-binary", "control.tar.gz", "data.tar.gz"])
        self.assertEqual(packages.deb["debian-binary"], b"2.0\n")
        control = opened.tar(packages.deb["control.tar.gz"])
        fields = dict(line.split(": ", 1) for line in control.text("control").splitlines() if not line.startswith(" "))
        self.assertEqual((fields["Package"], fields["Architecture"]), ("code-mode", "amd64"))
        self.assertEqual(fields["Version"], packages.version)
        self.assertIn("libc6 (>= 2.34)", fields["Depends"])
        sums = dict(reversed(line.split("  ", 1)) for line in control.text("md5sums").splitlines())
        files = packages.deb_files.files.items()
        self.assertEqual(sums, {path: hashlib.md5(file.content).hexdigest() for path, file in files})

    def test_it_says_where_debian_looks_whose_all_this_is(self) -> None:
        rights = packages.deb_files.text("usr/share/doc/code-mode/copyright")
        self.assertIn("Apache License", rights)
        self.assertIn("V8", rights)


class WheelTest(unittest.TestCase):
    """The wheels."""

    def test_its_record_lists_every_file_with_its_hash(self) -> None:
        for wheel in [packages.wheel, packages.wheel_anywhere]:
            record = next(path for path in wheel.files if path.endswith(".dist-info/RECORD"))
            self.assertEqual(list(wheel.files)[-1], record)
            for path, sum, size in csv.reader(io.StringIO(wheel.text(record))):
                if path == record:
                    continue
                content = wheel[path].content
                encoded = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                self.assertEqual((sum, int(size)), (f"sha256={encoded}", len(content)), path)

    def test_one_is_for_linux_with_glibc_and_one_for_everything_else(self) -> None:
        info = f"code_mode_client-{packages.version}.dist-info"
        self.assertIn("Tag: py3-none-manylinux_2_34_x86_64\n", packages.wheel.text(f"{info}/WHEEL"))
        self.assertIn("Tag: py3-none-any\n", packages.wheel_anywhere.text(f"{info}/WHEEL"))
        self.assertFalse([path for path in packages.wheel_anywhere.files if "/bin/" in path])
        for wheel in [packages.wheel, packages.wheel_anywhere]:
            self.assertIn("License-Expression: Apache-2.0\n", wheel.text(f"{info}/METADATA"))
            self.assertIn(f"{info}/licenses/LICENSE", wheel.files)

    def test_the_module_that_it_holds_runs_the_program_that_it_holds(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            unpack(packages.wheel, folder)
            script = "import sys; from code_mode.program import main; sys.argv = ['code_mode', '--version']; main()"
            done = subprocess.run(
                [sys.executable, "-B", "-c", script], cwd=folder, capture_output=True, text=True, check=True
            )
        self.assertTrue(done.stdout.startswith(f"code_mode {packages.version}"), done.stdout)

    def test_without_its_program_it_says_in_one_sentence_where_there_is_one(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            unpack(packages.wheel_anywhere, folder)
            script = "import sys; from code_mode.program import main; sys.exit(main(platform_name='darwin-arm64'))"
            done = subprocess.run([sys.executable, "-B", "-c", script], cwd=folder, capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(
            done.stderr,
            "code_mode: there is no program for darwin-arm64, only for linux-x86_64: run it there, or in a container\n",
        )


class NpmTest(unittest.TestCase):
    """The packages for npm."""

    def test_the_small_one_asks_for_the_one_with_the_programs_in_the_same_version(self) -> None:
        small, platform = packages.npm.json("package.json"), packages.npm_platform.json("package.json")
        self.assertEqual(small["optionalDependencies"], {platform["name"]: packages.version})
        self.assertEqual((small["version"], platform["version"]), (packages.version, packages.version))
        self.assertEqual((platform["os"], platform["cpu"], platform["libc"]), (["linux"], ["x64"], ["glibc"]))
        self.assertNotIn("devDependencies", small)
        self.assertNotIn("scripts", small)

    def test_all_that_the_small_one_names_is_in_it(self) -> None:
        fields = packages.npm.json("package.json")
        named = [fields["types"], *fields["exports"]["."].values(), *fields["bin"].values()]
        for path in named:
            self.assertIn(path.removeprefix("./"), packages.npm.files)
        for path, file in packages.npm.files.items():
            for target in re.findall(r'from "\./([^"]+)"', file.content.decode()) if path.endswith((".js", ".d.ts")) else []:
                self.assertIn(f"dist/{target}", packages.npm.files, path)
        self.assertEqual(packages.npm["dist/program.js"].mode, 0o755)
        self.assertTrue(packages.npm["dist/program.js"].content.startswith(b"#!/usr/bin/env node\n"))


class ImageTest(unittest.TestCase):
    """The container image."""

    def test_every_blob_is_what_its_name_says_and_every_layer_what_the_configuration_says(self) -> None:
        for path, file in packages.image.files.items():
            if path.startswith("blobs/sha256/"):
                self.assertEqual(digest(file.content), path.removeprefix("blobs/sha256/"))
        config, layers = opened.layers(packages.image)
        unpacked = [f"sha256:{digest(gzip.decompress(layer))}" for layer in layers]
        self.assertEqual(config["rootfs"]["diff_ids"], unpacked)

    def test_nobody_in_it_is_root_and_nothing_in_it_is_a_shell(self) -> None:
        config, _ = opened.layers(packages.image)
        self.assertEqual(config["config"]["User"], "65532:65532")
        self.assertIn("nonroot:x:65532:65532:", packages.root.text("etc/passwd"))
        run = {path for path, file in packages.root.files.items() if file.mode & 0o111 and not file.link}
        libraries = {path for path in run if path.startswith("usr/lib/x86_64-linux-gnu/")}
        scripts = {path for path in run if path.startswith("usr/share/code_mode/examples/")}
        self.assertEqual(run - libraries - scripts, EXECUTABLE)

    def test_what_it_starts_and_what_checks_its_health_is_in_it(self) -> None:
        config, _ = opened.layers(packages.image)
        started = config["config"]["Entrypoint"][0], config["config"]["Healthcheck"]["Test"][1]
        for path in started:
            self.assertIn(path.removeprefix("/"), packages.root.files)

    def test_every_library_that_the_programs_need_is_in_it(self) -> None:
        for name in PROGRAMS:
            with tempfile.NamedTemporaryFile() as file:
                file.write(packages.root[f"usr/bin/{name}"].content)
                file.flush()
                needed = re.findall(r"NEEDED.*\[(.*)\]", readelf("-d", file.name))
            self.assertTrue(needed)
            for library in needed:
                self.assertIn(f"usr/lib/x86_64-linux-gnu/{library}", packages.root.files)


class NoticesTest(unittest.TestCase):
    """Who wrote what is in the programs."""

    def setUp(self) -> None:
        self.sbom = packages.tarball.json(f"{DOC}code_mode.spdx.json")
        self.notices = packages.tarball.text(f"{DOC}THIRD_PARTY_NOTICES")

    def test_every_linked_crate_is_in_both(self) -> None:
        known = {f"{package['name']}-{package['versionInfo']}".replace("+", "-") for package in self.sbom["packages"]}
        self.assertEqual(set(packages.linked["crates"]) - known, set())
        self.assertGreater(len(packages.linked["crates"]), 100)
        for package in self.sbom["packages"][1:]:
            self.assertIn(f"{package['name']} {package['versionInfo']}: ", self.notices)

    def test_every_component_has_a_licence_and_a_text(self) -> None:
        head, *texts = self.notices.split("The following text belongs to:\n")
        owners = {line.strip() for text in texts for line in text.split("=" * 100)[0].splitlines()}
        for package in self.sbom["packages"][1:]:
            self.assertNotIn(package["licenseDeclared"], ["", "NOASSERTION"], package["name"])
            self.assertIn(f"{package['name']} {package['versionInfo']}", owners)

    def test_whatever_compiled_a_part_of_a_program_has_its_library_accounted_for(self) -> None:
        known = {package["name"] for package in self.sbom["packages"]}
        for name in PROGRAMS:
            with tempfile.NamedTemporaryFile() as file:
                file.write(packages.tarball[f"bin/{name}"].content)
                file.flush()
                said = re.findall(r"^\[ *[0-9a-f]+\] (.*)$", readelf("-p", ".comment", file.name), re.MULTILINE)
            self.assertTrue(said)
            for producer in said:
                matching = [package for pattern, package in PRODUCERS.items() if re.match(pattern, producer)]
                self.assertEqual(len(matching), 1, f"{producer} in {name} stands for no known package")
                self.assertTrue(matching[0] is None or matching[0] in known, matching)

    def test_the_document_is_one_that_readers_of_spdx_take(self) -> None:
        self.assertEqual(self.sbom["spdxVersion"], "SPDX-2.3")
        ids = [package["SPDXID"] for package in self.sbom["packages"]]
        self.assertEqual(len(ids), len(set(ids)))
        for identity in ids:
            self.assertRegex(identity, r"^SPDXRef-[A-Za-z0-9.-]+$")
        related = {relation["relatedSpdxElement"] for relation in self.sbom["relationships"]}
        self.assertEqual(related, set(ids))


class RunTest(unittest.TestCase):
    """The product as it is unpacked."""

    def test_the_example_runs_from_the_unpacked_tarball(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            unpack(packages.tarball, folder)
            example = f"{folder}/share/code_mode/examples/hello"
            done = subprocess.run(
                [f"{folder}/bin/code_mode", "run", f"{example}/hello.js", "a", "b", "--tools", f"{example}/tools.json"],
                env={**os.environ, "PATH": f"{folder}/bin"},
                capture_output=True,
                text=True,
            )
        self.assertEqual((done.stdout, done.returncode), ("HELLO A\nHELLO B\n", 0), done.stderr)


def readelf(*arguments: str) -> str:
    """What llvm-readelf says."""
    return subprocess.run(["/usr/bin/llvm-readelf-22", *arguments], check=True, capture_output=True, text=True).stdout


def unpack(package: opened.Package, folder: str) -> None:
    """Writes the files of a package."""
    for path, file in package.files.items():
        target = Path(folder, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode)


if __name__ == "__main__":
    packages = Packages(sys.argv[1:])
    unittest.main(argv=sys.argv[:1], verbosity=2)
