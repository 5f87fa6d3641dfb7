// SPDX-License-Identifier: Apache-2.0
/** Frames and messages: the golden files of the protocol, and what is refused. */

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { AudioItem, ImageItem, InvalidRequest, LimitError, ScriptError } from "../src/index.js";
import { MAX_FRAME_BYTES, MAX_STDERR_LINES, MAX_STDERR_LINE_BYTES } from "../src/bounds.js";
import { GivenNumbers, milliseconds } from "../src/connection.js";
import { hostRefusal, scriptFailure } from "../src/errors.js";
import { Gate } from "../src/gate.js";
import { StderrTail } from "../src/process.js";
import { CAPABILITIES, FrameReader, WireError, decode, executeRequest, frame, request, toolResult } from "../src/wire.js";
import { ROOT, errorOf } from "./support.js";

const FOLDER = join(ROOT, "protocol/testdata/host");
const ALL = new Set(CAPABILITIES);
/** What needs a capability that this client never offers, and why it is refused. */
const UNOFFERED = new Map([
  ["ready-with-capabilities.json", /was not offered/],
  ["output-read.json", /is no type of answer/],
  ["cells-listed.json", /is no type of answer/],
]);
const GOLDEN = readdirSync(FOLDER).map((name) => [name, readFileSync(join(FOLDER, name))] as const);

test("every golden message of a host is read", () => {
  assert.ok(GOLDEN.length > 15);
  for (const [name, bytes] of GOLDEN) {
    const refusal = UNOFFERED.get(name);
    if (refusal === undefined) assert.ok(decode(bytes, ALL), name);
    else assert.throws(() => decode(bytes, ALL), refusal);
  }
});

/** The message with one more field in each object that is not somebody's raw JSON. */
function withUnknownFields(value: any): any[] {
  if (typeof value !== "object" || value === null) return [];
  const inner = Object.entries(value)
    .filter(([key]) => key !== "input" && key !== "values")
    .flatMap(([key, item]) =>
      withUnknownFields(item).map((changed) =>
        Array.isArray(value) ? value.with(Number(key), changed) : { ...value, [key]: changed },
      ),
    );
  return Array.isArray(value) ? inner : [{ ...value, "no such field": 1 }, ...inner];
}

test("an exec with globals is the golden one", () => {
  const about = { callId: "call-1", tools: [], source: "1", yieldMs: 0, maxOutputTokens: null, limits: null };
  const { request: inner } = executeRequest({ ...about, globals: "web" }) as { request: object };
  const made = request(2, "session/execute", "s1", { request: { ...inner, yield_time_ms: null } });
  const golden = readFileSync(`${ROOT}protocol/testdata/client/session-execute-globals.json`, "utf8");
  assert.equal(JSON.stringify(made), golden.trim());
  assert.throws(() => executeRequest({ ...about, globals: "dom" as "web" }), /only contract and web/);
});

test("every object of a golden message refuses an unknown field", () => {
  for (const [name, bytes] of GOLDEN) {
    for (const changed of withUnknownFields(JSON.parse(bytes.toString()))) {
      assert.throws(() => decode(Buffer.from(JSON.stringify(changed)), ALL), WireError, `${name}: ${JSON.stringify(changed)}`);
    }
  }
});

test("what was not agreed is refused", () => {
  for (const name of ["initial-error-details", "store-exported", "store-imported"]) {
    const bytes = readFileSync(join(FOLDER, `${name}.json`));
    assert.throws(() => decode(bytes, new Set()), WireError, name);
  }
});

test("lone surrogates become replacement characters", () => {
  const item = String.raw`{"type":"input_text","text":"a\ud800b\ud83e\udd95\\ud800"}`;
  const value = `{"Result":{"cell_id":"1","content_items":[${item}],"error_text":null}}`;
  const text = `{"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":${value}}}`;
  const message = decode(Buffer.from(text), ALL);
  assert.ok(message.type === "initial" && "texts" in message.answer);
  assert.deepEqual(message.answer.texts, ["a\ufffdb🦕\\ud800"]);
});

test("ids of 64 bits are exact", () => {
  const id = "9223372036854775807";
  const call = `{"cell_id":"1","runtime_tool_call_id":"t","tool_name":{"name":"n"},"tool_kind":"function","input":{"id":1}}`;
  const request = `{"invocation":${call},"type":"tool/invoke"}`;
  const text = `{"request":${request},"type":"delegate/request","sessionId":"s \\"id\\"","id":${id}}`;
  const message = decode(Buffer.from(text), ALL);
  assert.ok(message.type === "tool/invoke");
  assert.equal(message.id, BigInt(id));
  const answer = toolResult(message.id, { a: 1 }).subarray(4).toString();
  assert.equal(answer, `{"type":"delegate/response","id":${id},"result":{"status":"ok","value":{"type":"tool/result","result":{"a":1}}}}`);
});

test("what is no message is refused", () => {
  for (const payload of [
    "",
    "[]",
    "{}",
    '{"type":"connection/ready","selectedVersion":2,"capabilities":[]}',
    '{"type":"connection/ready","selectedVersion":1,"capabilities":["x"]}',
    '{"type":"delegate/cancel","id":true}',
    '{"type":"delegate/cancel","id":1.5}',
    '{"type":"delegate/cancel","id":9223372036854775808}',
    '{"type":"cell/closed","sessionId":"s","cellId":""}',
    "[".repeat(100_000),
  ]) {
    assert.throws(() => decode(Buffer.from(payload), ALL), WireError, payload.slice(0, 60));
  }
  assert.throws(() => decode(Buffer.from([0xff]), ALL), WireError);
});

test("what JSON cannot hold is not sent", () => {
  const cycle: unknown[] = [];
  cycle.push(cycle);
  for (const value of [cycle, 1n]) assert.throws(() => frame({ value }), InvalidRequest);
  assert.equal(frame({ a: "\ud800ü" }).subarray(4).toString(), '{"a":"\\ud800ü"}');
});

test("frames come whole from any pieces", () => {
  const bytes = Buffer.concat(Array.from({ length: 20 }, (_, n) => frame({ n })));
  for (const size of [1, 3, 7, bytes.length]) {
    const reader = new FrameReader();
    const numbers: number[] = [];
    for (let at = 0; at < bytes.length; at += size) {
      for (const payload of reader.feed(bytes.subarray(at, at + size))) numbers.push(JSON.parse(payload.toString()).n);
    }
    assert.deepEqual(numbers, [...Array(20).keys()]);
    assert.equal(reader.isWithinFrame, false);
  }
});

test("a length over the cap is refused before its bytes come", () => {
  const header = Buffer.alloc(4);
  header.writeUInt32LE(MAX_FRAME_BYTES);
  const reader = new FrameReader();
  assert.deepEqual([...reader.feed(header)], []);
  assert.equal(reader.isWithinFrame, true);
  const longer = Buffer.alloc(4);
  longer.writeUInt32LE(MAX_FRAME_BYTES + 1);
  assert.throws(() => [...new FrameReader().feed(longer)], /67108865/);
});

test("a gate lets callers in in order, and one that is too large alone", async () => {
  const gate = new Gate(10);
  await gate.enter(6);
  const order: number[] = [];
  const tasks = [20, 5, 4].map((amount) => gate.enter(amount).then(() => order.push(amount)));
  await Promise.resolve();
  assert.deepEqual(order, []);
  gate.leave(6);
  await tasks[0];
  assert.deepEqual(order, [20]);
  gate.leave(20);
  await Promise.all(tasks);
  assert.deepEqual([order, gate.inside], [[20, 5, 4], 9]);
});

test("a caller that goes away holds nothing up", async () => {
  const gate = new Gate(1);
  await gate.enter();
  const abort = new AbortController();
  const first = gate.enter(1, abort.signal);
  const second = gate.enter();
  abort.abort(new RangeError("gone"));
  await errorOf(first, RangeError);
  gate.leave();
  await second;
  assert.equal(gate.inside, 1);
  gate.fail(new TypeError("over"));
  await errorOf(gate.enter(), TypeError);
});

test("the tail of standard error is bounded", () => {
  const tail = new StderrTail();
  for (let n = 0; n < MAX_STDERR_LINES + 3; n++) tail.feed(Buffer.from(`line ${n}\n`));
  assert.equal(tail.text().split("\n")[0], "line 3");
  for (let n = 0; n < 10; n++) tail.feed(Buffer.alloc(MAX_STDERR_LINE_BYTES, "x"));
  tail.feed(Buffer.from("\nlast"));
  const lines = tail.text().split("\n");
  assert.equal(lines.at(-2)?.length, MAX_STDERR_LINE_BYTES + 1);
  assert.equal(lines.at(-1), "last");
});

test("numbers are remembered in any order, and times rounded up", () => {
  const given = new GivenNumbers();
  assert.deepEqual([2, 1, 5, 3, 1, 5].map((n) => given.add(n)), [true, true, true, true, false, false]);
  assert.equal(given.has(4), false);
  assert.deepEqual([0, 0.1, 1.5, 2000].map(milliseconds), [0, 1, 2, 2000]);
  assert.throws(() => milliseconds(-1), InvalidRequest);
  assert.throws(() => milliseconds(Number.NaN), InvalidRequest);
});

test("error texts are taken apart", () => {
  const stack = "    at f (exec_main.mjs:2:8)\n    at exec_main.mjs:4:10";
  const error = scriptFailure(`TypeError: tools.x is not a function\n${stack}\nHint: tools.y`);
  assert.ok(error instanceof ScriptError);
  assert.deepEqual([error.errorName, error.message], ["TypeError", "TypeError: tools.x is not a function"]);
  assert.deepEqual([error.line, error.column, error.hint, error.scriptStack], [2, 8, "tools.y", stack]);
  const thrown = scriptFailure("just so");
  assert.ok(thrown instanceof ScriptError);
  assert.deepEqual([thrown.errorName, thrown.message, thrown.line, thrown.scriptStack], [null, "just so", null, null]);
  const limit = scriptFailure("LimitError: the limit of 3 output items is reached; the cell was ended");
  assert.ok(limit instanceof LimitError);
  assert.deepEqual([limit.limit, limit.maximum, limit.sideEffects], ["output items", 3, "possible"]);
});

test("each code of a host has its class", () => {
  const of = (code: string | null, message = "m"): [string, string] => {
    const error = hostRefusal({ message, code, sideEffects: null }, "none", "1");
    return [error.name, error.sideEffects];
  };
  assert.deepEqual(of("missing-cell"), ["MissingCell", "none"]);
  assert.deepEqual(of("cell-finished"), ["CellFinished", "possible"]);
  assert.deepEqual(of("busy-observer"), ["BusyObserver", "possible"]);
  assert.deepEqual(of("shut-down"), ["SessionClosed", "none"]);
  assert.deepEqual(of("invalid-request"), ["InvalidRequest", "none"]);
  assert.deepEqual(of("limit/active-cells", "the limit of 128 active cells is reached: 1"), ["LimitError", "none"]);
  assert.deepEqual(of("something-new"), ["Refused", "none"]);
  assert.deepEqual(of(null), ["Refused", "none"]);
});

test("data URIs are bytes", () => {
  assert.deepEqual([...new ImageItem("data:image/png;base64,AA").data], [0]);
  assert.equal(Buffer.from(new AudioItem("data:text/plain,a%20b").data).toString(), "a b");
  for (const url of ["https://example.com/a.png", "data:image/png;base64,?!"]) {
    assert.throws(() => new ImageItem(url).data, TypeError);
  }
});
