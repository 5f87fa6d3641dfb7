// SPDX-License-Identifier: Apache-2.0
/** Hosts that break the protocol, hang or never were hosts. */

import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { HostLost, HostNotFound, InvalidRequest, Session, StartFailed, findHost, tool } from "../src/index.js";
import { MAX_FRAME_BYTES } from "../src/bounds.js";
import { errorOf, fake, leavingNothing } from "./support.js";

const SHORT = { startupMs: 400, shutdownMs: 300, callMs: 300, writeMs: 300 };

for (const [mode, words] of [
  ["too_long", /67108865 bytes is larger than 67108864 bytes/],
  ["no_json", /is no JSON/],
  ["unknown_field", /unknown field more/],
  ["foreign_answer", /request 99, which is not in flight/],
  ["unknown_cell", /cell 7, which does not live/],
  ["cut", /broke off within a message/],
  ["closes_output", /closed its output/],
] as const) {
  test(`a violation ends the host: ${mode}`, () =>
    leavingNothing(async () => {
      const session = new Session({ host: fake(mode) });
      const error = await errorOf(session.exec("text(1)"), HostLost);
      assert.match(error.message, words);
      assert.equal(error.sideEffects, "possible");
      await session.close();
    }));
}

for (const [mode, words] of [
  ["exits", /status 3; its last words: first line\nthe second, which says why/],
  ["rejects", /no protocol version in common: the host speaks \[7\]/],
  ["no_host", /larger than 67108864 bytes/],
] as const) {
  test(`a host that cannot start says why: ${mode}`, () =>
    leavingNothing(async () => {
      const error = await errorOf(Session.open({ host: fake(mode) }), StartFailed);
      assert.match(error.message, words);
    }));
}

test("a silent host misses its deadline", () =>
  leavingNothing(async () => {
    const error = await errorOf(Session.open({ host: fake("silent"), deadlines: SHORT }), StartFailed);
    assert.match(error.message, /has not greeted within 400 ms/);
  }));

test("a host that does not answer misses its deadline", () =>
  leavingNothing(async () => {
    await using session = new Session({ host: fake("hangs_on_input"), deadlines: { ...SHORT, startupMs: 20_000 } });
    const cell = await session.start("text(1)", { yieldMs: 100 });
    assert.match((await errorOf(cell.wait(), HostLost)).message, /has not answered initial within 300 ms/);
  }));

test("a host that does not read misses its deadline", () =>
  leavingNothing(async () => {
    const deadlines = { ...SHORT, startupMs: 20_000, callMs: 20_000 };
    await using session = new Session({ host: fake("unread"), deadlines });
    const error = await errorOf(session.exec(`/*${"x".repeat(4_000_000)}*/`), HostLost);
    assert.match(error.message, /has not read its input for 300 ms/);
    assert.equal(error.sideEffects, "none");
  }));

test("a slow but steady host is not overdue", () =>
  leavingNothing(async () => {
    const deadlines = { callMs: 200, writeMs: 2_000 };
    await using session = new Session({ host: fake("drips"), deadlines });
    // Its start may take longer than a call may; only what follows is measured.
    const begun = performance.now();
    const cell = await session.start("text(1)", { yieldMs: 0 });
    assert.equal((await cell.wait()).text, "x".repeat(100));
    assert.ok(performance.now() - begun > 400);
  }));

test("a host that does not end is killed", () =>
  leavingNothing(async () => {
    const session = new Session({ host: fake("hangs_on_input"), deadlines: { shutdownMs: 200 } });
    await session.start("text(1)");
    const begun = performance.now();
    await session.close();
    assert.ok(performance.now() - begun < 20_000);
  }));

test("what other hosts add is read", () =>
  leavingNothing(async () => {
    await using session = new Session({ host: fake("audio") });
    const result = await session.exec("text(1)");
    assert.deepEqual([...(result.audio[0]?.data ?? [])], [0, 1, 2]);
    assert.equal(result.hostDurationNs, 12);
  }));

test("calls beyond the bound are answered with an error", () =>
  leavingNothing(async () => {
    const echo = tool({ name: "echo", handler: (_, { signal }) => new Promise((_, no) => (signal.onabort = no)) });
    await using session = new Session({ host: fake("many_calls"), tools: [echo] });
    const result = await session.exec("text(1)");
    assert.equal(result.text, "4097: the client's limit of 4096 open tool calls is reached");
  }));

test("deeply nested input does no harm", () =>
  leavingNothing(async () => {
    const echo = tool({ name: "echo", handler: (input) => input });
    await using session = new Session({ host: fake("deep_call"), tools: [echo] });
    const result = await session.exec("text(1)");
    // JSON.parse takes any depth, and JSON.stringify does not.
    assert.match(result.text, /the tool's result cannot be sent: JSON cannot hold it: Maximum call stack size exceeded/);
  }));

test("what is larger than a frame is not sent", () =>
  leavingNothing(async () => {
    const huge = tool({ name: "huge", handler: () => "x".repeat(MAX_FRAME_BYTES) });
    await using session = new Session({ tools: [huge] });
    const error = await errorOf(session.exec(`/*${"x".repeat(MAX_FRAME_BYTES)}*/`), InvalidRequest);
    assert.match(error.message, /larger than 67108864 bytes/);
    assert.equal(error.sideEffects, "none");
    const result = await session.exec("try { await tools.huge() } catch (e) { text(e.message ?? e) }");
    assert.match(result.text, /larger than 67108864 bytes/);
  }));

test("the host is found by argument, variable, package and PATH, in this order", () => {
  const folder = mkdtempSync(join(tmpdir(), "code-mode-"));
  try {
    const program = join(folder, "code_mode_host");
    writeFileSync(program, "");
    chmodSync(program, 0o755);
    const node = process.execPath;
    const none = (): string => {
      throw new Error("none");
    };
    const environment = { CODE_MODE_HOST: node, PATH: folder };
    assert.deepEqual(findHost([node, "-v"], { environment }), [node, "-v"]);
    assert.deepEqual(findHost("code_mode_host", { environment }), [program]);
    assert.deepEqual(findHost(undefined, { environment }), [node]);
    const resolvePackage = (file: string): string => {
      assert.equal(file, "code-mode-client-linux-x64/bin/code_mode_host");
      return program;
    };
    assert.deepEqual(findHost(undefined, { environment: {}, resolvePackage, platform: "linux-x64" }), [program]);
    assert.deepEqual(findHost(undefined, { environment: { PATH: folder }, resolvePackage: none }), [program]);
    const nowhere = { environment: { PATH: "/nowhere" }, resolvePackage: none };
    assert.throws(() => findHost(undefined, { ...nowhere, platform: "linux-x64" }), /was not found: name it with host/);
    assert.throws(
      () => findHost(undefined, { ...nowhere, platform: "darwin-arm64" }),
      /no code-mode host for darwin-arm64, only for linux-x64/,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a missing host is said in one sentence", async () => {
  const error = await errorOf(Session.open({ host: "/nowhere/x" }), HostNotFound);
  assert.equal(error.message, "the code-mode host that host names cannot be run: /nowhere/x is no executable file");
  assert.throws(() => findHost(undefined, { environment: { CODE_MODE_HOST: "/nowhere/x" } }), /that CODE_MODE_HOST names/);
});

test("a program that cannot be started says so", () =>
  leavingNothing(async () => {
    const folder = mkdtempSync(join(tmpdir(), "code-mode-"));
    const program = join(folder, "host");
    writeFileSync(program, "#!/nowhere/interpreter\n");
    chmodSync(program, 0o755);
    try {
      const error = await errorOf(Session.open({ host: program }), StartFailed);
      assert.match(error.message, /could not be started/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }));
