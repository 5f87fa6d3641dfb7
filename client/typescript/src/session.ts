// SPDX-License-Identifier: Apache-2.0
/** Sessions: what an embedder works with. */

import {
  DEFAULT_DEADLINES,
  DEFAULT_YIELD_MS,
  FIRST_RESTART_PAUSE_MS,
  MAX_KEPT_CELLS,
  MAX_REMEMBERED_LOSSES,
  MAX_RESTART_PAUSE_MS,
  STABLE_AFTER_MS,
  type Deadlines,
  type Globals,
  type Limits,
} from "./bounds.js";
import { Cell, type CellHome } from "./cell.js";
import { Connection, GivenNumbers, isNumber, milliseconds, type Owner } from "./connection.js";
import { CellFinished, CellLost, HostLost, LimitError, MissingCell, SessionClosed, StartFailed, messageOf } from "./errors.js";
import type { Notification } from "./events.js";
import { findHost, type HostCommand } from "./locate.js";
import type { CellResponse, Result, StateLost } from "./results.js";
import { inNamespace, type Policy, type Tool } from "./tools.js";
import { EXTENSION_GLOBALS, EXTENSION_LIMITS, limitFields, type Json, type NotificationSend, type ToolInvoke } from "./wire.js";

/** What a session is made with; nothing is needed. */
export interface SessionOptions {
  /** What scripts may call, unless an exec names others. */
  tools?: Iterable<Tool>;
  /**
   * The host program, or a command such as `["ssh", "box", "code_mode_host"]`. Without it: the variable
   * CODE_MODE_HOST, the package for this platform, `code_mode_host` in PATH.
   */
  host?: HostCommand;
  /** Is asked before every single call of a tool. */
  policy?: Policy;
  /** Gets what scripts send with `notify`. */
  onNotification?: (notification: Notification) => void | Promise<void>;
  /** Bounds of every cell, unless an exec names others. */
  limits?: Limits;
  /** Which globals every script has, unless an exec names others. Without it the host's choice. */
  globals?: Globals;
  /** The host's environment variables; it has no others. */
  env?: Record<string, string>;
  /** The host's working folder; without it this process's own. */
  cwd?: string;
  /** How long the host may take for what. */
  deadlines?: Partial<Deadlines>;
  /** The namespace of tools that have none of their own. */
  namespace?: string;
}

/** What an exec may say beside its source. */
export interface ExecOptions {
  /** What the script may call, in place of the session's tools. */
  tools?: Iterable<Tool>;
  /** Bounds of the cell, in place of the session's. */
  limits?: Limits;
  /** Which globals the script has, in place of the session's. */
  globals?: Globals;
  /** How many tokens of output the caller means to keep; advice for the host. */
  maxOutputTokens?: number;
  /** The caller's own id of this exec, which every nested call carries. */
  callId?: string;
  /** Aborting it ends the script. */
  signal?: AbortSignal;
}

/** What a start may say: an exec's options, and when the first response comes at the latest. */
export interface StartOptions extends ExecOptions {
  /** Milliseconds until the first response, if the script neither ends nor yields before. Defaults to 10,000. */
  yieldMs?: number;
}

/**
 * A session of scripts, with a host process of its own that it starts, watches and ends.
 *
 * Stored values and running cells live as long as the host; when it is lost, every call that waits for it rejects at
 * once, and the next exec starts a fresh one and says in its result what was lost. While a host runs, it keeps this
 * process alive: close the session, or hold it with `await using`.
 */
export class Session implements AsyncDisposable {
  private readonly inner: Inner;

  /** Starts nothing yet; the first exec starts the host. */
  constructor(options: SessionOptions = {}) {
    this.inner = new Inner(options);
  }

  /** Makes a session and starts its host, so that a missing one shows at once. */
  static async open(options: SessionOptions = {}): Promise<Session> {
    const session = new Session(options);
    await session.inner.bound();
    return session;
  }

  /**
   * Runs a script to its end.
   *
   * Rejects with ScriptError when it fails, LimitError when it reaches a bound, HostLost when the host is lost, and
   * with the signal's reason when that is aborted: the script is terminated then.
   */
  async exec(source: string, options: ExecOptions = {}): Promise<Result> {
    const cell = await this.inner.start(source, options, false);
    try {
      return await cell.result({ signal: options.signal });
    } catch (error) {
      if (options.signal?.aborted) this.inner.abandon(cell);
      throw error;
    }
  }

  /** Starts a script that runs on. The signal counts until the cell is there. */
  start(source: string, options: StartOptions = {}): Promise<Cell> {
    return this.inner.start(source, options, true);
  }

  /** The cell of this id, unless it has ended and its result was taken. Throws MissingCell, CellFinished, CellLost. */
  cell(cellId: string): Cell {
    return this.inner.cell(cellId);
  }

  /** `Cell.wait` of the cell of this id. */
  async wait(cellId: string, yieldMs?: number, options: { signal?: AbortSignal } = {}): Promise<CellResponse> {
    return this.inner.cell(cellId).wait(yieldMs, options);
  }

  /** `Cell.terminate` of the cell of this id. */
  async terminate(cellId: string): Promise<CellResponse> {
    return this.inner.cell(cellId).terminate();
  }

  /** The stored values. Needs a host with `code_mode/store-v1`. */
  exportStore(): Promise<Record<string, Json>> {
    return this.inner.exportStore();
  }

  /** Stores values for the cells to come. Needs a host with `code_mode/store-v1`. */
  importStore(values: Record<string, Json>): Promise<void> {
    return this.inner.importStore(values);
  }

  /** The process id of the host; null while there is none. */
  get processId(): number | null {
    return this.inner.processId;
  }

  /** What the host has beyond plain V1. */
  get capabilities(): ReadonlySet<string> {
    return this.inner.capabilities;
  }

  /** How many cells have something to hand out yet. */
  get openCells(): number {
    return this.inner.openCells;
  }

  /** Ends every cell and the host; when this resolves, the process was reaped. A second call does nothing more. */
  close(): Promise<void> {
    return this.inner.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.inner.close();
  }
}

type ToolSet = ReadonlyMap<string, Tool>;

/** What a session does behind its interface. */
class Inner implements CellHome, Owner<Cell> {
  private readonly options: SessionOptions;
  private readonly deadlines: Deadlines;
  private readonly tools: ToolSet;
  private connection: Connection<Cell> | null = null;
  private starting: Promise<Connection<Cell>> | null = null;
  private closed: Promise<void> | null = null;
  private readonly ending = new Set<Promise<void>>();
  private generation = 0;
  private given = new GivenNumbers();
  private readonly cells = new Map<string, Cell>();
  private isUsed = false;
  private losses: StateLost[] = [];
  private untold: StateLost | null = null;
  private failures = 0;
  private notBefore = 0;
  private nextCall = 1;

  constructor(options: SessionOptions) {
    this.options = options;
    this.deadlines = { ...DEFAULT_DEADLINES, ...options.deadlines };
    this.tools = this.toolSet(options.tools ?? []);
  }

  get processId(): number | null {
    return this.connection === null || this.connection.failure !== null ? null : (this.connection.processId ?? null);
  }

  get capabilities(): ReadonlySet<string> {
    return this.connection?.capabilities ?? new Set();
  }

  get openCells(): number {
    return this.cells.size;
  }

  get isClosing(): boolean {
    return this.closed !== null;
  }

  refuse(): never {
    throw new SessionClosed();
  }

  async start(source: string, options: StartOptions, records: boolean): Promise<Cell> {
    const tools = options.tools === undefined ? this.tools : this.toolSet(options.tools);
    const limits = options.limits ?? this.options.limits ?? null;
    const { signal } = options;
    signal?.throwIfAborted();
    const connection = await unlessAborted(this.bound(), signal);
    if (this.cells.size >= MAX_KEPT_CELLS) {
      const text = `the limit of ${MAX_KEPT_CELLS} cells whose result nobody has taken is reached`;
      throw new LimitError(text, "cells", MAX_KEPT_CELLS, "none");
    }
    if (limitFields(limits) !== null) connection.require(EXTENSION_LIMITS);
    const globals = options.globals ?? this.options.globals ?? null;
    if (globals !== null) connection.require(EXTENSION_GLOBALS);
    const callId = options.callId ?? `exec-${this.nextCall++}`;
    const { generation, given } = this;
    const fields = {
      callId,
      tools: [...tools.values()].map((each) => each.definition),
      source,
      yieldMs: milliseconds(options.yieldMs ?? DEFAULT_YIELD_MS),
      maxOutputTokens: options.maxOutputTokens ?? null,
      limits,
      globals,
    };
    const makeCell = (hostId: string): Cell => {
      given.add(Number(hostId));
      const outerId = generation === 1 ? hostId : `${generation}.${hostId}`;
      const cell = new Cell(this, connection, hostId, outerId, callId, tools, records);
      this.cells.set(outerId, cell);
      return cell;
    };
    this.isUsed = true;
    return connection.execute(fields, makeCell, signal);
  }

  abandon(cell: Cell): void {
    this.connection?.abandon(cell);
  }

  cell(cellId: string): Cell {
    if (this.closed !== null) throw new SessionClosed();
    this.noteLoss();
    const cell = this.cells.get(cellId);
    if (cell !== undefined) return cell;
    const [generation, number] = parseCellId(cellId);
    if (this.connection !== null && generation === this.generation && this.given.has(number)) {
      throw new CellFinished(cellId);
    }
    if (generation > 0 && (generation < this.generation || (generation === this.generation && !this.connection))) {
      throw new CellLost(cellId, this.reasonOf(generation));
    }
    throw new MissingCell(cellId);
  }

  async exportStore(): Promise<Record<string, Json>> {
    if (this.closed !== null) throw new SessionClosed();
    this.noteLoss();
    if (this.connection === null && this.starting === null) {
      const last = this.losses.at(-1);
      if (last === undefined) return {};
      throw new HostLost({ reason: last.reason, exitStatus: null, signal: null, stderr: "" }, "none");
    }
    return (await this.bound()).exportStore();
  }

  async importStore(values: Record<string, Json>): Promise<void> {
    const connection = await this.bound();
    this.isUsed = true;
    await connection.importStore(values);
  }

  close(): Promise<void> {
    this.closed ??= (async () => {
      // Whoever waits for the start hears of its end.
      const connection = await this.starting?.catch(() => null);
      await (this.connection ?? connection)?.close();
      await Promise.all(this.ending);
    })();
    return this.closed;
  }

  /** The connection to a host that lives; starts one where there is none. */
  async bound(): Promise<Connection<Cell>> {
    if (this.closed !== null) throw new SessionClosed();
    this.noteLoss();
    if (this.connection !== null) return this.connection;
    this.starting ??= this.startHost().finally(() => (this.starting = null));
    const connection = await this.starting;
    if (this.closed !== null) throw new SessionClosed();
    return connection;
  }

  forget(cell: Cell): void {
    if (this.cells.get(cell.outerId) === cell) this.cells.delete(cell.outerId);
  }

  takeUntold(connection: Connection<Cell>): StateLost | null {
    if (connection !== this.connection) return null;
    const loss = this.untold;
    this.untold = null;
    return loss;
  }

  async callTool(cell: Cell, message: ToolInvoke, signal: AbortSignal): Promise<unknown> {
    const call = cell.toolCall(message);
    let { input } = message;
    if (this.options.policy !== undefined) {
      let decision;
      try {
        decision = await this.options.policy(call);
      } catch (error) {
        throw new Error(`the policy failed: ${messageOf(error)}`);
      }
      if (decision?.allow === false) throw new Error(String(decision.reason));
      if (decision?.allow !== true) throw new Error("the policy gave no decision");
      if (decision.input !== undefined) input = decision.input;
    }
    const found = cell.tools.get(toolKey(message.name, message.namespace));
    if (found === undefined) throw new Error(`there is no tool ${message.name}`);
    return found.run(input, { call, signal });
  }

  async notify(cell: Cell, message: NotificationSend): Promise<void> {
    const { outerId: cellId, execCallId } = cell;
    await this.options.onNotification?.({ type: "notification", cellId, execCallId, text: message.text });
  }

  private toolSet(tools: Iterable<Tool>): ToolSet {
    const made = new Map<string, Tool>();
    for (const given of tools) {
      const each = inNamespace(given, this.options.namespace);
      const key = toolKey(each.name, each.namespace);
      if (made.has(key)) throw new TypeError(`there are two tools ${each.name}`);
      made.set(key, each);
    }
    return made;
  }

  private async startHost(): Promise<Connection<Cell>> {
    const command = findHost(this.options.host);
    const pause = this.notBefore - performance.now();
    if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
    if (this.closed !== null) throw new SessionClosed();
    const { env = {}, cwd } = this.options;
    try {
      const connection = await Connection.start<Cell>(this, { command, env, cwd, deadlines: this.deadlines });
      this.connection = connection;
      this.generation += 1;
      this.given = new GivenNumbers();
      this.isUsed = false;
      return connection;
    } catch (error) {
      if (error instanceof StartFailed) this.hostFailed(null);
      throw error;
    }
  }

  /** Lets a host go that has failed. */
  private noteLoss(): void {
    const { connection } = this;
    if (connection === null || connection.failure === null || this.closed !== null) return;
    this.connection = null;
    const loss = { generation: this.generation, reason: connection.failure.reason };
    if (this.isUsed) this.untold = loss;
    this.losses = [...this.losses.slice(1 - MAX_REMEMBERED_LOSSES), loss];
    this.cells.clear();
    this.hostFailed(connection.readyAt);
    // It was killed when it failed; this waits until it is reaped.
    const ended = connection.close().finally(() => this.ending.delete(ended));
    this.ending.add(ended);
  }

  private hostFailed(readyAt: number | null): void {
    const now = performance.now();
    if (readyAt !== null && now - readyAt >= STABLE_AFTER_MS) this.failures = 0;
    this.failures += 1;
    // The first costs nothing, so that a host that was killed once is replaced at once.
    const pause = this.failures < 2 ? 0 : FIRST_RESTART_PAUSE_MS * 2 ** Math.min(this.failures - 2, 30);
    this.notBefore = now + Math.min(pause, MAX_RESTART_PAUSE_MS);
  }

  private reasonOf(generation: number): string {
    const loss = this.losses.find((each) => each.generation === generation);
    return loss?.reason ?? "its host was replaced more than once since";
  }
}

function toolKey(name: string, namespace: string | null): string {
  return JSON.stringify([name, namespace]);
}

/** The generation and number in a cell's id; zeros when no session gives such an id. */
function parseCellId(cellId: string): [number, number] {
  const [, generation = "", number = ""] = /^(?:([^.]*)\.)?([^.]*)$/.exec(cellId) ?? [];
  const isPlain = !cellId.includes(".");
  if (!isNumber(number) || (!isPlain && (!isNumber(generation) || generation === "1"))) return [0, 0];
  return [isPlain ? 1 : Number(generation), Number(number)];
}

/** The promise, or the signal's reason if that comes first. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  promise.catch(() => undefined);
  let aborted: (() => void) | undefined;
  const abort = new Promise<never>((_, reject) => {
    aborted = () => reject(signal.reason as Error);
    signal.addEventListener("abort", aborted);
  });
  try {
    return await Promise.race([promise, abort]);
  } finally {
    if (aborted !== undefined) signal.removeEventListener("abort", aborted);
  }
}
