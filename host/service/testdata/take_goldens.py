#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Takes truncated output of the public host, as golden cases for `truncation`.

    take_goldens.py PATH-OF-codex-code-mode-host > truncation.json

The host is driven over V1 frames with the capability `bounded-output-v1` and a session of
`outputTruncation: server`. Each case is one cell that puts out the items of the case and, where
the case has one, throws its error; what the host answers is the expectation. Texts are written as
lists of pieces, each a string or [string, count], since some have a mebibyte.
"""

import json
import random
import re
import struct
import subprocess
import sys

MIB = 1 << 20
HALF = MIB // 2
ALL = 2_147_483_647
IMAGE = {"image": "data:image/png;base64,AAAA"}
AUDIO = {"audio": "data:audio/wav;base64,AAAA"}


def text(*pieces):
    return {"text": list(pieces)}


class Host:
    def __init__(self, path):
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        self.process = subprocess.Popen([path], stdin=pipe, stdout=pipe, stderr=null)
        self.id = 0
        self.send(
            {
                "type": "connection/hello",
                "supportedVersions": [1],
                "requiredCapabilities": ["bounded-output-v1"],
                "optionalCapabilities": [],
            }
        )
        assert self.receive()["type"] == "connection/ready"
        self.request(
            {"method": "session/open", "sessionId": "s", "outputTruncation": "server"}
        )
        assert self.receive()["result"]["status"] == "ok"

    def send(self, message):
        payload = json.dumps(message).encode()
        self.process.stdin.write(struct.pack("<I", len(payload)) + payload)
        self.process.stdin.flush()

    def receive(self):
        (length,) = struct.unpack("<I", self.process.stdout.read(4))
        return json.loads(self.process.stdout.read(length))

    def request(self, request):
        self.id += 1
        self.send({"type": "operation/request", "id": self.id, "request": request})

    def run(self, source, tokens):
        self.request(
            {
                "method": "session/execute",
                "sessionId": "s",
                "request": {
                    "tool_call_id": "c",
                    "enabled_tools": [],
                    "source": source,
                    "yield_time_ms": 60_000,
                    "max_output_tokens": tokens,
                },
            }
        )
        while True:
            message = self.receive()
            if message["type"] == "execute/initialResponse":
                return message["result"]["value"]["Result"]


def script(case):
    """The script that puts out the items of a case."""
    pieces = lambda parts: "+".join(
        json.dumps(part) if isinstance(part, str) else f"{json.dumps(part[0])}.repeat({part[1]})"
        for part in parts
    ) or '""'
    lines = []
    for item in case["items"]:
        if "text" in item:
            lines.append(f"text({pieces(item['text'])});")
        elif "image" in item:
            lines.append(f"image({json.dumps(item['image'])});")
        else:
            lines.append(f"audio({json.dumps(item['audio'])});")
    if case.get("error") is not None:
        lines.append(f"throw {pieces(case['error'])};")
    return "\n".join(lines)


def packed(whole):
    """A text as pieces, with what repeats often written once."""
    pieces = []
    at = 0
    for run in re.finditer(r"(.{1,13}?)\1{15,}", whole, re.DOTALL):
        if run.start() > at:
            pieces.append(whole[at : run.start()])
        pieces.append([run.group(1), len(run.group(0)) // len(run.group(1))])
        at = run.end()
    if at < len(whole):
        pieces.append(whole[at:])
    return pieces


def shown(item):
    if item["type"] == "input_text":
        return {"text": packed(item["text"])}
    if item["type"] == "input_image":
        return {"image": item["image_url"]}
    return {"audio": item["audio_url"]}


def written_cases():
    """Cases that were thought of, each for a rule or an edge."""
    a = lambda count: text(["a", count])
    b = lambda count: text(["b", count])
    c = lambda count: text(["c", count])
    yield from (
        ([text(["abcdefghij", 4])], 10),
        ([text(["abcdefghij", 4], "k")], 10),
        ([text(["abcdefghij", 10])], 10),
        ([text(["a\nb\nc", 20])], 5),
        ([text("a"), text("b"), IMAGE, text("c")], 10),
        ([a(30), b(30), IMAGE, c(30)], 10),
        ([], 0),
        ([text("")], 0),
        ([text(), text()], 0),
        ([a(30)], 0),
        ([text(["€", 30])], 5),
        ([text(["€", 31])], 1),
        ([text(["€", 31], "a")], 3),
        ([text(["€", 33], "bc")], 3),
        ([text(["a€", 33])], 2),
        ([text(["😀", 33])], 3),
        ([text("a\n\n")], 0),
        ([text("\n\n\nabcdefgh\n")], 1),
        ([text("a\r\nb\rcdefgh")], 1),
        ([text("a"), text(), b(20)], 2),
        ([text(), b(20)], 2),
        ([text(), text(), b(20)], 2),
        ([text("abc"), AUDIO, b(20)], 2),
        ([text("abc"), AUDIO, b(1)], 1),
        ([text("abcd"), IMAGE, b(4), text()], 2),
        ([text("abcd"), IMAGE, b(4), text(), text("c")], 2),
        ([text("abcd"), IMAGE, text(), text(), text("c"), IMAGE], 1),
        ([IMAGE, IMAGE], 0),
        ([IMAGE, text()], 5),
        ([IMAGE, text("a")], 0),
        ([AUDIO], 7),
        ([AUDIO], 6),
        ([AUDIO, AUDIO], 13),
        ([AUDIO, text("abcdefgh")], 8),
        ([AUDIO, text("abcdefgh")], 6),
        ([AUDIO, AUDIO, IMAGE, AUDIO], 7),
        ([a(100_000)], None),
        ([a(39_999)], None),
        # What one response holds at most.
        ([a(MIB)], ALL),
        ([a(MIB + 1)], ALL),
        ([a(MIB + 1)], 10),
        ([a(MIB - 1), text("yz")], ALL),
        ([a(MIB - 1), text("y"), text("z")], ALL),
        ([a(MIB - 1), text("€"), text("z"), IMAGE, AUDIO, text("qq")], ALL),
        ([a(MIB - 1), text("€"), text("z"), IMAGE, AUDIO, text("qq")], 10),
        ([a(MIB), b(MIB), c(MIB)], ALL),
        ([a(100), b(MIB), IMAGE, AUDIO, c(MIB), text(["d", 100])], ALL),
        ([a(HALF), b(HALF), IMAGE, AUDIO, c(HALF), text(["d", 100])], ALL),
        ([text(["€", MIB])], ALL),
        ([text("a", ["€", MIB])], ALL),
        ([text(["x", HALF - 1], "€"), text("q"), text(["y", HALF])], ALL),
        ([text(["x", HALF - 1]), text("€"), text("q"), text(["y", HALF])], ALL),
        ([text(["x", HALF]), text("€"), text(), text("q"), text(["y", HALF - 3])], ALL),
        ([text(["x", HALF]), text(), IMAGE, text(["y", HALF]), text("z")], ALL),
        ([text(["x", HALF]), text(), text("q"), text(["y", HALF])], ALL),
        # The place of the notice when the text around it is cut.
        ([a(HALF), text(["m", 10]), c(HALF)], 10),
        ([a(HALF), text(["m", 10]), IMAGE, c(HALF)], 10),
        ([a(HALF), text(["m", 10]), IMAGE, c(HALF)], MIB // 8 + 10),
        ([a(HALF), text(["m", 10]), text(["n", 10]), IMAGE, c(HALF)], MIB // 8 + 10),
        ([IMAGE, text(["h", HALF], ["m", 10], ["t", HALF])], 10),
        ([IMAGE, text(["h", HALF], ["m", 10], ["t", HALF])], MIB // 4 - 1),
        ([IMAGE, text("abc"), text(["h", HALF], ["m", 10], ["t", HALF])], MIB // 4 - 1),
        ([IMAGE, text(["h", HALF], ["m", 10], ["t", HALF - 3]), text("abc")], MIB // 4 - 1),
        ([text(["h", HALF], ["m", 10], ["t", HALF]), IMAGE, text("z")], 0),
        ([IMAGE, text("abcd"), text(["h", HALF], ["m", 10], ["t", HALF])], 1),
        ([text(["h", 1024])] * 512 + [text(["m", 10]), text(["t", HALF])], (MIB + 512) // 4 - 1),
        ([text(["h", 4096])] * 128 + [text(["m", 10]), text(["t", HALF])], MIB // 4 + 10),
        ([text(["h", HALF]), text(["m", 10])] + [text(["t", 4096])] * 128, MIB // 4 + 10),
        ([text(["h", MIB + 20]), a(1), a(1), a(1), a(1)], MIB // 4),
        ([text(["h", HALF]), text(["m", 10]), text(["t", HALF])], MIB // 4),
        ([text(["h", HALF - 9]), text("12345678"), text("x"), text(["m", 9]), text(["t", HALF])], MIB // 4),
        ([a(HALF - 8), b(16), c(HALF - 7)], 10),
        ([a(HALF - 8), b(16), c(HALF - 8), text("d")], 10),
        ([a(HALF - 8), b(16), c(HALF - 8), text(["d", 8])], 10),
        ([a(HALF - 8), b(16), c(HALF - 8), text(["d", 7])], 10),
    )
    for gaps in (2, 4, 5, 7):
        items = [a(HALF)] + [text(["g", 10]), IMAGE] * gaps + [text(["z", HALF])]
        for tokens in (ALL, 10, MIB // 8 + 3):
            yield items, tokens


def written_errors():
    a = lambda count: text(["a", count])
    yield from (
        ([a(30)], ["Error: ", ["e", 50]], 10),
        ([], ["Error: ", ["e", 50]], 10),
        ([a(30)], ["zz"], 10),
        ([text()], [["b", 30]], 2),
        ([text("abc"), IMAGE, text(["b", 20])], ["boom"], 200),
        ([text("abc"), IMAGE, text(["b", 20])], ["boom"], 4),
        ([text("abcd"), IMAGE, text(["b", 4])], ["boom"], 2),
        ([a(100)], ["boom"], None),
        ([a(100)], [""], 50),
        ([a(MIB)], ["boom"], ALL),
        ([a(MIB - 3), IMAGE], ["boom"], ALL),
        ([a(MIB + 5)], ["boom"], 100),
        ([a(10)], [["e", 70_000]], ALL),
    )


def drawn_cases(random):
    """Cases by chance, small ones and ones about what a response holds."""
    letters = ["a", "b\n", "€", "😀x", "\r\n", "ü", "longer text, ", "\n"]
    for number in range(220):
        large = number % 4 == 0
        items = []
        for _ in range(random.randint(0, 7)):
            kind = random.random()
            if kind < 0.12:
                items.append(IMAGE)
            elif kind < 0.2:
                items.append(AUDIO)
            else:
                pieces = []
                for _ in range(random.randint(0, 3)):
                    piece = random.choice(letters)
                    most = HALF // len(piece.encode()) if large else 40
                    pieces.append([piece, random.randint(0, most)])
                items.append({"text": pieces})
        error = random.choice([None, None, None, ["boom"], [["e€", random.randint(1, 40)]]])
        tokens = random.choice(
            [0, 1, 2, 3, 7, 10, 20, 50, 1000, MIB // 8, MIB // 4 - 1, MIB // 4, ALL, None]
        )
        yield items, error, tokens


def main():
    host = Host(sys.argv[1])
    cases = [(items, None, tokens) for items, tokens in written_cases()]
    cases += list(written_errors())
    cases += list(drawn_cases(random.Random(20261121)))
    print("[")
    for number, (items, error, tokens) in enumerate(cases):
        case = {"items": items, "error": error, "tokens": tokens}
        result = host.run(script(case), tokens)
        assert (result["error_text"] is None) == (error is None), (case, result["error_text"])
        # A thrown string is its own error text.
        case["expected"] = [shown(item) for item in result["content_items"]]
        comma = "," if number + 1 < len(cases) else ""
        print(json.dumps(case, ensure_ascii=True) + comma)
    print("]")
    host.process.stdin.close()
    host.process.wait()


main()
