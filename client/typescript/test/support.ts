// SPDX-License-Identifier: Apache-2.0
/** What several tests need. */

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Milliseconds that anything may take before a test fails; nothing waits for this time to pass. */
export const PATIENCE_MS = 60_000;

/** The root of the repository, from `target/test`. */
export const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));

/** The command of a host that misbehaves. */
export function fake(mode: string): string[] {
  return [process.execPath, fileURLToPath(new URL("fake_host.js", import.meta.url)), mode];
}

/** The children of this process, zombies included. */
export function children(): number[] {
  const found = new Set<number>();
  for (const task of readdirSync("/proc/self/task")) {
    try {
      const list = readFileSync(`/proc/self/task/${task}/children`, "utf8");
      for (const pid of list.split(" ")) if (pid !== "") found.add(Number(pid));
    } catch {
      // A thread that has just ended.
    }
  }
  return [...found];
}

/** How many pipes and sockets this process holds; Node opens other descriptors of its own at any time. */
export function pipes(): number {
  const { readlinkSync } = process.getBuiltinModule("node:fs");
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return /^(pipe|socket):/.test(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      return false;
    }
  }).length;
}

/** Runs a test that must leave no process and no pipe behind. */
export async function leavingNothing(test: () => Promise<void>): Promise<void> {
  const before = { children: children(), pipes: pipes() };
  await test();
  // Descriptors are closed in the turns after `destroy`.
  for (let turn = 0; turn < 100 && pipes() > before.pipes; turn++) await new Promise((next) => setImmediate(next));
  assert.deepEqual({ children: children(), pipes: pipes() }, before, "something is left behind");
}

/** Waits until a condition holds. */
export async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!condition()) {
    assert.ok(performance.now() < end, "it never came");
    await new Promise((next) => setTimeout(next, 5));
  }
}

/** Fails when a promise takes longer than anything may. */
export async function within<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("it never came")), PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The error that a promise rejects with. */
export async function errorOf<E extends Error>(promise: Promise<unknown>, kind: new (...args: never[]) => E): Promise<E> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof kind, `expected ${kind.name}, got ${String(error)}`);
    return error;
  }
  assert.fail(`expected ${kind.name}, and nothing failed`);
}
