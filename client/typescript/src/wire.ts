// SPDX-License-Identifier: Apache-2.0
/**
 * Messages of the protocol V1: what the client sends, and the strict reading of what a host says.
 *
 * The contract stands in the project's `protocol/README.md`. Fields that the contract does not name are refused; the
 * two timings that some hosts add are the only exception.
 */

import { GLOBALS, MAX_FRAME_BYTES, type Globals, type Limits } from "./bounds.js";
import { InvalidRequest, messageOf, scriptFailure, type Failure, type SideEffects } from "./errors.js";
import { AudioItem, CellResponse, ImageItem, type ImageDetail, type Item } from "./results.js";

export const EXTENSION_LIMITS = "code_mode/limits-v1";
export const EXTENSION_STORE = "code_mode/store-v1";
export const EXTENSION_ERRORS = "code_mode/errors-v1";
export const EXTENSION_GLOBALS = "code_mode/globals-v1";
/** What this client offers to use. */
export const CAPABILITIES: readonly string[] = [
  EXTENSION_LIMITS,
  EXTENSION_STORE,
  EXTENSION_ERRORS,
  EXTENSION_GLOBALS,
];

/** Any value that JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** An id that the host gives. It has 64 bits, so that one beyond 2^53 is a bigint. */
export type Id = number | bigint;

/** The host said what is no message of the protocol. */
export class WireError extends Error {}

export type Answer =
  | { type: "session/ready"; sessionId: string }
  | { type: "execution/started"; cellId: string }
  | { type: "wait/completed"; response: CellResponse; missing: boolean }
  | { type: "session/closed"; sessionId: string }
  | { type: "store/exported"; values: Record<string, Json> }
  | { type: "store/imported" }
  | { type: "failure"; failure: Failure };

export interface ToolInvoke {
  type: "tool/invoke";
  id: Id;
  sessionId: string;
  cellId: string;
  callId: string;
  name: string;
  namespace: string | null;
  kind: "function" | "freeform";
  input: Json;
}

export interface NotificationSend {
  type: "notification/send";
  id: Id;
  sessionId: string;
  cellId: string;
  callId: string;
  text: string;
}

export type HostMessage =
  | { type: "ready"; capabilities: ReadonlySet<string> }
  | { type: "rejected"; reason: string }
  | { type: "response"; id: Id; answer: Answer }
  | { type: "initial"; id: Id; answer: CellResponse | Failure }
  | ToolInvoke
  | NotificationSend
  | { type: "cancel"; id: Id }
  | { type: "closed"; sessionId: string; cellId: string };

// ---------------------------------------------------------------------------------------------
// Sending

/**
 * Encodes one message with its length in front. Throws InvalidRequest when it is larger than a frame or JSON cannot
 * hold a value of it.
 */
export function frame(message: unknown): Buffer {
  return frameOfText(textOf(message));
}

function textOf(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    throw new InvalidRequest(`JSON cannot hold it: ${messageOf(error)}`);
  }
}

function frameOfText(text: string): Buffer {
  const length = Buffer.byteLength(text);
  if (length > MAX_FRAME_BYTES) {
    throw new InvalidRequest(`the frame of ${length} bytes is larger than ${MAX_FRAME_BYTES} bytes`);
  }
  const bytes = Buffer.allocUnsafe(4 + length);
  bytes.writeUInt32LE(length);
  bytes.write(text, 4);
  return bytes;
}

/** The first message of a client. */
export function hello(): unknown {
  return {
    type: "connection/hello",
    supportedVersions: [1],
    requiredCapabilities: [],
    optionalCapabilities: CAPABILITIES,
  };
}

/** An operation request. */
export function request(id: number, method: string, sessionId: string, fields: object): unknown {
  return { type: "operation/request", id, request: { method, sessionId, ...fields } };
}

/** What an execute asks for. */
export interface ExecuteFields {
  callId: string;
  tools: readonly unknown[];
  source: string;
  yieldMs: number;
  maxOutputTokens: number | null;
  limits: Limits | null;
  globals: Globals | null;
}

const LIMIT_FIELDS: Record<keyof Limits, string> = {
  heapBytes: "heap_bytes",
  externalBytes: "external_bytes",
  cpuTimeMs: "cpu_time_ms",
  wallTimeMs: "wall_time_ms",
  outputBytes: "output_bytes",
  outputItems: "output_items",
  openToolCalls: "open_tool_calls",
  totalToolCalls: "total_tool_calls",
  timers: "timers",
};

/** The wire's form of limits; null when none is set. */
export function limitFields(limits: Limits | null): Record<string, number> | null {
  const set = Object.entries(limits ?? {}).filter(([, value]) => value !== undefined);
  if (set.length === 0) return null;
  return Object.fromEntries(
    set.map(([name, value]) => {
      const field = LIMIT_FIELDS[name as keyof Limits];
      if (field === undefined) throw new InvalidRequest(`there is no limit ${name}`);
      return [field, value as number];
    }),
  );
}

/** The inner request of an execute. */
export function executeRequest(fields: ExecuteFields): object {
  const limits = limitFields(fields.limits);
  const { globals } = fields;
  if (globals !== null && !GLOBALS.includes(globals)) {
    throw new InvalidRequest(`there are no globals ${JSON.stringify(globals)}, only ${GLOBALS.join(" and ")}`);
  }
  return {
    request: {
      tool_call_id: fields.callId,
      enabled_tools: fields.tools,
      source: fields.source,
      yield_time_ms: fields.yieldMs,
      max_output_tokens: fields.maxOutputTokens,
      ...(limits === null ? {} : { limits }),
      ...(globals === null ? {} : { globals }),
    },
  };
}

/** A hint that the answer of a request is no longer wanted. */
export function cancel(id: number): unknown {
  return { type: "operation/cancel", id };
}

/** The frame of a tool's answer. A result that JSON leaves out, such as undefined, is null. */
export function toolResult(id: Id, result: unknown): Buffer {
  const kept = result === undefined || typeof result === "function" || typeof result === "symbol" ? null : result;
  return delegateResponse(id, { status: "ok", value: { type: "tool/result", result: kept } });
}

/** The frame that answers a notification. */
export function notificationDelivered(id: Id): Buffer {
  return delegateResponse(id, { status: "ok", value: { type: "notification/delivered" } });
}

/** The frame of a tool's failure. */
export function delegateError(id: Id, message: string): Buffer {
  return delegateResponse(id, { status: "error", message });
}

function delegateResponse(id: Id, result: unknown): Buffer {
  // JSON.stringify knows no bigint, and a template does.
  return frameOfText(`{"type":"delegate/response","id":${id},"result":${textOf(result)}}`);
}

// ---------------------------------------------------------------------------------------------
// Reading

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const SURROGATE = /\\u[dD][89a-fA-F][0-9a-fA-F]{2}/;

/** Reads one message of a host. Throws WireError for anything else. */
export function decode(payload: Uint8Array, capabilities: ReadonlySet<string>): HostMessage {
  let text: string;
  let value: unknown;
  try {
    text = DECODER.decode(payload);
    value = SURROGATE.test(text) ? wellFormed(JSON.parse(text)) : JSON.parse(text);
  } catch (error) {
    throw new WireError(`it is no JSON: ${messageOf(error)}`);
  }
  return message(value, capabilities, text);
}

/** The exact text of the number `name` of the outermost object. */
function exactNumber(text: string, name: string): string | null {
  const token = /"(?:[^"\\]|\\.)*"|[[\]{}]|-?[0-9][0-9.eE+-]*/gs;
  let depth = 0;
  let last = "";
  for (const [found] of text.matchAll(token)) {
    if (found === "{" || found === "[") depth += 1;
    else if (found === "}" || found === "]") depth -= 1;
    else if (depth === 1 && last === `"${name}"` && !found.startsWith('"')) return found;
    last = found;
  }
  return null;
}

const MIN_ID = -(2n ** 63n);
const MAX_ID = 2n ** 63n - 1n;

function idOf(fields: Fields, text: string): Id {
  const value = fields.take("id");
  if (Number.isSafeInteger(value)) return value as number;
  const exact = typeof value === "number" ? exactNumber(text, "id") : null;
  if (exact !== null && /^-?[0-9]+$/.test(exact)) {
    const id = BigInt(exact);
    if (id >= MIN_ID && id <= MAX_ID) return id;
  }
  throw new WireError("the id of the message is no 64-bit integer");
}

/** The value with U+FFFD for every lone surrogate; goes without recursion, since a script chooses the nesting. */
function wellFormed(value: unknown): unknown {
  const holder: Record<string, unknown> = { value };
  const open: unknown[] = [holder];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const object = next as Record<string, unknown>;
    for (const [key, item] of Object.entries(object)) {
      let kept = item;
      if (typeof item === "string") kept = toWellFormed(item);
      else if (typeof item === "object" && item !== null) open.push(item);
      const name = Array.isArray(object) ? key : toWellFormed(key);
      if (name !== key) delete object[key];
      if (name !== key || kept !== item) {
        Object.defineProperty(object, name, { value: kept, writable: true, enumerable: true, configurable: true });
      }
    }
  }
  return holder["value"];
}

function toWellFormed(text: string): string {
  // A high half without its low one, or a low one without its high one.
  return text.replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, "\uFFFD");
}

/** A JSON object whose every field has to be asked for. */
class Fields {
  private readonly left: Map<string, unknown>;

  constructor(
    value: unknown,
    private readonly what: string,
  ) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new WireError(`${what} is no object`);
    }
    this.left = new Map(Object.entries(value));
  }

  has(name: string): boolean {
    return this.left.has(name);
  }

  take(name: string): unknown {
    if (!this.left.has(name)) throw new WireError(`${this.what} lacks ${name}`);
    return this.maybe(name);
  }

  maybe(name: string): unknown {
    const value = this.left.get(name);
    this.left.delete(name);
    return value ?? null;
  }

  string(name: string): string {
    return this.asString(name, this.take(name));
  }

  nonEmpty(name: string): string {
    const value = this.string(name);
    if (value === "") throw new WireError(`${name} of ${this.what} is empty`);
    return value;
  }

  maybeString(name: string): string | null {
    const value = this.maybe(name);
    return value === null ? null : this.asString(name, value);
  }

  integer(name: string): number {
    const value = this.take(name);
    if (!Number.isSafeInteger(value)) throw new WireError(`${name} of ${this.what} is no integer`);
    return value as number;
  }

  maybeUnsigned(name: string): number | null {
    const value = this.maybe(name);
    if (value === null) return null;
    if (!Number.isInteger(value) || (value as number) < 0) {
      throw new WireError(`${name} of ${this.what} is no unsigned integer`);
    }
    return value as number;
  }

  list(name: string): unknown[] {
    const value = this.take(name);
    if (!Array.isArray(value)) throw new WireError(`${name} of ${this.what} is no list`);
    return value;
  }

  done(): void {
    for (const name of this.left.keys()) throw new WireError(`${this.what} has the unknown field ${name}`);
  }

  private asString(name: string, value: unknown): string {
    if (typeof value !== "string") throw new WireError(`${name} of ${this.what} is no string`);
    return value;
  }
}

function message(value: unknown, capabilities: ReadonlySet<string>, text: string): HostMessage {
  const fields = new Fields(value, "the message");
  const tag = fields.string("type");
  const read = (): HostMessage => {
    switch (tag) {
      case "operation/response":
        return { type: "response", id: idOf(fields, text), answer: answer(fields.take("result"), capabilities) };
      case "execute/initialResponse": {
        const id = idOf(fields, text);
        const inner = result(fields.take("result"), capabilities);
        return { type: "initial", id, answer: inner.failure ?? cellResponse(inner.value) };
      }
      case "delegate/request":
        return delegateRequest(fields, idOf(fields, text));
      case "delegate/cancel":
        return { type: "cancel", id: idOf(fields, text) };
      case "cell/closed":
        return { type: "closed", sessionId: fields.nonEmpty("sessionId"), cellId: fields.nonEmpty("cellId") };
      case "connection/ready":
        return ready(fields);
      case "connection/rejected":
        return { type: "rejected", reason: reason(fields.take("reason")) };
      default:
        throw new WireError(`${JSON.stringify(tag)} is no type of message`);
    }
  };
  const whole = read();
  fields.done();
  return whole;
}

function ready(fields: Fields): HostMessage {
  const version = fields.integer("selectedVersion");
  if (version !== 1) throw new WireError(`the host selected protocol version ${version}, which was not offered`);
  const names = fields.list("capabilities");
  for (const name of names) {
    if (typeof name !== "string" || !CAPABILITIES.includes(name)) {
      throw new WireError(`the host named the capability ${JSON.stringify(name)}, which was not offered`);
    }
  }
  const set = new Set(names as string[]);
  if (set.size !== names.length) throw new WireError("a capability comes twice");
  return { type: "ready", capabilities: set };
}

function reason(value: unknown): string {
  const fields = new Fields(value, "the reason of a rejection");
  const tag = fields.string("type");
  const texts: Record<string, () => string> = {
    noCompatibleVersion: () =>
      `no protocol version in common: the host speaks ${JSON.stringify(fields.list("supportedVersions"))}`,
    missingRequiredCapability: () =>
      `the host lacks the required capability ${JSON.stringify(fields.string("capability"))}`,
    invalidHello: () => `the hello is invalid: ${fields.string("message")}`,
  };
  const text = Object.hasOwn(texts, tag) ? texts[tag]?.() : undefined;
  if (text === undefined) throw new WireError(`${JSON.stringify(tag)} is no reason of a rejection`);
  fields.done();
  return text;
}

type Outcome = { failure: Failure; value?: never } | { failure?: never; value: unknown };

function result(value: unknown, capabilities: ReadonlySet<string>): Outcome {
  const fields = new Fields(value, "the result");
  const status = fields.string("status");
  if (status === "ok") {
    const inner = fields.take("value");
    fields.done();
    return { value: inner };
  }
  if (status !== "error") throw new WireError(`${JSON.stringify(status)} is no status`);
  const failure: Failure = { message: fields.string("message"), code: null, sideEffects: null };
  if (capabilities.has(EXTENSION_ERRORS) && (fields.has("code") || fields.has("side_effects"))) {
    failure.code = fields.string("code");
    const effects = fields.string("side_effects");
    if (effects !== "none" && effects !== "possible") {
      throw new WireError(`${JSON.stringify(effects)} is no statement of side effects`);
    }
    failure.sideEffects = effects satisfies SideEffects;
  }
  fields.done();
  return { failure };
}

function answer(value: unknown, capabilities: ReadonlySet<string>): Answer {
  const inner = result(value, capabilities);
  if (inner.failure) return { type: "failure", failure: inner.failure };
  const fields = new Fields(inner.value, "the value");
  const tag = fields.string("type");
  const read = (): Answer => {
    switch (tag) {
      case "session/ready":
      case "session/closed":
        return { type: tag, sessionId: fields.nonEmpty("sessionId") };
      case "execution/started":
        return { type: tag, cellId: fields.nonEmpty("cellId") };
      case "wait/completed": {
        const outcome = new Fields(fields.take("outcome"), "the outcome");
        const missing = outcome.has("MissingCell");
        const response = cellResponse(outcome.take(missing ? "MissingCell" : "LiveCell"));
        outcome.done();
        return { type: tag, response, missing };
      }
      case "store/exported":
        if (capabilities.has(EXTENSION_STORE)) {
          const values = fields.take("values");
          new Fields(values, "values");
          return { type: tag, values: values as Record<string, Json> };
        }
        break;
      case "store/imported":
        if (capabilities.has(EXTENSION_STORE)) return { type: tag };
        break;
    }
    throw new WireError(`${JSON.stringify(tag)} is no type of answer`);
  };
  const whole = read();
  fields.done();
  return whole;
}

const STATUSES = { Result: "completed", Yielded: "yielded", Terminated: "terminated" } as const;

function cellResponse(value: unknown): CellResponse {
  const outer = new Fields(value, "the response");
  const name = (Object.keys(STATUSES) as (keyof typeof STATUSES)[]).find((each) => outer.has(each));
  if (name === undefined) throw new WireError("the response is neither Result, Yielded nor Terminated");
  const fields = new Fields(outer.take(name), name);
  outer.done();
  const cellId = fields.nonEmpty("cell_id");
  const items = fields.list("content_items").map(item);
  const errorText = name === "Result" ? fields.maybeString("error_text") : null;
  const hostDurationNs = fields.maybeUnsigned("code_mode_host_duration_ns");
  const resultBufferedNs = fields.maybeUnsigned("result_buffered_for_ns");
  fields.done();
  const error = errorText === null ? null : scriptFailure(errorText);
  const status = STATUSES[name];
  return new CellResponse({ cellId, items, status, error, stateLost: null, hostDurationNs, resultBufferedNs });
}

const DETAILS: readonly unknown[] = ["auto", "low", "high", "original"];

function item(value: unknown): Item {
  const fields = new Fields(value, "a content item");
  const tag = fields.string("type");
  const read = (): Item => {
    switch (tag) {
      case "input_text":
        return { type: "text", text: fields.string("text") };
      case "input_image": {
        const url = fields.string("image_url");
        const detail = fields.has("detail") ? fields.take("detail") : undefined;
        if (detail !== undefined && !DETAILS.includes(detail)) {
          throw new WireError(`${JSON.stringify(detail)} is no image detail`);
        }
        return new ImageItem(url, (detail as ImageDetail | undefined) ?? null);
      }
      case "input_audio":
        return new AudioItem(fields.string("audio_url"));
      default:
        throw new WireError(`${JSON.stringify(tag)} is no type of content item`);
    }
  };
  const whole = read();
  fields.done();
  return whole;
}

function delegateRequest(fields: Fields, id: Id): ToolInvoke | NotificationSend {
  const sessionId = fields.nonEmpty("sessionId");
  const inner = new Fields(fields.take("request"), "the delegate request");
  const tag = inner.string("type");
  let read: ToolInvoke | NotificationSend;
  if (tag === "tool/invoke") {
    const call = new Fields(inner.take("invocation"), "the invocation");
    const name = new Fields(call.take("tool_name"), "the tool's name");
    const kind = call.string("tool_kind");
    if (kind !== "function" && kind !== "freeform") throw new WireError(`${JSON.stringify(kind)} is no kind of tool`);
    read = {
      type: tag,
      id,
      sessionId,
      cellId: call.nonEmpty("cell_id"),
      callId: call.string("runtime_tool_call_id"),
      name: name.string("name"),
      namespace: name.maybeString("namespace"),
      kind,
      input: call.maybe("input") as Json,
    };
    name.done();
    call.done();
  } else if (tag === "notification/send") {
    const cellId = inner.nonEmpty("cellId");
    read = { type: tag, id, sessionId, cellId, callId: inner.string("callId"), text: inner.string("text") };
  } else {
    throw new WireError(`${JSON.stringify(tag)} is no type of delegate request`);
  }
  inner.done();
  return read;
}

/** Cuts the bytes of a host into payloads. Holds at most one frame that is not whole. */
export class FrameReader {
  private chunks: Buffer[] = [];
  private bytes = 0;
  private length: number | null = null;

  /** Whether the end of input would be in the middle of a frame. */
  get isWithinFrame(): boolean {
    return this.length !== null || this.bytes > 0;
  }

  /** Takes bytes in and gives the payloads that are whole. Throws WireError for a length over the cap. */
  *feed(data: Buffer): Generator<Buffer, void, void> {
    this.chunks.push(data);
    this.bytes += data.length;
    for (;;) {
      if (this.length === null) {
        if (this.bytes < 4) return;
        const length = this.cut(4).readUInt32LE();
        if (length > MAX_FRAME_BYTES) {
          throw new WireError(`a frame of ${length} bytes is larger than ${MAX_FRAME_BYTES} bytes`);
        }
        this.length = length;
      }
      if (this.bytes < this.length) return;
      const payload = this.cut(this.length);
      this.length = null;
      yield payload;
    }
  }

  private cut(length: number): Buffer {
    const [first] = this.chunks;
    const all = this.chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.chunks);
    const rest = all.subarray(length);
    this.chunks = rest.length > 0 ? [rest] : [];
    this.bytes = rest.length;
    return all.subarray(0, length);
  }
}
