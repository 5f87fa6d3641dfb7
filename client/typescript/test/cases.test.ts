// SPDX-License-Identifier: Apache-2.0
/** The cases of runtime/api/testsuite/cases, played on a real host. Their README describes the format. */

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { isDeepStrictEqual } from "node:util";

import { CodeModeError, ImageItem, ScriptError, Session, tool, type Cell, type CellResponse, type Item, type Tool } from "../src/index.js";
import { Connection } from "../src/connection.js";
import type { HostMessage } from "../src/wire.js";
import { PATIENCE_MS, ROOT, until, within } from "./support.js";

type Step = Record<string, any>;
interface Case {
  name: string;
  says: string;
  hosts?: "ours";
  tools?: ToolSpec[];
  steps: Step[];
}
interface ToolSpec {
  name: string;
  namespace?: string;
  description: string;
  answer: "input" | "never" | "gate" | { error: string } | { value: unknown };
}

const FOLDER = join(ROOT, "runtime/api/testsuite/cases");
const readJson = (name: string): any => JSON.parse(readFileSync(join(FOLDER, name), "utf8"));
const CASES: Case[] = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".json") && name !== "standard_tools.json")
  .sort()
  .flatMap((name) => readJson(name).cases as Case[]);
const STANDARD_TOOLS: ToolSpec[] = readJson("standard_tools.json").tools;

const ACTIONS = [
  "run", "start", "first", "wait", "terminate", "until", "open_gate", "shutdown", "export_store", "import_store",
  "calls", "notifications", "tool_ids", "gathered",
]; // prettier-ignore
const DETAILS = ["hosts", "cell", "yield_time_ms", "limits", "id", "items", "status", "error", "refused"];

/** Listens to what hosts say, in their order. */
let listener: ((message: HostMessage) => void) | null = null;
const prototype = Connection.prototype as unknown as { handle(message: HostMessage, bytes: number): void };
const { handle } = prototype;
prototype.handle = function (message, bytes): void {
  handle.call(this, message, bytes);
  listener?.(message);
};

/** Whether a text is the pattern's. */
function matches(pattern: any, text: string): boolean {
  if (typeof pattern === "string") return text === pattern;
  for (const key of Object.keys(pattern)) assert.ok(["starts", "contains", "hint"].includes(key), key);
  const at = text.indexOf("\nHint: ");
  return (
    text.startsWith(pattern.starts ?? "") &&
    (pattern.contains ?? []).every((part: string) => text.includes(part)) &&
    (pattern.hint === undefined || (at >= 0 && text.slice(at).includes(pattern.hint)))
  );
}

function itemMatches(expected: any, item: Item | undefined): boolean {
  if (item?.type === "text") return !(typeof expected === "object" && "image" in expected) && matches(expected, item.text);
  return item instanceof ImageItem && isDeepStrictEqual(expected, { image: item.url, detail: item.detail });
}

const sourceOf = (source: string | string[]): string => (typeof source === "string" ? source : source.join("\n"));

const LIMITS: Record<string, string> = { output_items: "outputItems", heap_bytes: "heapBytes", timers: "timers" };

class Player {
  private readonly calls: any[] = [];
  private readonly callIds = new Map<number | bigint, string>();
  private gates: (() => void)[] = [];
  private opened = 0;
  private readonly cells = new Map<string, Cell>();
  private readonly firsts = new Map<string, Promise<CellResponse>>();
  private readonly gathered = new Map<string, Item[]>();
  private session!: Session;

  constructor(private readonly each: Case) {}

  async play(context: TestContext): Promise<void> {
    listener = (message) => this.note(message);
    this.session = await Session.open({ tools: (this.each.tools ?? STANDARD_TOOLS).map((spec) => this.tool(spec)) });
    try {
      const ours = this.session.capabilities.has("code_mode/errors-v1");
      if (this.each.hosts === "ours" && !ours) return context.skip("holds for our host only");
      for (const [index, step] of this.each.steps.entries()) {
        if (step["hosts"] === "ours" && !ours) continue;
        try {
          await within(this.step(step));
        } catch (error) {
          throw new Error(`step ${index + 1}: ${JSON.stringify(step).slice(0, 300)}`, { cause: error });
        }
      }
    } finally {
      await this.session.close();
      listener = null;
    }
  }

  private tool(spec: ToolSpec): Tool {
    const { answer } = spec;
    return tool({
      name: spec.name,
      description: spec.description,
      ...(spec.namespace === undefined ? {} : { namespace: spec.namespace }),
      handler: async (input) => {
        if (answer === "never") await new Promise(() => undefined);
        else if (answer === "gate") await this.gate();
        else if (typeof answer === "object" && "error" in answer) throw new Error(answer.error);
        else if (typeof answer === "object") return answer.value;
        return input;
      },
    });
  }

  private gate(): Promise<void> {
    if (this.opened > 0) {
      this.opened -= 1;
      return Promise.resolve();
    }
    return new Promise((open) => this.gates.push(open));
  }

  private note(message: HostMessage): void {
    if (message.type === "tool/invoke") {
      const { callId: id, name, namespace, input } = message;
      this.callIds.set(message.id, id);
      this.calls.push({ tool: { id, name, namespace, input } });
    } else if (message.type === "notification/send") {
      this.calls.push({ notification: message.text });
    } else if (message.type === "cancel" && this.callIds.has(message.id)) {
      this.calls.push({ cancelled: this.callIds.get(message.id) });
    } else if (message.type === "closed") {
      this.calls.push({ closed: message.cellId });
    }
  }

  /** All calls, with cancellations that stand together by their ids. */
  private sortedCalls(): any[] {
    const sorted: any[] = [];
    let together: any[] = [];
    const flush = (): void => {
      sorted.push(...together.sort((a, b) => (a.cancelled < b.cancelled ? -1 : 1)));
      together = [];
    };
    for (const call of this.calls) {
      if ("cancelled" in call) together.push(call);
      else {
        flush();
        sorted.push(call);
      }
    }
    flush();
    return sorted;
  }

  private async step(step: Step): Promise<void> {
    const actions = Object.keys(step).filter((key) => !DETAILS.includes(key));
    const [action = ""] = actions;
    assert.ok(actions.length === 1 && ACTIONS.includes(action), `a step has one action: ${actions.join()}`);
    const subject = step[action];
    const yieldMs: number = step["yield_time_ms"] ?? PATIENCE_MS;
    switch (action) {
      case "run":
        return this.check(step, step["cell"], async () => {
          const cell = await this.session.start(sourceOf(subject), this.options(step));
          if (step["cell"] !== undefined) this.name(step["cell"], cell);
          return cell.wait();
        });
      case "start": {
        const cell = await this.session.start(sourceOf(subject), this.options(step));
        this.name(step["cell"], cell);
        const first = cell.wait();
        first.catch(() => undefined);
        this.firsts.set(step["cell"], first);
        return;
      }
      case "first":
        return this.check(step, subject, () => this.firsts.get(subject) ?? assert.fail("no such cell"));
      case "wait":
        if (typeof subject !== "string") return this.check(step, null, () => this.session.wait(subject.id, yieldMs));
        return this.check(step, subject, () => this.cell(subject).wait(yieldMs));
      case "terminate":
        if (typeof subject !== "string") return this.check(step, null, () => this.session.terminate(subject.id));
        return this.check(step, subject, () => this.cell(subject).terminate());
      case "until":
        return until(() => this.calls.some((call) => isSeen(call, subject)));
      case "open_gate": {
        const open = this.gates.shift();
        if (open === undefined) this.opened += 1;
        else open();
        return;
      }
      case "shutdown":
        return this.session.close();
      case "export_store": {
        const values = await this.unlessRefused(step, () => this.session.exportStore());
        if (values !== null) assert.deepEqual(values, subject);
        return;
      }
      case "import_store":
        await this.unlessRefused(step, () => this.session.importStore(subject));
        return;
      case "calls":
        return assert.deepEqual(this.sortedCalls(), subject);
      case "notifications":
        return assert.deepEqual(this.calls.flatMap((call) => call.notification ?? []), subject);
      case "tool_ids":
        return assert.deepEqual(this.calls.flatMap((call) => call.tool?.id ?? []), subject);
      default:
        return this.checkItems(step, this.gathered.get(subject) ?? []);
    }
  }

  private options(step: Step): { yieldMs: number; limits?: object } {
    const yieldMs = step["yield_time_ms"] ?? PATIENCE_MS;
    if (step["limits"] === undefined) return { yieldMs };
    const limits = Object.entries(step["limits"]).map(([name, value]) => [LIMITS[name] ?? assert.fail(name), value]);
    return { yieldMs, limits: Object.fromEntries(limits) };
  }

  private name(name: string, cell: Cell): void {
    this.cells.set(name, cell);
    this.gathered.set(name, []);
  }

  private cell(name: string): Cell {
    return this.cells.get(name) ?? assert.fail(`no cell ${name}`);
  }

  private async unlessRefused<T>(step: Step, operation: () => Promise<T>): Promise<T | null> {
    const { refused } = step;
    let value: T;
    try {
      value = await operation();
    } catch (error) {
      if (refused === undefined || !(error instanceof CodeModeError)) throw error;
      if (typeof refused === "string") assert.equal(error.code, refused);
      else assert.ok(matches(refused, error.message), error.message);
      return null;
    }
    assert.equal(refused, undefined, "it was not refused");
    return value;
  }

  private async check(step: Step, name: string | null | undefined, operation: () => Promise<CellResponse>): Promise<void> {
    const response = await this.unlessRefused(step, operation);
    if (response === null) return;
    if (name) this.gathered.get(name)?.push(...response.items);
    if (step["id"] !== undefined) assert.equal(response.cellId, step["id"]);
    assert.equal(response.status, step["status"] ?? "completed");
    const { error } = response;
    const text = error instanceof ScriptError ? error.errorText : (error?.message ?? null);
    if (step["error"] === undefined) assert.equal(text, null);
    else assert.ok(text !== null && matches(step["error"], text), String(text));
    this.checkItems(step, response.items);
  }

  private checkItems(step: Step, items: readonly Item[]): void {
    const expected: any[] | undefined = step["items"];
    if (expected === undefined) return;
    const same = items.length === expected.length && expected.every((each, index) => itemMatches(each, items[index]));
    assert.ok(same, `${JSON.stringify(items)} is not ${JSON.stringify(expected)}`);
  }
}

/** Whether a call is what a step means; a tool may be told by its name alone. */
function isSeen(call: any, wanted: any): boolean {
  if ("tool" in call && typeof wanted.tool === "string") return call.tool.name === wanted.tool;
  return isDeepStrictEqual(call, wanted);
}

for (const each of CASES) {
  test(each.name, (context) => new Player(each).play(context));
}

test("every case of the files is a test", () => {
  assert.ok(CASES.length >= 54, `${CASES.length} cases`);
  assert.equal(new Set(CASES.map((each) => each.name)).size, CASES.length);
});
