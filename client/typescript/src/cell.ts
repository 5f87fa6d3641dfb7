// SPDX-License-Identifier: Apache-2.0
/** Cells: scripts that run. */

import { DEFAULT_YIELD_MS, MAX_CELL_EVENTS, MAX_CELL_EVENT_BYTES } from "./bounds.js";
import { Deferred, milliseconds, type CellSink, type Connection } from "./connection.js";
import { BusyObserver, CellFinished, CellLost, CellTerminated, HostLost, type Loss } from "./errors.js";
import type { CellEvent } from "./events.js";
import { CellResponse, type Item, type Result, type StateLost } from "./results.js";
import type { Tool, ToolCall } from "./tools.js";
import type { NotificationSend, ToolInvoke } from "./wire.js";

/** What a cell needs of its session. */
export interface CellHome {
  /** Whether the session is closing or closed. */
  readonly isClosing: boolean;
  /** Throws SessionClosed. */
  refuse(): never;
  /** The cell has nothing more to hand out. */
  forget(cell: Cell): void;
  /** What a response of this connection has to say of a loss before it; it is said once. */
  takeUntold(connection: Connection<Cell>): StateLost | null;
}

/**
 * A script that runs, or whose result nobody has taken yet.
 *
 * Iterate over it for everything that happens, or `wait` for what has come so far, or ask for the `result` at its end.
 * One observer at a time. With `await using`, leaving the block terminates a cell that still runs.
 */
export class Cell implements CellSink, AsyncIterable<CellEvent>, AsyncDisposable {
  abandoned = false;
  observation: Deferred<CellResponse> | null = null;
  /** Tool calls and notifications that the iterator was too slow for. */
  missedEvents = 0;

  private readonly events: { event: CellEvent; bytes: number }[] = [];
  private eventBytes = 0;
  private wake: (() => void) | null = null;
  private isObserved = false;
  private isIterating = false;
  private loss: Loss | null = null;
  private items: Item[] = [];
  private final: CellResponse | null = null;
  private isDetached = false;

  /** Sessions make cells. */
  constructor(
    private readonly home: CellHome,
    private readonly connection: Connection<Cell>,
    readonly hostId: string,
    readonly outerId: string,
    /** The caller's own id of the exec. */
    readonly execCallId: string,
    /** The tools that the script may call, by their names. */
    readonly tools: ReadonlyMap<string, Tool>,
    private readonly records: boolean,
  ) {}

  /** The cell's id in its session: `1`, `2`, …; after a lost host `2.1`, `2.2`, … */
  get id(): string {
    return this.outerId;
  }

  /** Whether its final response was handed out. */
  get hasEnded(): boolean {
    return this.final !== null;
  }

  // -------------------------------------------------------------------------------------------
  // Observing

  /**
   * What has come since the last response, once the cell yields or ends, or after `yieldMs`.
   *
   * The first wait hears what the script does within the yield time that it was started with. A wait that is aborted
   * loses nothing: the next one gets what it would have got.
   */
  async wait(yieldMs?: number, options: { signal?: AbortSignal | undefined } = {}): Promise<CellResponse> {
    this.beginObserving();
    this.isIterating = false;
    try {
      options.signal?.throwIfAborted();
      let timeout = yieldMs;
      if (this.observation === null) {
        await this.connection.observe(this, milliseconds(yieldMs ?? DEFAULT_YIELD_MS));
        timeout = undefined;
      }
      const { observation } = this;
      if (observation === null) throw new CellFinished(this.outerId);
      await settledOr(observation, timeout, options.signal);
      options.signal?.throwIfAborted();
      if (observation.settled === null) return emptyResponse(this.outerId);
      return this.take();
    } finally {
      this.isObserved = false;
    }
  }

  /** Waits for the end. Rejects with ScriptError, LimitError or CellTerminated, which have the output as well. */
  async result(options: { signal?: AbortSignal | undefined } = {}): Promise<Result> {
    while (this.final === null) await this.wait(undefined, options);
    const whole = this.final.with({ items: this.items });
    if (whole.status === "terminated") throw new CellTerminated(whole);
    if (whole.error !== null) {
      whole.error.result = whole;
      throw whole.error;
    }
    return whole;
  }

  /** Ends the cell; when this resolves, nothing of the script runs. Its last output is the response's. */
  async terminate(): Promise<CellResponse> {
    this.refuseIfOver();
    const atHand = this.observation?.settled;
    if (!this.isObserved && atHand?.ok && atHand.value.isFinal) return this.take();
    let response: CellResponse;
    try {
      response = await this.connection.terminate(this);
    } catch (error) {
      if (!(error instanceof CellFinished) || this.isObserved || this.observation === null) throw error;
      // The end was on its way already.
      return this.wait();
    }
    // The observer hears the same by its own answer.
    if (this.isObserved) return response.with({ cellId: this.outerId });
    let earlier: readonly Item[] = [];
    const { observation } = this;
    if (observation !== null) {
      await settledOr(observation, undefined, undefined);
      this.observation = null;
      if (observation.settled?.ok) {
        const before = observation.settled.value;
        if (before.status === "yielded") earlier = before.items;
        else if (response.items.length === 0) response = before;
      }
    }
    return this.deliver(response.with({ items: [...earlier, ...response.items] }));
  }

  /** Lets the cell run on when the block that holds it with `await using` is left. */
  detach(): this {
    this.isDetached = true;
    return this;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<CellEvent, void, undefined> {
    for (;;) {
      const event = await this.nextEvent();
      if (event === null) return;
      yield event;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.final !== null || this.isDetached || this.loss !== null) return;
    try {
      await this.terminate();
    } catch (error) {
      // It has ended by itself, or with its host.
      if (!(error instanceof CellFinished || error instanceof CellLost || error instanceof HostLost)) throw error;
    }
  }

  private async nextEvent(): Promise<CellEvent | null> {
    if (this.isObserved) throw new BusyObserver(this.outerId);
    this.isObserved = this.isIterating = true;
    try {
      for (;;) {
        const next = this.events.shift();
        if (next !== undefined) {
          this.eventBytes -= next.bytes;
          return next.event;
        }
        if (this.final !== null) return null;
        this.refuseIfOver();
        if (this.observation === null) await this.connection.observe(this, DEFAULT_YIELD_MS);
        const { observation } = this;
        if (observation === null) continue;
        if (observation.settled !== null) {
          this.pushResponse(this.take());
          continue;
        }
        const woken = new Promise<void>((resolve) => (this.wake = resolve));
        await Promise.race([woken, observation.promise.catch(() => undefined)]);
      }
    } finally {
      this.wake = null;
      this.isObserved = false;
    }
  }

  private beginObserving(): void {
    if (this.isObserved) throw new BusyObserver(this.outerId);
    this.refuseIfOver();
    this.isObserved = true;
  }

  private refuseIfOver(): void {
    if (this.final !== null) throw new CellFinished(this.outerId);
    if (this.observation !== null) return;
    if (this.home.isClosing) this.home.refuse();
    // A call that was pending hears of the loss itself; only what comes later asks for a lost cell.
    if (this.loss !== null) throw new CellLost(this.outerId, this.loss.reason);
  }

  /** The answer of the observation at hand, which is settled. */
  private take(): CellResponse {
    const settled = this.observation?.settled ?? null;
    this.observation = null;
    if (settled === null) throw new CellFinished(this.outerId);
    if (settled.ok) return this.deliver(settled.value);
    if (!(settled.error instanceof HostLost)) this.home.forget(this);
    throw settled.error;
  }

  private deliver(given: CellResponse): CellResponse {
    const response = given.with({ cellId: this.outerId, stateLost: this.home.takeUntold(this.connection) });
    if (response.error !== null) response.error.result = response;
    this.items.push(...response.items);
    if (response.isFinal) {
      this.final = response;
      this.home.forget(this);
    }
    return response;
  }

  // -------------------------------------------------------------------------------------------
  // What the connection tells

  /** The script calls a tool or sends a notification. */
  asked(message: ToolInvoke | NotificationSend, bytes: number): void {
    if (!this.records) return;
    if (message.type === "tool/invoke") {
      this.push({ type: "toolCalled", call: this.toolCall(message) }, bytes);
    } else {
      const { outerId: cellId, execCallId } = this;
      this.push({ type: "notification", cellId, execCallId, text: message.text }, bytes);
    }
  }

  /** The call for policies, tools and events. */
  toolCall(message: ToolInvoke): ToolCall {
    const { callId, name, namespace, input } = message;
    return { cellId: this.outerId, callId, execCallId: this.execCallId, name, namespace, input };
  }

  /** The observation at hand was answered. */
  received(): void {
    // At once, so that what the script does next comes after it.
    if (this.isIterating && this.observation?.settled?.ok) this.pushResponse(this.take());
  }

  /** The host is done with the cell. */
  closed(): void {
    if (this.abandoned) this.home.forget(this);
  }

  /** The cell went with its host. */
  lost(loss: Loss): void {
    this.loss = loss;
    this.wake?.();
  }

  private pushResponse(response: CellResponse): void {
    const { items, status, error } = response;
    if (items.length > 0) this.events.push({ event: { type: "output", items }, bytes: 0 });
    this.events.push({ event: status === "yielded" ? { type: "yielded" } : { type: "ended", status, error }, bytes: 0 });
    this.wake?.();
  }

  private push(event: CellEvent, bytes: number): void {
    this.events.push({ event, bytes });
    this.eventBytes += bytes;
    while (this.events.length > MAX_CELL_EVENTS || this.eventBytes > MAX_CELL_EVENT_BYTES) {
      const at = this.events.findIndex(({ event }) => event.type === "toolCalled" || event.type === "notification");
      if (at < 0) break;
      this.eventBytes -= this.events.splice(at, 1)[0]?.bytes ?? 0;
      this.missedEvents += 1;
    }
    this.wake?.();
  }
}

/** Resolves when the observation has settled, the time has passed or the signal is aborted; never rejects. */
function settledOr(
  observation: Deferred<CellResponse>,
  ms: number | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  return new Promise((resolve) => {
    // What takes longer than a timer can hold does not take place.
    const timer = ms === undefined ? undefined : setTimeout(done, Math.min(ms, 2 ** 31 - 1));
    signal?.addEventListener("abort", done);
    observation.promise.then(done, done);
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
  });
}

function emptyResponse(cellId: string): CellResponse {
  return new CellResponse({
    cellId,
    items: [],
    status: "yielded",
    error: null,
    stateLost: null,
    hostDurationNs: null,
    resultBufferedNs: null,
  });
}
