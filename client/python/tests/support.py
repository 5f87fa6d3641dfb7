# SPDX-License-Identifier: Apache-2.0
"""What several tests need."""

from __future__ import annotations

import asyncio
import os
import select
import sys
import unittest
from pathlib import Path

from code_mode import Session, find_host

PATIENCE = 60.0
"""Seconds that anything may take before a test fails; nothing waits for this time to pass."""

FAKE_HOST = [sys.executable, str(Path(__file__).parent / "fake_host.py")]


def fake(mode: str) -> list[str]:
    """The command of a host that misbehaves."""
    return [*FAKE_HOST, mode]


async def is_ours(session: Session) -> bool:
    """Whether the host under test is the project's own."""
    return "code_mode/errors-v1" in session.capabilities


def children() -> set[int]:
    """The children of this process, zombies included."""
    return {
        int(pid)
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
    }


def wait_for_end(pid: int) -> bool:
    """Waits until a process that may not be a child has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(PATIENCE * 1000))
    finally:
        os.close(fd)


class HostTestCase(unittest.IsolatedAsyncioTestCase):
    """A test that leaves no process and no descriptor behind."""

    async def asyncSetUp(self) -> None:
        # The debug mode that unittest turns on keeps a stack for every task, which is slow where there are thousands.
        asyncio.get_running_loop().set_debug(False)
        self._fds = len(os.listdir("/proc/self/fd"))
        self._children = children()

    async def asyncTearDown(self) -> None:
        self.assertEqual(children() - self._children, set(), "a child is left")
        self.assertEqual(len(os.listdir("/proc/self/fd")), self._fds, "descriptors are left")


def host_command() -> list[str]:
    """The host under test."""
    return find_host()
