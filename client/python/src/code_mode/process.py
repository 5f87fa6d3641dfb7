# SPDX-License-Identifier: Apache-2.0
"""The process of a host: started in a session of its own, watched, killed with all it has started, reaped.

Everything runs in the event loop. The kernel tells of the process's end through a pidfd; where there is
none, a thread waits instead. A process that ends with its owner's loop still closed is killed and reaped
when its object goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .bounds import MAX_STDERR_LINE_BYTES, MAX_STDERR_LINES
from .errors import StartFailed

READ_BYTES = 256 * 1024
"""Bytes that are taken from a pipe at a time."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended."""

    status: int | None
    signal: int | None

    def __str__(self) -> str:
        if self.signal is not None:
            return f"it was killed by signal {self.signal}"
        return f"it exited with status {self.status}" if self.status is not None else "its status could not be had"


class StderrTail:
    """The last lines of a host's standard error, within bounds."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=MAX_STDERR_LINES)
        self._line = bytearray()
        self._cut = False

    def feed(self, data: bytes) -> None:
        """Takes bytes in."""
        for piece in data.splitlines(keepends=True):
            room = MAX_STDERR_LINE_BYTES - len(self._line)
            self._cut = self._cut or len(piece) > room
            self._line += piece[:room]
            if piece.endswith(b"\n"):
                self._finish_line()

    def text(self) -> str:
        """The last lines, oldest first, with what has come of one that is not whole."""
        lines = list(self._lines)
        rest = self._line.decode("utf-8", "replace").strip()
        return "\n".join([*lines, rest] if rest else lines)

    def _finish_line(self) -> None:
        text = self._line.decode("utf-8", "replace").rstrip() + ("…" if self._cut else "")
        if text:
            self._lines.append(text)
        self._line.clear()
        self._cut = False


class HostProcess:
    """A host that runs. `on_exit` is called once in the event loop, when it has ended and was reaped."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        working_folder: str | None,
        on_exit: Callable[[Exit], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_exit = on_exit
        self._pidfd: int | None = None
        self.exit: Exit | None = None
        self.reaped: asyncio.Future[None] = self._loop.create_future()
        self.stderr = StderrTail()
        try:
            # A session of its own: a Ctrl-C on the caller's terminal is the caller's to handle, and killing the group
            # ends whatever a program in front of the host has started.
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=dict(environment),
                cwd=working_folder,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise StartFailed(f"the code-mode host could not be started: {error}") from error
        self.pid = self._child.pid
        assert self._child.stdin and self._child.stdout and self._child.stderr
        self.stdin_fd: int = self._child.stdin.fileno()
        self.stdout_fd: int = self._child.stdout.fileno()
        self._stderr_fd: int = self._child.stderr.fileno()
        for fd in (self.stdin_fd, self.stdout_fd, self._stderr_fd):
            os.set_blocking(fd, False)
        self._loop.add_reader(self._stderr_fd, self._read_stderr)
        self._watch()

    def kill(self) -> None:
        """Kills the process and everything in its group; does nothing once it is reaped."""
        if self.exit is None:
            # Not reaped, so the number is still its own.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def drain_stderr(self) -> None:
        """Takes in what the process has said by now."""
        if self._child.stderr is not None and not self._child.stderr.closed:
            self._read_stderr()

    def close_stdin(self) -> None:
        """Ends the process's input, which tells a host to end."""
        if self._child.stdin is not None and not self._child.stdin.closed:
            self._child.stdin.close()

    def close_output(self) -> None:
        """Takes nothing more from the process."""
        self._close_stderr()
        if self._child.stdout is not None and not self._child.stdout.closed:
            self._child.stdout.close()

    def _watch(self) -> None:
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            threading.Thread(target=self._wait_in_thread, name="code-mode-host", daemon=True).start()
        else:
            self._loop.add_reader(self._pidfd, self._has_ended)

    def _wait_in_thread(self) -> None:
        if hasattr(os, "waitid"):
            # Leaves it a zombie, so that its number stays its own until it is reaped in the loop.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._child.wait()
        # The loop may be closed by now; then the object's end reaps.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._has_ended)

    def _has_ended(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        if self.exit is not None:
            return
        # The leader is a zombie and still holds its number, so the group is its own: what it has left behind ends too.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._child.wait()
        self.exit = Exit(code if code >= 0 else None, -code if code < 0 else None)
        if not self.reaped.done():
            self.reaped.set_result(None)
        self._on_exit(self.exit)

    def _read_stderr(self) -> None:
        while True:
            try:
                data = os.read(self._stderr_fd, READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._close_stderr()
                return
            self.stderr.feed(data)
            if len(data) < READ_BYTES:
                return

    def _close_stderr(self) -> None:
        if self._child.stderr is not None and not self._child.stderr.closed:
            self._loop.remove_reader(self._stderr_fd)
            self._child.stderr.close()

    def __del__(self) -> None:
        child = getattr(self, "_child", None)
        if child is None:
            return
        if self.exit is None:
            self.kill()
            child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None and not pipe.closed:
                pipe.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
