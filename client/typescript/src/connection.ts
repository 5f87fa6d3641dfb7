// SPDX-License-Identifier: Apache-2.0
/**
 * One connection to one host, which serves one session.
 *
 * Fail-stop: the first failure is the last. Every pending call is answered with its cause and with whether the script
 * may have acted, tools at work are aborted, the child is killed and reaped. Nothing is repaired in place; whoever
 * needs a host starts a fresh one.
 */

import {
  END_GRACE_MS,
  MAX_CALLS,
  MAX_OUTGOING_BYTES,
  MAX_REMEMBERED_IDS,
  MAX_TOOL_CALLS,
  MAX_TOOL_INPUT_BYTES,
  WRITE_BYTES,
  type Deadlines,
} from "./bounds.js";
import {
  CellFinished,
  HostLost,
  InvalidRequest,
  StartFailed,
  hostRefusal,
  messageOf,
  type Failure,
  type Loss,
} from "./errors.js";
import { Gate } from "./gate.js";
import { HostProcess, exitText, type Exit } from "./process.js";
import { CellResponse } from "./results.js";
import * as wire from "./wire.js";
import type { HostMessage, Id, Json, NotificationSend, ToolInvoke } from "./wire.js";

/** The session on the wire; each connection has one. */
export const SESSION_ID = "session";

/** What a script hears whose cell has no owner. */
export const NOBODY_WAITS = "nobody waits for this cell any more";

/** A promise with its ends, of which it is known whether it has settled. */
export class Deferred<T> {
  readonly promise: Promise<T>;
  /** What it was settled with; null while it is pending. */
  settled: { ok: true; value: T } | { ok: false; error: Error } | null = null;
  private resolvePromise!: (value: T) => void;
  private rejectPromise!: (error: Error) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolvePromise = resolve;
      this.rejectPromise = reject;
    });
    // A caller that has gone away is no unhandled rejection.
    this.promise.catch(() => undefined);
  }

  resolve(value: T): void {
    if (this.settled !== null) return;
    this.settled = { ok: true, value };
    this.resolvePromise(value);
  }

  reject(error: Error): void {
    if (this.settled !== null) return;
    this.settled = { ok: false, error };
    this.rejectPromise(error);
  }
}

/** What a connection tells a cell of. */
export interface CellSink {
  readonly hostId: string;
  readonly outerId: string;
  abandoned: boolean;
  /** The observation at hand: the first response, from the moment that the cell is known. */
  observation: Deferred<CellResponse> | null;
  /** The script calls a tool or sends a notification of `bytes`. */
  asked(message: ToolInvoke | NotificationSend, bytes: number): void;
  /** An observation was answered. */
  received(): void;
  /** Nothing more will come from the host. */
  closed(): void;
  /** The host is gone. */
  lost(loss: Loss): void;
}

/** Who does what the host asks for. */
export interface Owner<Cell extends CellSink> {
  callTool(cell: Cell, call: ToolInvoke, signal: AbortSignal): Promise<unknown>;
  notify(cell: Cell, notification: NotificationSend): Promise<void>;
}

/** How a host is started. */
export interface HostOptions {
  command: readonly [string, ...string[]];
  env: Record<string, string>;
  cwd: string | undefined;
  deadlines: Deadlines;
}

type Method =
  | "session/open"
  | "session/execute"
  | "session/wait"
  | "session/terminate"
  | "session/shutdown"
  | "session/exportStore"
  | "session/importStore";

/** What is asked about scripts that were started before, so that they may have acted whatever becomes of it. */
const ABOUT_A_CELL: readonly string[] = ["initial", "session/wait", "session/terminate", "session/shutdown"];

/** A request that is not fully answered. `kind` is its method, or `initial` for a cell's first response. */
interface Pending<Cell> {
  kind: Method | "initial";
  deferred: Deferred<unknown>;
  due: number;
  cell: Cell | null;
  makeCell: ((hostId: string) => Cell) | null;
  yieldMs: number;
  hasSlot: boolean;
  abandoned: boolean;
}

/** What a request is about, beside its fields. */
interface About<Cell> {
  cell?: Cell;
  makeCell?: (hostId: string) => Cell;
  yieldMs?: number;
  signal?: AbortSignal | undefined;
}

/** A connection; `start` makes one. */
export class Connection<Cell extends CellSink> {
  capabilities: ReadonlySet<string> = new Set();
  /** Why the connection is over; null while it is not. */
  failure: Loss | null = null;
  /** When the host greeted, as `performance.now` has it. */
  readyAt: number | null = null;

  private readonly process: HostProcess;
  private readonly reader = new wire.FrameReader();
  private readonly outbox: { rest: Buffer; id: Id | null }[] = [];
  private readonly outgoing = new Gate(MAX_OUTGOING_BYTES);
  private readonly calls = new Gate(MAX_CALLS);
  private readonly pending = new Map<Id, Pending<Cell>>();
  private readonly cells = new Map<string, Cell>();
  private readonly givenCells = new GivenNumbers();
  private readonly work = new Map<Id, { abort: AbortController; cell: Cell }>();
  private running = 0;
  private runningBytes = 0;
  private readonly recent = new Set<Id>();
  private nextId = 1;
  private readonly ready = new Deferred<void>();
  private check: { timer: NodeJS.Timeout; due: number } | null = null;
  private grace: NodeJS.Timeout | null = null;
  private lastRead = performance.now();
  private lastWrite = performance.now();
  private isWriting = false;
  private isReading = true;
  private outputEnded = false;
  private endReason: string | null = null;
  private exit: Exit | null = null;
  private closing = false;

  private constructor(
    private readonly owner: Owner<Cell>,
    private readonly options: HostOptions,
  ) {
    this.process = new HostProcess(options.command, options, {
      output: (data) => this.read(data),
      outputEnded: () => {
        this.outputEnded = true;
        const cut = this.reader.isWithinFrame;
        this.beginEnd(cut ? "the host's output broke off within a message" : "the host closed its output");
      },
      exited: (exit) => {
        this.exit = exit;
        this.beginEnd(null);
      },
      failed: (reason) => {
        if (this.process.pid === undefined) this.fail(reason);
        // A host that dies closes its input; its exit is the better explanation.
        else this.beginEnd(reason);
      },
    });
  }

  /** Starts a host, greets it and opens the session. Rejects with StartFailed. */
  static async start<Cell extends CellSink>(owner: Owner<Cell>, options: HostOptions): Promise<Connection<Cell>> {
    let connection: Connection<Cell>;
    try {
      connection = new Connection(owner, options);
    } catch (error) {
      throw new StartFailed(messageOf(error), { cause: error });
    }
    const { startupMs } = options.deadlines;
    const timer = setTimeout(() => {
      connection.fail(`the host has not greeted within ${startupMs} ms; is the program a code-mode host?`);
    }, startupMs);
    try {
      connection.send(wire.frame(wire.hello()), null);
      await connection.ready.promise;
      clearTimeout(timer);
      connection.readyAt = performance.now();
      await connection.call("session/open", {});
      return connection;
    } catch (error) {
      clearTimeout(timer);
      await connection.end("the client gave up its start");
      if (error instanceof HostLost) throw new StartFailed(error.reason, { cause: error });
      throw new StartFailed(messageOf(error), { cause: error });
    }
  }

  /** The process id of the program that was started. */
  get processId(): number | undefined {
    return this.process.pid;
  }

  // -------------------------------------------------------------------------------------------
  // Calls

  /** Starts a cell; `makeCell` is called with its id before anything else about it is heard. */
  async execute(
    fields: wire.ExecuteFields,
    makeCell: (hostId: string) => Cell,
    signal: AbortSignal | undefined,
  ): Promise<Cell> {
    const about: About<Cell> = { makeCell, yieldMs: fields.yieldMs, signal };
    const [id, pending] = await this.begin("session/execute", wire.executeRequest(fields), about);
    const aborted = (): void => {
      if (pending.deferred.settled !== null) return;
      pending.abandoned = true;
      this.send(wire.frame(wire.cancel(id)), null);
      pending.deferred.reject(signal?.reason as Error);
    };
    signal?.addEventListener("abort", aborted);
    try {
      if (signal?.aborted) aborted();
      return (await pending.deferred.promise) as Cell;
    } finally {
      signal?.removeEventListener("abort", aborted);
    }
  }

  /** Begins a wait; its answer is the cell's observation from then on. */
  async observe(cell: Cell, yieldMs: number): Promise<void> {
    const request = { cell_id: cell.hostId, yield_time_ms: yieldMs };
    const [, pending] = await this.begin("session/wait", { request }, { cell, yieldMs });
    cell.observation = pending.deferred as Deferred<CellResponse>;
  }

  /** Ends a cell. Rejects with CellFinished when there was nothing left to end. */
  async terminate(cell: Cell): Promise<CellResponse> {
    return (await this.call("session/terminate", { cellId: cell.hostId }, { cell })) as CellResponse;
  }

  /** The stored values. */
  async exportStore(): Promise<Record<string, Json>> {
    this.require(wire.EXTENSION_STORE);
    return (await this.call("session/exportStore", {})) as Record<string, Json>;
  }

  /** Stores values for the cells to come. */
  async importStore(values: Record<string, Json>): Promise<void> {
    this.require(wire.EXTENSION_STORE);
    await this.call("session/importStore", { values });
  }

  /** Throws InvalidRequest when the host lacks a capability. */
  require(capability: string): void {
    if (this.capabilities.has(capability)) return;
    throw new InvalidRequest(
      `the host lacks the capability ${capability}, which this request needs; ` +
        "use a host that has it, or leave out what needs it",
    );
  }

  /** Ends a cell that nobody wants, without waiting. */
  abandon(cell: Cell): void {
    if (cell.abandoned || this.failure !== null) return;
    cell.abandoned = true;
    for (const [id, work] of this.work) {
      if (work.cell !== cell) continue;
      this.work.delete(id);
      work.abort.abort(new Error(NOBODY_WAITS));
      this.refuse(id, NOBODY_WAITS);
    }
    if (this.cells.has(cell.hostId)) this.enter("session/terminate", { cellId: cell.hostId }, { cell });
  }

  /** Shuts the session down, ends the host and waits until it was reaped. */
  async close(): Promise<void> {
    if (this.failure === null && !this.closing) {
      this.closing = true;
      const [, pending] = this.enter("session/shutdown", {}, {});
      await within(this.options.deadlines.shutdownMs, pending.deferred.promise);
    }
    await this.end("the client closed the session");
  }

  private async call(method: Method, fields: object, about: About<Cell> = {}): Promise<unknown> {
    const [, pending] = await this.begin(method, fields, about);
    return pending.deferred.promise;
  }

  /** Sends a request as soon as the bounds allow. What ends something never waits behind what it would end. */
  private async begin(method: Method, fields: object, about: About<Cell>): Promise<[number, Pending<Cell>]> {
    const hasSlot = method !== "session/terminate" && method !== "session/shutdown";
    if (hasSlot) await this.calls.enter(1, about.signal);
    try {
      const id = this.nextId++;
      const frame = wire.frame(wire.request(id, method, SESSION_ID, fields));
      await this.outgoing.enter(frame.length, about.signal);
      if (this.failure !== null) {
        throw new HostLost(this.failure, ABOUT_A_CELL.includes(method) ? "possible" : "none");
      }
      if (about.signal?.aborted) {
        this.outgoing.leave(frame.length);
        throw about.signal.reason;
      }
      const pending = this.enterEncoded(id, frame, method, about, true);
      pending.hasSlot = hasSlot;
      return [id, pending];
    } catch (error) {
      if (hasSlot) this.calls.leave();
      throw error;
    }
  }

  private enter(method: Method, fields: object, about: About<Cell>): [number, Pending<Cell>] {
    const id = this.nextId++;
    const frame = wire.frame(wire.request(id, method, SESSION_ID, fields));
    return [id, this.enterEncoded(id, frame, method, about, false)];
  }

  private enterEncoded(id: number, frame: Buffer, kind: Method, about: About<Cell>, hasRoom: boolean): Pending<Cell> {
    const yieldMs = about.yieldMs ?? 0;
    const pending: Pending<Cell> = {
      kind,
      deferred: new Deferred<unknown>(),
      due: performance.now() + this.options.deadlines.callMs + (kind === "session/wait" ? yieldMs : 0),
      cell: about.cell ?? null,
      makeCell: about.makeCell ?? null,
      yieldMs,
      hasSlot: false,
      abandoned: false,
    };
    this.pending.set(id, pending);
    this.send(frame, id, hasRoom);
    this.scheduleCheck(pending.due);
    return pending;
  }

  private leave(id: Id, keepsSlot = false): Pending<Cell> {
    const pending = this.pending.get(id);
    if (pending === undefined) throw new wire.WireError(`an answer to request ${id}, which is not in flight`);
    this.pending.delete(id);
    if (pending.hasSlot && !keepsSlot) this.calls.leave();
    return pending;
  }

  // -------------------------------------------------------------------------------------------
  // Writing

  /** Queues a frame and begins to write it. `hasRoom` says that it has entered the gate already. */
  private send(frame: Buffer, id: number | null, hasRoom = false): void {
    if (this.failure !== null) return;
    if (!hasRoom) this.outgoing.force(frame.length);
    this.outbox.push({ rest: frame, id });
    if (!this.isWriting) {
      this.lastWrite = performance.now();
      // Frames that become ready in one turn are written together.
      this.isWriting = true;
      queueMicrotask(() => this.writeSome());
    }
  }

  private writeSome(): void {
    if (this.failure !== null) return;
    const batch: Buffer[] = [];
    let bytes = 0;
    while (bytes < WRITE_BYTES) {
      const [first] = this.outbox;
      if (first === undefined) break;
      const piece = first.rest.subarray(0, WRITE_BYTES - bytes);
      batch.push(piece);
      bytes += piece.length;
      if (piece.length === first.rest.length) this.outbox.shift();
      else first.rest = first.rest.subarray(piece.length);
    }
    if (bytes === 0) {
      this.isWriting = false;
      return;
    }
    const [only] = batch;
    this.scheduleCheck(this.lastWrite + this.options.deadlines.writeMs);
    this.process.write(batch.length === 1 && only !== undefined ? only : Buffer.concat(batch), () => {
      this.lastWrite = performance.now();
      this.outgoing.leave(bytes);
      if (!this.isReading && !this.outgoing.isFull) this.setReading(true);
      this.writeSome();
    });
  }

  private setReading(reading: boolean): void {
    this.isReading = reading;
    this.process.setReading(reading);
  }

  // -------------------------------------------------------------------------------------------
  // Reading

  private read(data: Buffer): void {
    if (this.failure !== null) return;
    this.lastRead = performance.now();
    try {
      for (const payload of this.reader.feed(data)) {
        this.handle(wire.decode(payload, this.capabilities), payload.length);
        if (this.failure !== null) return;
      }
    } catch (error) {
      // Whatever goes wrong with a message leaves the connection in no state to go on.
      this.fail(`the host broke the protocol: ${messageOf(error)}`);
    }
    // What the host is asked to take in has to go first.
    if (this.outgoing.isFull) this.setReading(false);
  }

  private handle(message: HostMessage, bytes: number): void {
    if (this.ready.settled === null) {
      if (message.type === "ready") {
        this.capabilities = message.capabilities;
        this.ready.resolve();
      } else if (message.type === "rejected") {
        this.fail(`the host refused the connection: ${message.reason}`);
      } else {
        throw new wire.WireError("a message before its greeting");
      }
      return;
    }
    switch (message.type) {
      case "response":
        return this.answered(message.id, message.answer);
      case "initial": {
        const pending = this.leave(message.id);
        if (pending.kind !== "initial") {
          throw new wire.WireError(`an initial response to request ${message.id}, a ${pending.kind}`);
        }
        return this.observed(pending, message.answer);
      }
      case "tool/invoke":
      case "notification/send":
        return this.asked(message, bytes);
      case "cancel": {
        const work = this.work.get(message.id);
        this.work.delete(message.id);
        if (work !== undefined) work.abort.abort(new Error("the script no longer waits for this call"));
        else if (!this.recent.has(message.id)) {
          throw new wire.WireError(`delegate/cancel for ${message.id}, which was never asked`);
        }
        return;
      }
      case "closed":
        return this.cellClosed(message.sessionId, message.cellId);
      default:
        throw new wire.WireError("a second greeting");
    }
  }

  private answered(id: Id, answer: wire.Answer): void {
    // The first response of the cell holds the slot on.
    const pending = this.leave(id, answer.type === "execution/started");
    const { kind } = pending;
    if (kind === "initial") throw new wire.WireError(`a second response to request ${id}`);
    const isObservation = kind === "session/wait" || kind === "session/terminate";
    if (answer.type === "failure") {
      if (isObservation) return this.observed(pending, answer.failure);
      const open = kind === "session/shutdown" ? "possible" : "none";
      return pending.deferred.reject(hostRefusal(answer.failure, open, ""));
    }
    if (kind === "session/execute" && answer.type === "execution/started") {
      return this.started(id, pending, answer.cellId);
    }
    if (isObservation && answer.type === "wait/completed") {
      if (!answer.missing) return this.observed(pending, answer.response);
      return pending.deferred.reject(new CellFinished(pending.cell?.outerId ?? ""));
    }
    if (
      (kind === "session/open" && answer.type === "session/ready") ||
      (kind === "session/shutdown" && answer.type === "session/closed")
    ) {
      if (answer.sessionId !== SESSION_ID) {
        throw new wire.WireError(`an answer about session ${answer.sessionId}, which was not asked for`);
      }
      return pending.deferred.resolve(undefined);
    }
    if (kind === "session/exportStore" && answer.type === "store/exported") {
      return pending.deferred.resolve(answer.values);
    }
    if (kind === "session/importStore" && answer.type === "store/imported") {
      return pending.deferred.resolve(undefined);
    }
    throw new wire.WireError(`a response of the wrong kind to ${kind}`);
  }

  private started(id: Id, execute: Pending<Cell>, cellId: string): void {
    if (!isNumber(cellId)) throw new wire.WireError(`the cell id ${JSON.stringify(cellId)}, which is no number`);
    if (!this.givenCells.add(Number(cellId))) throw new wire.WireError(`the cell id ${cellId} twice`);
    const cell = execute.makeCell?.(cellId);
    if (cell === undefined) throw new wire.WireError("a cell that was not asked for");
    this.cells.set(cellId, cell);
    const first = new Deferred<CellResponse>();
    cell.observation = first;
    const due = performance.now() + this.options.deadlines.callMs + execute.yieldMs;
    const deferred = first as Deferred<unknown>;
    this.pending.set(id, { ...execute, kind: "initial", deferred, due, cell, makeCell: null });
    this.scheduleCheck(due);
    if (execute.abandoned) this.abandon(cell);
    execute.deferred.resolve(cell);
  }

  private observed(pending: Pending<Cell>, answer: CellResponse | Failure): void {
    const { cell } = pending;
    if (cell === null) throw new wire.WireError("a response about no cell");
    if (!(answer instanceof CellResponse)) {
      return pending.deferred.reject(hostRefusal(answer, "possible", cell.outerId));
    }
    if (answer.cellId !== cell.hostId) {
      throw new wire.WireError(`a response about cell ${answer.cellId} to a request about cell ${cell.hostId}`);
    }
    pending.deferred.resolve(answer);
    if (pending.kind !== "session/terminate") cell.received();
  }

  private cellClosed(sessionId: string, cellId: string): void {
    const cell = this.cells.get(cellId);
    if (sessionId !== SESSION_ID || cell === undefined) {
      throw new wire.WireError(`cell/closed for cell ${cellId}, which does not live`);
    }
    for (const pending of this.pending.values()) {
      if (pending.kind === "initial" && pending.cell === cell) {
        throw new wire.WireError(`cell/closed before the initial response of cell ${cellId}`);
      }
    }
    for (const work of this.work.values()) {
      if (work.cell === cell) throw new wire.WireError(`cell/closed while calls of cell ${cellId} are open`);
    }
    this.cells.delete(cellId);
    cell.closed();
  }

  // -------------------------------------------------------------------------------------------
  // What the host asks for

  private asked(message: ToolInvoke | NotificationSend, bytes: number): void {
    const cell = this.cells.get(message.cellId);
    if (message.sessionId !== SESSION_ID || cell === undefined) {
      throw new wire.WireError(`a delegate request for cell ${message.cellId}, which does not live`);
    }
    if (this.recent.has(message.id) || this.work.has(message.id)) {
      throw new wire.WireError(`the delegate request id ${message.id} twice`);
    }
    this.recent.add(message.id);
    if (this.recent.size > MAX_REMEMBERED_IDS) {
      // A set gives its entries in the order in which they came.
      for (const oldest of this.recent) {
        this.recent.delete(oldest);
        break;
      }
    }
    if (cell.abandoned) {
      this.refuse(message.id, NOBODY_WAITS);
    } else if (this.running >= MAX_TOOL_CALLS) {
      this.refuse(message.id, `the client's limit of ${MAX_TOOL_CALLS} open tool calls is reached`);
    } else if (this.running > 0 && this.runningBytes + bytes > MAX_TOOL_INPUT_BYTES) {
      this.refuse(message.id, `the client's limit of ${MAX_TOOL_INPUT_BYTES} bytes of tool inputs is reached`);
    } else {
      cell.asked(message, bytes);
      const abort = new AbortController();
      this.work.set(message.id, { abort, cell });
      this.running += 1;
      this.runningBytes += bytes;
      void this.serve(message, cell, abort.signal).finally(() => {
        this.running -= 1;
        this.runningBytes -= bytes;
      });
    }
  }

  /** Never rejects. */
  private async serve(message: ToolInvoke | NotificationSend, cell: Cell, signal: AbortSignal): Promise<void> {
    const { id } = message;
    let frame: Buffer;
    try {
      if (message.type === "tool/invoke") {
        const result = await this.owner.callTool(cell, message, signal);
        if (!this.work.has(id)) return;
        try {
          frame = wire.toolResult(id, result);
        } catch (error) {
          throw new Error(`the tool's result cannot be sent: ${messageOf(error)}`);
        }
      } else {
        await this.owner.notify(cell, message);
        frame = wire.notificationDelivered(id);
      }
    } catch (error) {
      frame = errorFrame(id, messageOf(error));
    }
    try {
      await this.outgoing.enter(frame.length);
    } catch {
      // The host is gone, and with it whoever waited.
      return;
    }
    if (this.work.delete(id)) this.send(frame, null, true);
    else this.outgoing.leave(frame.length);
  }

  private refuse(id: Id, reason: string): void {
    this.send(wire.delegateError(id, reason), null);
  }

  // -------------------------------------------------------------------------------------------
  // Deadlines

  /** Has `lookAtDeadlines` called no later than `due`. */
  private scheduleCheck(due: number): void {
    if (this.ready.settled === null || this.failure !== null) return;
    if (this.check !== null && this.check.due <= due) return;
    this.cancelCheck();
    // A timer holds no more than 2^31 ms; one that fires early only looks again.
    const delay = Math.min(Math.max(due - performance.now(), 0), 2 ** 31 - 1);
    this.check = { timer: setTimeout(() => this.lookAtDeadlines(), delay), due };
  }

  private lookAtDeadlines(): void {
    this.check = null;
    const { callMs, writeMs } = this.options.deadlines;
    // A timer may fire a fraction of a millisecond early.
    const now = performance.now() + 1;
    if (this.isWriting && now >= this.lastWrite + writeMs) {
      return this.fail(`the host has not read its input for ${writeMs} ms`);
    }
    let next = this.isWriting ? this.lastWrite + writeMs : Infinity;
    const progress = this.lastRead + writeMs;
    for (const pending of this.pending.values()) {
      if (pending.due <= now) {
        if (!this.reader.isWithinFrame || now >= progress) {
          return this.fail(`the host has not answered ${pending.kind} within ${callMs} ms`);
        }
        // The answer may be what is on its way, however slowly.
        pending.due = progress;
      }
      next = Math.min(next, pending.due);
    }
    if (next < Infinity) this.scheduleCheck(next);
  }

  private cancelCheck(): void {
    if (this.check !== null) clearTimeout(this.check.timer);
    this.check = null;
  }

  // -------------------------------------------------------------------------------------------
  // The end

  /** Takes in a sign of the host's end; fails when its output and process have ended, or soon after the first. */
  private beginEnd(reason: string | null): void {
    this.endReason ??= reason;
    if (this.failure !== null) return;
    if (this.exit !== null && this.outputEnded) this.failEnded();
    else this.grace ??= setTimeout(() => this.failEnded(), END_GRACE_MS);
  }

  private failEnded(): void {
    const cut = this.outputEnded && this.reader.isWithinFrame;
    if (this.exit !== null && !cut) this.fail(`the host process ended: ${exitText(this.exit)}`);
    else this.fail((this.endReason ?? "the host ended") + (this.exit === null ? "" : `; ${exitText(this.exit)}`));
  }

  /** Answers everybody, and kills the host. */
  private fail(cause: string): void {
    if (this.failure !== null) return;
    const stderr = this.process.stderr.text();
    const reason = stderr !== "" && !this.closing ? `${cause}; its last words: ${stderr}` : cause;
    const exitStatus = this.exit?.status ?? null;
    const loss: Loss = { reason, exitStatus, signal: this.exit?.signal ?? null, stderr };
    this.failure = loss;
    this.cancelCheck();
    if (this.grace !== null) clearTimeout(this.grace);
    const unsent = new Set(this.outbox.splice(0).map((entry) => entry.id));
    this.calls.fail(new HostLost(loss, "none"));
    this.outgoing.fail(new HostLost(loss, "none"));
    this.ready.reject(new HostLost(loss, "none"));
    for (const [id, pending] of this.pending) {
      const acted = ABOUT_A_CELL.includes(pending.kind) || (pending.kind === "session/execute" && !unsent.has(id));
      pending.deferred.reject(new HostLost(loss, acted ? "possible" : "none"));
    }
    this.pending.clear();
    const work = [...this.work.values()];
    this.work.clear();
    for (const { abort } of work) abort.abort(new Error("the host was lost"));
    for (const cell of this.cells.values()) cell.lost(loss);
    this.cells.clear();
    if (!this.closing) {
      // A failed host gets no chance to do more.
      this.process.kill();
      this.process.closeInput();
      this.process.closeOutput();
    }
  }

  /** Ends the host and waits until it was reaped. */
  private async end(cause: string): Promise<void> {
    if (this.failure === null) {
      this.closing ||= this.ready.settled !== null;
      this.fail(cause);
    }
    this.process.closeInput();
    await within(this.options.deadlines.shutdownMs, this.process.reaped);
    this.process.kill();
    await this.process.reaped;
    this.process.closeOutput();
  }
}

/** Waits for a promise, or for so long; never rejects. */
async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([promise.catch(() => undefined), late]);
  clearTimeout(timer);
}

function errorFrame(id: Id, message: string): Buffer {
  try {
    return wire.delegateError(id, message);
  } catch (error) {
    return wire.delegateError(id, `the tool's error cannot be sent: ${messageOf(error)}`);
  }
}

/** Whether `text` is a decimal number of 1 or more, as hosts write it. */
export function isNumber(text: string): boolean {
  return /^[1-9][0-9]{0,14}$/.test(text);
}

/** Which numbers were given. Those that come in order take no room. */
export class GivenNumbers {
  private upTo = 0;
  private readonly beyond = new Set<number>();

  /** Takes note of a number; false when it was given before. */
  add(number: number): boolean {
    if (this.has(number)) return false;
    this.beyond.add(number);
    while (this.beyond.delete(this.upTo + 1)) this.upTo += 1;
    return true;
  }

  has(number: number): boolean {
    return (number >= 1 && number <= this.upTo) || this.beyond.has(number);
  }
}

/** Whole milliseconds, rounded up so that a short wait does not become none. */
export function milliseconds(ms: number): number {
  if (!(ms >= 0)) throw new InvalidRequest("a time cannot be negative");
  return Math.min(Math.ceil(ms), Number.MAX_SAFE_INTEGER);
}
