#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A scripted model for the Codex CLI, and what is checked of its runs.

    codex_model.py CLI WORK-FOLDER

Serves `POST /v1/responses` on loopback, has `CLI exec` talk to it, and answers each request with
the next turn of a script: a call of the CLI's `exec` or `wait`. What comes back for a turn is
compared with what the script says. Prints one line for each check; exit status 1 when one fails.

A turn's source runs in a cell of the host beside the CLI, so this shows that the CLI can read
everything that the host sends: a field that its decoder refuses fails every turn after it.
"""

import http.server
import json
import os
import re
import subprocess
import sys
import threading

DEADLINE_SECONDS = 120

# Each turn: the tool, its input, and what its output must contain. `{cell}` in an input is the
# cell that an earlier output has named.
TURNS = [
    ("exec", "text('first')", ["first"]),
    ("exec", "text(Object.keys(tools).length > 0)", ["true"]),
    (
        "exec",
        "const r = await tools.exec_command({cmd: 'echo from-the-tool'}); text(JSON.stringify(r))",
        ["from-the-tool"],
    ),
    ("exec", "store('kept', {a: [1, 2]}); text('stored')", ["stored"]),
    ("exec", "text(load('kept'))", ['{"a":[1,2]}']),
    ("exec", "text('before'); throw new Error('on purpose')", ["before", "on purpose"]),
    ("exec", "text('x'.repeat(100_000))", ["truncated"]),
    (
        "exec",
        "text('part one'); yield_control(); await new Promise((d) => setTimeout(d, 200)); text('part two')",
        ["part one", "running"],
    ),
    ("wait", {"cell_id": "{cell}", "yield_time_ms": 20_000}, ["part two"]),
    ("exec", "yield_control(); await new Promise(() => {})", ["running"]),
    ("wait", {"cell_id": "{cell}", "terminate": True}, ["terminated"]),
    ("wait", {"cell_id": "999", "yield_time_ms": 1_000}, ["not found"]),
    ("exec", "image('data:image/png;base64,{png}')", ["input_image"]),
    ("exec", "text('last')", ["last"]),
]

# One white pixel.
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)


class Script:
    """The conversation: which turn is next, and what came of those before."""

    def __init__(self):
        self.lock = threading.Lock()
        self.next = 0
        self.cell = ""
        self.results = {}

    def answer(self, request):
        """The model's answer to a request, as a list of output items."""
        with self.lock:
            self.take(request.get("input", []))
            if self.next == len(TURNS):
                return [self.message("done")]
            number = self.next
            self.next += 1
            name, source, _ = TURNS[number]
            call = f"call-{number}"
            if name == "exec":
                source = source.replace("{png}", PNG)
                return [
                    {"type": "custom_tool_call", "call_id": call, "name": name, "input": source}
                ]
            arguments = {
                key: value.replace("{cell}", self.cell) if isinstance(value, str) else value
                for key, value in source.items()
            }
            return [
                {
                    "type": "function_call",
                    "call_id": call,
                    "name": name,
                    "arguments": json.dumps(arguments),
                }
            ]

    def take(self, items):
        for item in items:
            if not item.get("type", "").endswith("_call_output"):
                continue
            output = item.get("output")
            if isinstance(output, list):
                output = "\n".join(part.get("text", part["type"]) for part in output)
            text = str(output)
            if item["call_id"] not in self.results:
                self.results[item["call_id"]] = text
                named = re.search(r"cell ID (\w+)", text)
                if named:
                    self.cell = named.group(1)

    @staticmethod
    def message(text):
        content = [{"type": "output_text", "text": text}]
        return {"type": "message", "role": "assistant", "id": "m", "content": content}


def handler(script):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if not self.path.endswith("/responses"):
                self.send_error(404)
                return
            items = script.answer(json.loads(body))
            usage = {
                "input_tokens": 1,
                "input_tokens_details": None,
                "output_tokens": 1,
                "output_tokens_details": None,
                "total_tokens": 2,
            }
            events = [{"type": "response.created", "response": {"id": "r"}}]
            events += [{"type": "response.output_item.done", "item": item} for item in items]
            events.append({"type": "response.completed", "response": {"id": "r", "usage": usage}})
            stream = "".join(
                f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events
            )
            payload = stream.encode()
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def do_GET(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    return Handler


def configuration(port):
    return f"""model = "scripted"
model_provider = "scripted"
approval_policy = "never"
sandbox_mode = "danger-full-access"

[model_providers.scripted]
name = "scripted"
base_url = "http://127.0.0.1:{port}/v1"
wire_api = "responses"

[features]
code_mode = true
code_mode_only = true
code_mode_host = true
"""


def main():
    cli, work = sys.argv[1], sys.argv[2]
    script = Script()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(script))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = os.path.join(work, "home")
    folder = os.path.join(work, "folder")
    os.makedirs(home, exist_ok=True)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(home, "config.toml"), "w") as file:
        file.write(configuration(server.server_address[1]))
    environment = dict(os.environ, CODEX_HOME=home)
    with open(os.path.join(work, "log"), "wb") as log:
        try:
            status = subprocess.run(
                [cli, "exec", "--skip-git-repo-check", "follow the script"],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=DEADLINE_SECONDS,
            ).returncode
        except subprocess.TimeoutExpired:
            status = f"none within {DEADLINE_SECONDS} s"
    failed = 0
    for number, (name, source, expected) in enumerate(TURNS):
        output = script.results.get(f"call-{number}")
        missing = [part for part in expected if output is None or part not in output]
        good = output is not None and not missing and "failed to decode" not in output
        failed += not good
        shown = "" if good else f": expected {missing}, the output is {(output or 'none')[:400]!r}"
        print(f"{'ok    ' if good else 'FAILED'} {number:2} {name} {str(source)[:60]}{shown}")
    print(f"{len(TURNS)} turns, {failed} failed; the CLI's exit status is {status}")
    sys.exit(1 if failed or status != 0 else 0)


main()
