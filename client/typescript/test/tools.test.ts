// SPDX-License-Identifier: Apache-2.0
/** Tools, their schemas, and the policy before them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";

import { ScriptError, Session, tool, type Policy, type StandardSchema, type ToolCall } from "../src/index.js";
import { errorOf } from "./support.js";

const message = (call: string): string => `try { text(await ${call}) } catch (e) { text(e.message ?? e) }`;

test("a zod schema checks the input and tells the script's author of it", async () => {
  const move = tool({
    name: "move",
    description: "Moves something.",
    input: z.object({ x: z.number(), colour: z.enum(["red", "blue"]).default("red") }),
    // The types come from the schema.
    handler: ({ x, colour }) => `${x.toFixed(1)} ${colour.toUpperCase()}`,
  });
  const schema = move.definition["input_schema"] as Record<string, any>;
  assert.equal(schema["type"], "object");
  assert.deepEqual(schema["required"], ["x"]);
  assert.deepEqual(schema["properties"].colour.enum, ["red", "blue"]);
  await using session = new Session({ tools: [move] });
  assert.equal((await session.exec("text(await tools.move({ x: 1 }))")).text, "1.0 RED");
  const refused = await session.exec(message("tools.move({ x: 'a', colour: 'green' })"));
  assert.match(refused.text, /^x: .*; colour: /);
});

test("a schema that makes no JSON schema needs one beside it", async () => {
  const validate = (value: unknown): { value: number } | { issues: { message: string }[] } =>
    typeof value === "number" ? { value } : { issues: [{ message: "no number" }] };
  const input = { "~standard": { version: 1, validate } } satisfies StandardSchema;
  assert.throws(() => tool({ name: "double", input, handler: (value) => 2 * value }), /pass it as inputSchema/);
  const double = tool({ name: "double", input, inputSchema: { type: "number" }, handler: (value) => 2 * value });
  await using session = new Session({ tools: [double] });
  assert.equal((await session.exec("text(await tools.double(4))")).text, "8");
  assert.equal((await session.exec(message("tools.double('4')"))).text, "no number");
});

test("a call without an argument fits a schema of an object", async () => {
  const now = tool({ name: "now", input: z.object({ zone: z.string().optional() }), handler: ({ zone }) => zone ?? "utc" });
  await using session = new Session({ tools: [now] });
  assert.equal((await session.exec("text(await tools.now())")).text, "utc");
});

test("names, namespaces and the call are the tool's own", async () => {
  const seen: ToolCall[] = [];
  const handler = (_: unknown, { call }: { call: ToolCall }): void => void seen.push(call);
  const tools = [tool({ name: "read-file", namespace: "fs", handler }), tool({ name: "raw", handler })];
  await using session = new Session({ tools, namespace: "mine" });
  const result = await session.exec("await tools.read_file({ path: 'a' }); text(await tools.raw(5))", { callId: "mine-1" });
  assert.equal(result.text, "null");
  assert.deepEqual(
    seen.map(({ name, namespace, callId, execCallId, input }) => [name, namespace, callId, execCallId, input]),
    [
      ["read-file", "fs", "tool-1", "mine-1", { path: "a" }],
      ["raw", "mine", "tool-2", "mine-1", 5],
    ],
  );
  assert.throws(() => new Session({ tools: [tools[0]!, tools[0]!] }), /two tools read-file/);
  assert.throws(() => tool({ name: "", handler }), /needs a name/);
});

test("a tool that fails is an error of the script", async () => {
  const cycle: Record<string, unknown> = {};
  cycle["self"] = cycle;
  const tools = [
    tool({ name: "broken", handler: () => Promise.reject(new RangeError("on purpose")) }),
    tool({
      name: "throws",
      handler: () => {
        throw "a string";
      },
    }),
    tool({ name: "big", handler: () => 10n }),
    tool({ name: "cycle", handler: () => cycle }),
  ];
  await using session = new Session({ tools });
  const texts = async (call: string): Promise<string> => (await session.exec(message(call))).text;
  assert.equal(await texts("tools.broken()"), "on purpose");
  assert.equal(await texts("tools.throws()"), "a string");
  assert.match(await texts("tools.big()"), /the tool's result cannot be sent: JSON cannot hold it: .*BigInt/);
  assert.match(await texts("tools.cycle()"), /circular/);
  const error = await errorOf(session.exec("await tools.broken()"), ScriptError);
  assert.match(error.message, /on purpose/);
});

test("a call that the script no longer waits for is aborted", async () => {
  let signal: AbortSignal | undefined;
  const hang = tool({
    name: "hang",
    handler: (_, context) => {
      signal = context.signal;
      return new Promise(() => undefined);
    },
  });
  await using session = new Session({ tools: [hang] });
  await session.exec("tools.hang(); await new Promise(resolve => setTimeout(resolve, 20))");
  await session.exec("1");
  assert.equal(signal?.aborted, true);
});

test("the policy allows, denies and replaces", async () => {
  const asked: ToolCall[] = [];
  const policy: Policy = async (call) => {
    asked.push(call);
    const { path } = call.input as { path: string };
    if (path === "/etc") return { allow: false, reason: "not that one" };
    return path === "/other" ? { allow: true, input: { path: "/safe" } } : { allow: true };
  };
  const read = tool<{ path: string }>({ name: "read", handler: ({ path }) => path });
  await using session = new Session({ tools: [read], policy });
  const result = await session.exec(`
    text(await tools.read({ path: '/a' })); text(await tools.read({ path: '/other' }));
    ${message("tools.read({ path: '/etc' })")}`);
  assert.deepEqual(result.texts, ["/a", "/safe", "not that one"]);
  assert.deepEqual(asked[2]?.callId, "tool-3");
});

test("a policy that fails or decides nothing denies", async () => {
  const run = tool({ name: "run", handler: () => assert.fail("it was called") });
  const policies: [Policy, string][] = [
    [() => Promise.reject(new Error("no rule")), "the policy failed: no rule"],
    [(() => undefined) as unknown as Policy, "the policy gave no decision"],
  ];
  for (const [policy, words] of policies) {
    await using session = new Session({ tools: [run], policy });
    assert.equal((await session.exec(message("tools.run()"))).text, words);
  }
});

test("notifications are handed over, and images are bytes", async () => {
  const heard: string[] = [];
  await using session = new Session({ onNotification: ({ text }) => void heard.push(text) });
  const result = await session.exec("notify('one'); notify('two'); image('data:image/png;base64,AAEC', 'low')");
  assert.deepEqual(heard, ["one", "two"]);
  const [image] = result.images;
  assert.deepEqual([image?.mimeType, image?.detail, [...(image?.data ?? [])]], ["image/png", "low", [0, 1, 2]]);
});

test("a session and an exec choose the globals of scripts", async () => {
  await using session = new Session({ globals: "web" });
  await session.exec("1").catch(() => {});
  if (!session.capabilities.has("code_mode/globals-v1")) {
    await assert.rejects(session.exec("1"), /code_mode\/globals-v1/);
    return;
  }
  const source = "text(typeof URL)";
  assert.equal((await session.exec(source)).text, "function");
  assert.equal((await session.exec(source, { globals: "contract" })).text, "undefined");
  await using cell = await session.start(source, { globals: "web" });
  assert.equal((await cell.result()).text, "function");
});
