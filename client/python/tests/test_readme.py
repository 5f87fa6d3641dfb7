# SPDX-License-Identifier: Apache-2.0
"""The README's first example, run as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

from .support import PATIENCE

FOLDER = Path(__file__).parents[1]


class Readme(unittest.TestCase):
    def test_the_first_example_prints_its_sum(self) -> None:
        match = re.search(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
        assert match is not None
        environment = {**os.environ, "PYTHONPATH": str(FOLDER / "src")}
        done = subprocess.run(
            [sys.executable, "-c", match[1]], capture_output=True, text=True, env=environment, timeout=PATIENCE
        )
        self.assertEqual((done.stdout, done.stderr), ("3\n", ""))
