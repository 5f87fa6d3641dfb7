# SPDX-License-Identifier: Apache-2.0
"""Archives follow from their members alone, and other programs can read them."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

import opened  # noqa: E402
from archives import PROGRAM, Member, ar, compressed, tar, zipped  # noqa: E402
from notices import Unknown, crates, packages, parts, text_of  # noqa: E402
from tarball import checksums  # noqa: E402

TIME = "2026-01-02T03:04:06Z"
MEMBERS = {"b/c": Member(b"two"), "a": Member(b"one", PROGRAM), "l": Member(link="a")}


class ArchivesTest(unittest.TestCase):
    """Archives."""

    def test_the_order_in_which_members_come_changes_nothing(self) -> None:
        turned = dict(reversed(MEMBERS.items()))
        self.assertEqual(compressed(tar(MEMBERS, TIME)), compressed(tar(turned, TIME)))
        plain = {path: member for path, member in MEMBERS.items() if not member.link}
        self.assertEqual(checksums(plain), checksums(dict(reversed(plain.items()))))

    def test_a_tar_archive_has_all_members_with_modes_links_and_the_time(self) -> None:
        files = opened.tar(compressed(tar(MEMBERS, TIME))).files
        self.assertEqual(list(files), ["a", "b/c", "l"])
        self.assertEqual((files["a"].content, files["a"].mode, files["l"].link), (b"one", 0o755, "a"))
        self.assertEqual({file.time for file in files.values()}, {1767323046})

    def test_a_zip_archive_keeps_the_order_and_the_modes(self) -> None:
        plain = {path: member for path, member in MEMBERS.items() if not member.link}
        files = opened.wheel(zipped(plain, TIME)).files
        self.assertEqual(list(files), ["b/c", "a"])
        self.assertEqual((files["a"].mode, files["b/c"].mode), (0o755, 0o644))

    def test_an_ar_archive_fills_members_of_odd_length(self) -> None:
        members = ar({"x": Member(b"odd"), "y": Member(b"even")}, TIME)
        self.assertEqual(opened.ar(members), {"x": b"odd", "y": b"even"})
        self.assertEqual(len(members), 8 + 60 + 4 + 60 + 4)


class NoticesTest(unittest.TestCase):
    """What is linked and cannot be accounted for stops the build."""

    FACT = {"name": "a", "version": "1.0.0", "repository": "a-1.0.0", "authors": ["A B <a@b.example>"], "url": None}

    def test_a_crate_without_a_licence_is_refused(self) -> None:
        with self.assertRaisesRegex(Unknown, "names no licence"):
            crates(["a-1.0.0"], [{**self.FACT, "license": None, "sha256": ""}], [])
        with self.assertRaisesRegex(Unknown, "do not know it"):
            crates(["b-1.0.0"], [], [])

    def test_the_authors_of_a_crate_are_named_without_their_addresses(self) -> None:
        [component] = crates(["a-1.0.0"], [{**self.FACT, "license": "MIT", "sha256": ""}], [])
        self.assertEqual(component.copyright, "A B")

    def test_a_part_of_v8_that_nobody_has_described_is_refused(self) -> None:
        with self.assertRaisesRegex(Unknown, "third_party/v8/licences.bzl"):
            parts(["v8/third_party/new"], {}, "1")

    def test_a_part_of_v8_that_is_gone_is_refused_too(self) -> None:
        with self.assertRaisesRegex(Unknown, "remove it"):
            parts([], {"v8/third_party/old": []}, "1")

    def test_a_package_that_the_lock_does_not_know_is_refused(self) -> None:
        entry = {"name": "libc6", "suite": "bookworm", "licence": "MIT", "copyright": __file__}
        with self.assertRaisesRegex(Unknown, "packages.lock"):
            packages([entry], "forky libc6 1 00 pool/c.deb\n")
        [found] = packages([entry], "# comment\narchive 20260101T000000Z\nbookworm libc6 1 00 pool/c.deb\n")
        self.assertEqual((found.version, found.sha256), ("1", "00"))

    def test_the_same_words_are_one_text(self) -> None:
        here = Path(__file__)
        self.assertEqual(text_of(str(here)), "\n".join(line.rstrip() for line in here.read_text().strip().split("\n")))


if __name__ == "__main__":
    unittest.main(verbosity=2)
