# SPDX-License-Identifier: Apache-2.0
"""A host that misbehaves in one way. Usage: fake_host.py MODE"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def read() -> dict[str, Any]:
    """One message of the client; ends the process at the end of the input."""
    header = sys.stdin.buffer.read(4)
    if len(header) < 4:
        sys.exit(0)
    message: dict[str, Any] = json.loads(sys.stdin.buffer.read(int.from_bytes(header, "little")))
    return message


def frame(message: dict[str, Any]) -> bytes:
    """The bytes of a message."""
    payload = json.dumps(message).encode()
    return len(payload).to_bytes(4, "little") + payload


def send(message: dict[str, Any]) -> None:
    """Writes a message."""
    sys.stdout.buffer.write(frame(message))
    sys.stdout.buffer.flush()


def ok(id: int, value: dict[str, Any]) -> dict[str, Any]:
    """An answer."""
    return {"type": "operation/response", "id": id, "result": {"status": "ok", "value": value}}


def greet() -> None:
    """Hello, ready and the session."""
    read()
    send({"type": "connection/ready", "selectedVersion": 1, "capabilities": []})
    send(ok(read()["id"], {"type": "session/ready", "sessionId": "session"}))


def started() -> int:
    """Starts the cell that is asked for."""
    id: int = read()["id"]
    send(ok(id, {"type": "execution/started", "cellId": "1"}))
    return id


def result(id: int, text: str) -> dict[str, Any]:
    """A result."""
    inner = {"cell_id": "1", "content_items": [{"type": "input_text", "text": text}], "error_text": None}
    return {"type": "execute/initialResponse", "id": id, "result": {"status": "ok", "value": {"Result": inner}}}


def until_input_ends() -> None:
    """Reads on, and answers a shutdown."""
    while True:
        message = read()
        if message.get("request", {}).get("method") == "session/shutdown":
            send(ok(message["id"], {"type": "session/closed", "sessionId": "session"}))


def invoke(id: int, input: object = None) -> dict[str, Any]:
    """A call of the tool `echo`."""
    invocation = {
        "cell_id": "1",
        "runtime_tool_call_id": f"tool-{id}",
        "tool_name": {"name": "echo", "namespace": None},
        "tool_kind": "function",
        "input": input,
    }
    request = {"type": "tool/invoke", "invocation": invocation}
    return {"type": "delegate/request", "id": id, "sessionId": "session", "request": request}


def main(mode: str) -> None:
    """Does what the mode says."""
    if mode == "silent":
        while True:
            time.sleep(60)
    if mode == "rejects":
        read()
        send({"type": "connection/rejected", "reason": {"type": "noCompatibleVersion", "supportedVersions": [7]}})
        sys.exit(1)
    if mode == "exits":
        print("first line\nthe second, which says why", file=sys.stderr, flush=True)
        sys.exit(3)
    if mode == "no_host":
        print("Usage: something else")
        sys.exit(0)
    greet()
    if mode == "unread":
        while True:
            time.sleep(60)
    if mode == "mute":
        # Reads everything and answers nothing but the shutdown.
        until_input_ends()
    if mode == "unread_then_dies":
        time.sleep(0.3)
        os.kill(os.getpid(), 9)
    id = started()
    if mode == "too_long":
        sys.stdout.buffer.write((64 * 1024 * 1024 + 1).to_bytes(4, "little"))
        sys.stdout.buffer.flush()
    elif mode == "no_json":
        sys.stdout.buffer.write(b"\x03\x00\x00\x00{]}")
        sys.stdout.buffer.flush()
    elif mode == "unknown_field":
        send({**result(id, "x"), "more": 1})
    elif mode == "twice":
        send(result(id, "x"))
        send(result(id, "x"))
    elif mode == "foreign_answer":
        send(ok(99, {"type": "session/ready", "sessionId": "session"}))
    elif mode == "unknown_cell":
        send({"type": "cell/closed", "sessionId": "session", "cellId": "7"})
    elif mode == "cut":
        sys.stdout.buffer.write(frame(result(id, "x"))[:-3])
        sys.stdout.buffer.flush()
        sys.exit(0)
    elif mode == "closes_output":
        os.close(1)
    elif mode == "drips":
        data = frame(result(id, "x" * 100))
        for begin in range(0, len(data), 16):
            sys.stdout.buffer.write(data[begin : begin + 16])
            sys.stdout.buffer.flush()
            time.sleep(0.05)
    elif mode == "audio":
        message = result(id, "x")
        message["result"]["value"]["Result"]["content_items"].append(
            {"type": "input_audio", "audio_url": "data:audio/wav;base64,AAEC"}
        )
        message["result"]["value"]["Result"]["code_mode_host_duration_ns"] = 12
        message["result"]["value"]["Result"]["result_buffered_for_ns"] = None
        send(message)
    elif mode == "many_calls":
        for number in range(1, 4098):
            send(invoke(number))
        answer = read()
        send(result(id, f"{answer['id']}: {answer['result'].get('message')}"))
        send({"type": "delegate/cancel", "id": 1})
        for number in range(2, 4097):
            send({"type": "delegate/cancel", "id": number})
        send({"type": "cell/closed", "sessionId": "session", "cellId": "1"})
    elif mode == "deep_call":
        deep = frame(invoke(1, "DEEP"))[4:].replace(b'"DEEP"', b"[" * 100_000 + b'"}"' + b"]" * 100_000)
        sys.stdout.buffer.write(len(deep).to_bytes(4, "little") + deep)
        sys.stdout.buffer.flush()
        answer = read()
        send(result(id, json.dumps(answer["result"])))
        send({"type": "cell/closed", "sessionId": "session", "cellId": "1"})
    elif mode == "hangs_on_input":
        # Ends neither with its input nor by itself.
        while True:
            time.sleep(60)
    until_input_ends()


main(sys.argv[1])
