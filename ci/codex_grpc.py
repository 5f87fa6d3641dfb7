# SPDX-License-Identifier: Apache-2.0
"""Plays a scripted model to the Codex CLI and checks what the CLI shows it; run by codex_grpc.sh.

The model is an HTTP server of a few lines: each of the CLI's requests gets the next call of the script as a stream of
events, and the request after it holds what became of that call. Each step says which texts must be among it, in order,
and which must not.

Usage: codex_grpc.py CODEX FOLDER
"""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field

# The CLI ends long before; a hang is a failure.
TIMEOUT_SECONDS = 120

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@dataclass
class Step:
    """One call of the model and what the model is shown of it."""

    name: str
    tool: str
    # The source of an exec, or the arguments of a wait; CELL stands for the cell that the last exec left running.
    input: str | dict
    # Regular expressions that the output has, one after the other.
    has: list[str]
    lacks: list[str] = field(default_factory=list)
    # How many images the output has.
    images: int = 0


def waits(name, has, **arguments):
    return Step(name, "wait", {"cell_id": "CELL", **arguments}, has)


STEPS = [
    Step("text", "exec", 'text("hello"); text({a: 1});', ["Script completed", "hello", r'\{"a":1\}']),
    Step(
        "one tool",
        "exec",
        'const r = await tools.exec_command({cmd: "echo one"}); text(r.output);',
        ["Script completed", "one"],
    ),
    Step(
        "parallel tools",
        "exec",
        "const all = await Promise.all([1, 2, 3].map(n => tools.exec_command({cmd: `echo n${n}`})));"
        'text(all.map(r => r.output.trim()).join("+"));',
        ["Script completed", r"n1\+n2\+n3"],
    ),
    Step(
        "a tool that fails",
        "exec",
        "try { await tools.view_image({path: '/nowhere.png'}); } catch (e) { text('caught: ' + (e.message ?? e)); }",
        ["Script completed", "caught: .*nowhere.png"],
    ),
    Step("store", "exec", 'store("k", {n: [1, 2]});', ["Script completed"]),
    Step("load", "exec", 'text(load("k").n);', ["Script completed", r"\[1,2\]"]),
    Step("image", "exec", f'image("{PIXEL}"); text("shown");', ["Script completed", "shown"], images=1),
    Step(
        "notify",
        "exec",
        'notify("half way"); await tools.exec_command({cmd: "true"}); text("the end");',
        # The notification stands before the result or after it.
        ["(?s)(?=.*half way)(?=.*Script completed)(?=.*the end)"],
    ),
    Step("an error", "exec", 'text("before"); throw new Error("boom");', ["before", "Script error", "Error: boom"]),
    Step("a syntax error", "exec", "const = 1;", ["Script error", "SyntaxError"]),
    Step("output that is too long", "exec", '// @exec: {"max_output_tokens": 20}\ntext("x".repeat(1000));',
         [r"truncated output \(original token count: 250\)", "x{40}…230 tokens truncated…x{40}$"]),
    Step(
        "yield",
        "exec",
        '// @exec: {"yield_time_ms": 50}\ntext("early"); await new Promise(r => setTimeout(r, 700)); text("late");',
        [r"Script running with cell ID \d+", "early"],
        lacks=["late"],
    ),
    waits("wait", ["Script completed", "late"], yield_time_ms=30000),
    waits("wait for what is over", ["Script (failed|error)|not found|finished"], yield_time_ms=50),
    Step(
        "yield_control",
        "exec",
        'text("a"); yield_control(); await new Promise(r => setTimeout(r, 200)); text("b");',
        [r"Script running with cell ID \d+", "a"],
        lacks=["\nb"],
    ),
    waits("wait after yield_control", ["Script completed", "b"], yield_time_ms=30000),
    Step(
        "an endless loop",
        "exec",
        '// @exec: {"yield_time_ms": 50}\nwhile (true) {}',
        [r"Script running with cell ID \d+"],
    ),
    waits("terminate", ["Script terminated"], terminate=True),
    Step("the session lives on", "exec", 'text(load("k").n.length);', ["Script completed", "2"]),
]


class Model(http.server.ThreadingHTTPServer):
    """The model's side of the conversation."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Request)
        self.turn = 0
        self.cell = None
        self.failures = []
        self.lock = threading.Lock()

    def next_item(self, request):
        """Checks what became of the last call, and gives the next."""
        with self.lock:
            if 0 < self.turn <= len(STEPS):
                self.check(STEPS[self.turn - 1], request)
            turn = self.turn
            self.turn += 1
        if turn >= len(STEPS):
            text = {"type": "output_text", "text": "done", "annotations": []}
            return {"type": "message", "id": f"m{turn}", "role": "assistant", "status": "completed", "content": [text]}
        step = STEPS[turn]
        call = {"id": f"c{turn}", "status": "completed", "call_id": f"call_{turn}", "name": step.tool}
        if step.tool == "exec":
            return call | {"type": "custom_tool_call", "input": step.input}
        arguments = json.dumps(step.input).replace("CELL", self.cell or "none")
        return call | {"type": "function_call", "arguments": arguments}

    def check(self, step, request):
        shown = outputs(request, f"call_{self.turn - 1}")
        text = "\n".join(item.get("text", "") for item in shown)
        running = re.search(r"Script running with cell ID (\S+)", text)
        if running:
            self.cell = running[1]
        wrong = []
        at = 0
        for pattern in step.has:
            found = re.compile(pattern, re.MULTILINE).search(text, at)
            if found:
                at = found.end()
            else:
                wrong.append(f"lacks {pattern!r}")
        wrong += [f"has {pattern!r}" for pattern in step.lacks if re.search(pattern, text)]
        images = sum(item.get("type") == "input_image" for item in shown)
        if images != step.images:
            wrong.append(f"has {images} images, not {step.images}")
        print(f"{'ok    ' if not wrong else 'WRONG '} {step.name}", flush=True)
        for reason in wrong:
            self.failures.append(f"{step.name}: {reason}")
            print(f"       {reason} in {text!r}", flush=True)


def outputs(request, call_id):
    """The pieces of every output of one call; a notification is an output too."""
    pieces = []
    for item in request["input"]:
        if item.get("call_id") == call_id and item["type"].endswith("_output"):
            output = item["output"]
            pieces += [{"type": "input_text", "text": output}] if isinstance(output, str) else output
    return pieces


class Request(http.server.BaseHTTPRequestHandler):
    """One request of the CLI."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer("application/json", b'{"object": "list", "data": [], "models": []}')

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.path.endswith("/responses"):
            self.answer("application/json", b"{}")
            return
        item = self.server.next_item(request)
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        events = [
            {"type": "response.created", "response": {"id": item["id"]}},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": {"id": item["id"], "usage": usage}},
        ]
        text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        self.answer("text/event-stream", text.encode())

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


CONFIG = """
model = "scripted"
model_provider = "scripted"
approval_policy = "never"
sandbox_mode = "danger-full-access"
suppress_unstable_features_warning = true

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
    codex, folder = sys.argv[1:]
    model = Model()
    threading.Thread(target=model.serve_forever, daemon=True).start()
    home, work = os.path.join(folder, "home"), os.path.join(folder, "work")
    os.makedirs(home)
    os.makedirs(work)
    with open(os.path.join(home, "config.toml"), "w", encoding="utf-8") as config:
        config.write(CONFIG.format(port=model.server_address[1]))
    # What the machine's own configuration says about models and proxies is not for this run.
    keep = ("PATH", "HOME", "LANG", "TMPDIR", "RUST_LOG")
    environment = {name: os.environ[name] for name in keep if name in os.environ} | {"CODEX_HOME": home}
    done = subprocess.run(
        [codex, "exec", "--skip-git-repo-check", "--json", "go"],
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0 or model.turn <= len(STEPS):
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        sys.exit(f"the CLI ended with {done.returncode} after {model.turn - 1} of {len(STEPS)} steps")
    if model.failures:
        print(done.stderr, file=sys.stderr)
        sys.exit(f"{len(model.failures)} checks failed")
    print(f"all {len(STEPS)} steps are as they should be")


if __name__ == "__main__":
    main()
