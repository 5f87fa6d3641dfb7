# SPDX-License-Identifier: Apache-2.0
"""The command `code_mode` of an installed package."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stderr
from pathlib import Path

from code_mode.program import EXIT_SET_UP, main


class ProgramTest(unittest.TestCase):
    """What `code_mode` does in an environment of pip."""

    def test_it_becomes_the_program_of_the_package_with_its_arguments(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder, "bin", "code_mode")
            program.parent.mkdir()
            program.write_text('#!/bin/sh\necho "$0" "$@"\nexit 7\n')
            program.chmod(0o755)
            script = (
                "import sys; from pathlib import Path; from code_mode.program import main; "
                f"sys.argv = ['code_mode', 'run', 'a b']; main(package_folder=Path({folder!r}))"
            )
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
            self.assertEqual((done.stdout, done.returncode), (f"{program} run a b\n", 7))

    def test_without_a_program_one_sentence_says_why(self) -> None:
        for platform_name, reason in [
            ("darwin-arm64", "there is no program for darwin-arm64, only for linux-x86_64"),
            ("linux-x86_64", "this package came without its program, which needs glibc 2.34 or newer"),
        ]:
            said = io.StringIO()
            with tempfile.TemporaryDirectory() as folder, redirect_stderr(said):
                status = main(package_folder=Path(folder), platform_name=platform_name)
            self.assertEqual(status, EXIT_SET_UP)
            self.assertTrue(said.getvalue().startswith(f"code_mode: {reason}"), said.getvalue())
            self.assertEqual(said.getvalue().count("\n"), 1)

    def test_a_program_that_cannot_be_started_is_named(self) -> None:
        said = io.StringIO()
        with tempfile.TemporaryDirectory() as folder, redirect_stderr(said):
            program = Path(folder, "bin", "code_mode")
            program.parent.mkdir()
            program.write_text("")
            main(package_folder=Path(folder), platform_name="linux-x86_64")
        self.assertIn(f"Failed to start {program}: Permission denied", said.getvalue())


if __name__ == "__main__":
    unittest.main()
