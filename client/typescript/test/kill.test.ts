// SPDX-License-Identifier: Apache-2.0
/**
 * The host dies, or the client does: who waits learns of it, and nothing is left behind.
 *
 * The figures go to standard error. The project's aim is 100 ms; a test fails only at the guard, since a machine may be
 * busy.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import {
  BusyObserver,
  CellLost,
  CellTerminated,
  HostLost,
  Session,
  SessionClosed,
  StartFailed,
  tool,
  type CellEvent,
} from "../src/index.js";
import { children, errorOf, fake, leavingNothing, until, within } from "./support.js";

const GUARD_MS = 5_000;

function kill(session: Session): number {
  assert.ok(session.processId !== null);
  process.kill(session.processId, "SIGKILL");
  return performance.now();
}

function report(state: string, begun: number): void {
  const ms = performance.now() - begun;
  process.stderr.write(`killed ${state}: the caller knew after ${ms.toFixed(1)} ms\n`);
  assert.ok(ms < GUARD_MS);
}

function assertKilled(error: HostLost, sideEffects: string): void {
  assert.deepEqual([error.signal, error.exitStatus, error.sideEffects], ["SIGKILL", null, sideEffects]);
  assert.match(error.message, /killed by SIGKILL/);
}

test("killed before the hello", () =>
  leavingNothing(async () => {
    const before = children();
    const session = new Session({ host: fake("silent") });
    const running = errorOf(session.exec("text(1)"), StartFailed);
    let started: number[] = [];
    await until(() => (started = children().filter((pid) => !before.includes(pid))).length > 0);
    process.kill(started[0] ?? 0, "SIGKILL");
    const begun = performance.now();
    const error = await within(running);
    report("before the hello", begun);
    assert.match(error.message, /killed by SIGKILL/);
    assert.equal(error.sideEffects, "none");
    await session.close();
  }));

test("killed during an exec that computes", () =>
  leavingNothing(async () => {
    await using session = await Session.open();
    const cell = await session.start("yield_control(); for (;;);");
    assert.equal((await cell.wait()).status, "yielded");
    const running = [cell.wait(), ...Array.from({ length: 5 }, () => session.exec("await new Promise(() => {})"))];
    const errors = Promise.all(running.map((each) => errorOf(each, HostLost)));
    // Once a later script has run to its end, all of these are at work.
    await session.exec("text(1)");
    const begun = kill(session);
    for (const error of await within(errors)) assertKilled(error, "possible");
    report("during an exec", begun);
    await errorOf(cell.wait(), CellLost);
  }));

test("killed during a tool call", () =>
  leavingNothing(async () => {
    let called = false;
    let aborted = false;
    const hang = tool({
      name: "hang",
      handler: (_, { signal }) => {
        called = true;
        signal.addEventListener("abort", () => (aborted = true));
        return new Promise(() => undefined);
      },
    });
    await using session = new Session({ tools: [hang] });
    const running = errorOf(session.exec("await tools.hang()"), HostLost);
    await until(() => called);
    const begun = kill(session);
    assertKilled(await within(running), "possible");
    report("during a tool call", begun);
    assert.ok(aborted);
  }));

test("killed while a cell is parked", () =>
  leavingNothing(async () => {
    await using session = new Session();
    const cell = await session.start("text('kept'); yield_control(); await new Promise(() => {})");
    await cell.wait();
    const begun = kill(session);
    const error = await within(cell.wait().catch((caught: unknown) => caught));
    report("while a cell is parked", begun);
    assert.ok(error instanceof HostLost || error instanceof CellLost);
    assert.equal(error.sideEffects, "possible");
    await errorOf(cell.terminate(), CellLost);
    assert.equal(session.processId, null, "a terminate started a host");
  }));

test("an iterator hears of a kill", () =>
  leavingNothing(async () => {
    await using session = new Session();
    const cell = await session.start("yield_control(); await new Promise(() => {})");
    const seen: string[] = [];
    const iterate = async (): Promise<void> => {
      for await (const event of cell) {
        seen.push(event.type);
        kill(session);
      }
    };
    await errorOf(within(iterate()), HostLost);
    assert.deepEqual(seen, ["yielded"]);
  }));

test("the next exec has a fresh host and says so once", () =>
  leavingNothing(async () => {
    await using session = new Session();
    await session.exec("store('k', 1)");
    const lost = await session.start("yield_control(); await new Promise(() => {})");
    await lost.wait();
    const first = session.processId;
    kill(session);
    await lost.wait().catch(() => undefined);
    await errorOf(session.wait(lost.id), CellLost);
    const result = await session.exec("text(load('k'))");
    assert.notEqual(session.processId, first);
    assert.deepEqual([result.text, result.cellId, result.stateLost?.generation], ["undefined", "2.1", 1]);
    assert.match(result.stateLost?.reason ?? "", /SIGKILL/);
    assert.equal((await session.exec("1")).stateLost, null);
    await errorOf(session.terminate(lost.id), CellLost);
  }));

test("an exec that never left has no side effects", () =>
  leavingNothing(async () => {
    await using session = new Session({ host: fake("unread_then_dies") });
    // More than a pipe holds, so that no host can have read it.
    assertKilled(await errorOf(session.exec(`/*${"x".repeat(4_000_000)}*/`), HostLost), "none");
  }));

test("hosts that keep dying are started ever more slowly", () =>
  leavingNothing(async () => {
    const session = new Session({ host: fake("exits") });
    for (let time = 0; time < 3; time++) {
      assert.match((await errorOf(session.exec("1"), StartFailed)).message, /status 3/);
    }
    const begun = performance.now();
    await errorOf(session.exec("1"), StartFailed);
    assert.ok(performance.now() - begun >= 150);
    await session.close();
  }));

const CLIENT = `
  import { Session } from ${JSON.stringify(new URL("../src/index.js", import.meta.url).href)};
  const session = await Session.open();
  const cell = await session.start("yield_control(); for (;;);");
  await cell.wait();
  console.log(session.processId);
`;

/** Whether a process has ended; its new parent may not have reaped it yet. */
function hasEnded(pid: number): boolean {
  try {
    return / Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return true;
  }
}

test("the host ends with its client", () =>
  leavingNothing(async () => {
    const client = spawn(process.execPath, ["--input-type=module", "-e", CLIENT], { stdio: ["ignore", "pipe", "inherit"] });
    const host = await within(new Promise<number>((resolve) => client.stdout.once("data", (text) => resolve(Number(text)))));
    const ended = new Promise((resolve) => client.once("exit", resolve));
    client.kill("SIGKILL");
    const begun = performance.now();
    await until(() => hasEnded(host));
    process.stderr.write(`killed client: the host was gone after ${(performance.now() - begun).toFixed(1)} ms\n`);
    await ended;
    client.stdout.destroy();
  }));

test("an aborted exec ends its script", () =>
  leavingNothing(async () => {
    await using session = new Session();
    await errorOf(session.exec("for (;;);", { signal: AbortSignal.timeout(200) }), DOMException);
    assert.equal((await session.exec("text('on')")).text, "on");
    await until(() => session.openCells === 0);
    const never = AbortSignal.abort(new RangeError("before"));
    assert.equal((await errorOf(session.exec("1", { signal: never }), RangeError)).message, "before");
  }));

test("an aborted wait loses nothing", () =>
  leavingNothing(async () => {
    let open!: () => void;
    const opened = new Promise<void>((resolve) => (open = resolve));
    await using session = new Session({ tools: [tool({ name: "gate", handler: () => opened })] });
    const cell = await session.start("text('a'); await tools.gate(); text('b')");
    await errorOf(cell.wait(undefined, { signal: AbortSignal.timeout(20) }), DOMException);
    assert.equal((await cell.wait(0)).status, "yielded");
    open();
    assert.deepEqual((await cell.result()).texts, ["a", "b"]);
  }));

test("a block that is left terminates its cell", () =>
  leavingNothing(async () => {
    await using session = new Session();
    const inBlock = async (): Promise<void> => {
      await using cell = await session.start("yield_control(); for (;;);");
      await cell.wait();
      throw new RangeError("left");
    };
    await errorOf(inBlock(), RangeError);
    await until(() => session.openCells === 0);
    const detached = await (async () => {
      await using cell = await session.start("yield_control(); text('ran on')");
      await cell.wait();
      return cell.detach();
    })();
    assert.equal((await detached.result()).text, "ran on");
  }));

test("closing ends everything", () =>
  leavingNothing(async () => {
    const session = new Session();
    const running = errorOf(session.exec("await new Promise(() => {})"), CellTerminated);
    await session.exec("1");
    await session.close();
    await within(running);
    await errorOf(session.exec("1"), SessionClosed);
  }));

test("events come in order, and one observer at a time", () =>
  leavingNothing(async () => {
    const echo = tool<{ value: number }>({ name: "echo", handler: ({ value }) => value });
    await using session = new Session({ tools: [echo] });
    const cell = await session.start(
      "text(1); notify('n'); await tools.echo({ value: 1 }); yield_control(); text(2)",
    );
    const events: CellEvent[] = [];
    for await (const event of cell) events.push(event);
    assert.deepEqual(
      events.map((event) => event.type),
      ["notification", "toolCalled", "output", "yielded", "output", "ended"],
    );
    assert.deepEqual((await cell.result()).texts, ["1", "2"]);
    const busy = await session.start("await new Promise(() => {})");
    const waiting = busy.wait();
    await errorOf(busy.wait(), BusyObserver);
    assert.equal((await busy.terminate()).status, "terminated");
    assert.equal((await waiting).status, "terminated");
  }));
