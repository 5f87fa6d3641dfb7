// SPDX-License-Identifier: Apache-2.0
/** The bounds that are reached by using a session. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { HostLost, LimitError, Session, tool } from "../src/index.js";
import { MAX_CALLS, MAX_CELL_EVENTS, MAX_KEPT_CELLS, MAX_OUTGOING_BYTES } from "../src/bounds.js";
import type { Gate } from "../src/gate.js";
import { errorOf, fake, leavingNothing, until } from "./support.js";

/** The gates of a session's connection, which no interface shows. */
function gates(session: Session): { calls: Gate; outgoing: Gate } {
  return (session as unknown as { inner: { connection: { calls: Gate; outgoing: Gate } } }).inner.connection;
}

const waitingAt = (gate: Gate): number => (gate as unknown as { waiting: unknown[] }).waiting.length;

test("further calls wait for those that are not answered", () =>
  leavingNothing(async () => {
    const session = await Session.open({ host: fake("mute") });
    const running = Array.from({ length: MAX_CALLS + 3 }, () => errorOf(session.exec("1"), HostLost));
    const { calls } = gates(session);
    await until(() => waitingAt(calls) === 3);
    assert.equal(calls.inside, MAX_CALLS);
    process.kill(session.processId ?? 0, "SIGKILL");
    const effects = (await Promise.all(running)).map((error) => error.sideEffects);
    assert.deepEqual(effects.slice(-3), ["none", "none", "none"]);
    await session.close();
  }));

test("further bytes wait for those that the host has not taken", () =>
  leavingNothing(async () => {
    const session = await Session.open({ host: fake("unread"), deadlines: { shutdownMs: 100 } });
    const source = `/*${"x".repeat(50_000_000)}*/`;
    const running = [1, 2, 3].map(() => errorOf(session.exec(source), HostLost));
    const { outgoing } = gates(session);
    await until(() => waitingAt(outgoing) === 1);
    assert.ok(outgoing.inside <= MAX_OUTGOING_BYTES);
    process.kill(session.processId ?? 0, "SIGKILL");
    for (const error of await Promise.all(running)) assert.equal(error.sideEffects, "none");
    await session.close();
  }));

test("cells whose result nobody takes are bounded", () =>
  leavingNothing(async () => {
    await using session = await Session.open();
    for (let at = 0; at < MAX_KEPT_CELLS; at += 64) {
      const cells = await Promise.all(Array.from({ length: 64 }, () => session.start("1")));
      // The next ones start when these have ended on the host.
      await Promise.all(cells.map((cell) => cell.observation?.promise));
    }
    const error = await errorOf(session.start("1"), LimitError);
    assert.deepEqual([error.maximum, error.sideEffects, error.result], [MAX_KEPT_CELLS, "none", null]);
    await session.cell("1").wait();
    assert.equal((await (await session.start("text(1)")).wait()).text, "1");
  }));

test("events that nobody iterates over are bounded", () =>
  leavingNothing(async () => {
    const echo = tool({ name: "echo", handler: (input) => input });
    await using session = new Session({ tools: [echo] });
    const cell = await session.start(`for (let i = 0; i < ${MAX_CELL_EVENTS + 10}; i++) await tools.echo(i)`);
    await cell.observation?.promise;
    assert.equal(cell.missedEvents, 10);
    const large = await session.start("for (let i = 0; i < 3; i++) await tools.echo('x'.repeat(6_000_000))");
    await large.observation?.promise;
    assert.equal(large.missedEvents, 1);
    const inputs: unknown[] = [];
    for await (const event of cell) if (event.type === "toolCalled") inputs.push(event.call.input);
    assert.deepEqual([inputs[0], inputs.length], [10, MAX_CELL_EVENTS]);
  }));
