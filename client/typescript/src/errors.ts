// SPDX-License-Identifier: Apache-2.0
/**
 * What can go wrong, one class per cause.
 *
 * Every error says in `sideEffects` whether the script may already have acted: after `"none"` asking again is safe,
 * after `"possible"` find out first what the script has done.
 */

import type { CellResponse } from "./results.js";

/** Whether the script of a failed operation may already have acted on the world. */
export type SideEffects = "none" | "possible";

/** The base of every error of this package. */
export class CodeModeError extends Error {
  /** A stable name of the cause, as the protocol's capability `code_mode/errors-v1` has it. */
  readonly code: string;
  readonly sideEffects: SideEffects;

  constructor(message: string, code: string, sideEffects: SideEffects, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
    this.sideEffects = sideEffects;
  }
}

/** No host program is where one was looked for. */
export class HostNotFound extends CodeModeError {
  constructor(message: string) {
    super(message, "start-failed", "none");
  }
}

/** The host program could not be started, or did not greet as a host does. */
export class StartFailed extends CodeModeError {
  constructor(cause: string, options?: ErrorOptions) {
    super(`the code-mode host could not be started: ${cause}`, "start-failed", "none", options);
  }
}

/** What is known of a host's end. */
export interface Loss {
  /** What happened, with the last lines of the host's standard error. */
  reason: string;
  /** The status that the process exited with, if it did so by itself. */
  exitStatus: number | null;
  /** The signal that killed the process, such as `SIGKILL`, if one did. */
  signal: string | null;
  /** The last lines of its standard error. */
  stderr: string;
}

/** The host ended, hung or broke the protocol while the operation was pending. */
export class HostLost extends CodeModeError {
  readonly reason: string;
  readonly exitStatus: number | null;
  readonly signal: string | null;
  readonly stderr: string;

  constructor(loss: Loss, sideEffects: SideEffects) {
    super(`the code-mode host was lost: ${loss.reason} (side effects: ${sideEffects})`, "runtime-lost", sideEffects);
    this.reason = loss.reason;
    this.exitStatus = loss.exitStatus;
    this.signal = loss.signal;
    this.stderr = loss.stderr;
  }
}

/** The cell lived in a host that was lost. */
export class CellLost extends CodeModeError {
  constructor(
    readonly cellId: string,
    readonly reason: string,
  ) {
    super(`exec cell ${cellId} was lost with its host: ${reason}`, "cell-lost", "possible");
  }
}

/** The session never had this cell. */
export class MissingCell extends CodeModeError {
  constructor(readonly cellId: string) {
    super(`exec cell ${cellId} not found`, "missing-cell", "none");
  }
}

/** The cell has ended and its result was handed out. */
export class CellFinished extends CodeModeError {
  constructor(readonly cellId: string) {
    super(`exec cell ${cellId} has finished and its result was already delivered`, "cell-finished", "possible");
  }
}

/** Somebody else observes the cell already. */
export class BusyObserver extends CodeModeError {
  constructor(readonly cellId: string) {
    super(`exec cell ${cellId} is already being observed; one observer at a time`, "busy-observer", "possible");
  }
}

/** The session is closing or closed. */
export class SessionClosed extends CodeModeError {
  constructor() {
    super("the session is shut down", "shut-down", "none");
  }
}

/** The request cannot be carried out as it stands; nothing was sent or run. */
export class InvalidRequest extends CodeModeError {
  constructor(message: string) {
    super(message, "invalid-request", "none");
  }
}

/** The host refused the operation for a reason of its own. */
export class Refused extends CodeModeError {
  constructor(
    message: string,
    sideEffects: SideEffects,
    /** The host's name of the cause, from hosts with `code_mode/errors-v1`. */
    readonly hostCode: string | null,
  ) {
    super(message, "refused", sideEffects);
  }
}

/** A bound is reached: by the script, which was ended, or by the request, which was not begun. */
export class LimitError extends CodeModeError {
  /** What the script had put out until then; null when it was not begun. */
  result: CellResponse | null = null;

  constructor(
    message: string,
    /** Which bound, in words, such as `output items`. */
    readonly limit: string,
    /** Its value. */
    readonly maximum: number,
    sideEffects: SideEffects,
  ) {
    super(message, "limit", sideEffects);
  }
}

/** The script failed: it threw, it could not be compiled, or it forgot a rejected promise. */
export class ScriptError extends CodeModeError {
  /** All that the host says of the error. */
  readonly errorText: string;
  /** The name of the script's error, such as `TypeError`; null when a value was thrown that is no Error. */
  readonly errorName: string | null;
  /** The stack in the script, and for a syntax error the line with a caret. */
  readonly scriptStack: string | null;
  /** The line in the script, from 1. */
  readonly line: number | null;
  /** The column in the script, from 1. */
  readonly column: number | null;
  /** What to do about it, where the host knows. */
  readonly hint: string | null;
  /** What the script had put out until then, and where it stands. */
  result: CellResponse | null = null;

  constructor(errorText: string) {
    const [text, hint] = partition(errorText, "\nHint: ");
    const [message, stack] = partition(text, "\n    at ");
    super(message, "script", "possible");
    const place = /exec_main\.mjs:(\d+):(\d+)/.exec(text);
    this.errorText = errorText;
    this.errorName = /^(?:Unhandled rejection: )?([A-Za-z_$][\w$]*): /.exec(message)?.[1] ?? null;
    this.scriptStack = stack === null ? null : `    at ${stack}`;
    this.line = place === null ? null : Number(place[1]);
    this.column = place === null ? null : Number(place[2]);
    this.hint = hint;
  }
}

/** The cell was terminated before its script had ended. */
export class CellTerminated extends CodeModeError {
  /** `result` is what the script had put out until then. */
  constructor(readonly result: CellResponse) {
    super(`exec cell ${result.cellId} was terminated`, "terminated", "possible");
  }
}

function partition(text: string, separator: string): [string, string | null] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + separator.length)];
}

const LIMIT_TEXT = /^(?:LimitError: )?the limit of (\d+) (.+?) is reached/;

/** The error of a cell that has failed. */
export function scriptFailure(errorText: string): ScriptError | LimitError {
  const match = errorText.startsWith("LimitError: ") ? LIMIT_TEXT.exec(errorText) : null;
  return match === null
    ? new ScriptError(errorText)
    : new LimitError(errorText, match[2] ?? "", Number(match[1]), "possible");
}

/** An error answer of a host. */
export interface Failure {
  message: string;
  code: string | null;
  sideEffects: SideEffects | null;
}

/** The error for an error answer; `open` is what a plain V1 host leaves open. */
export function hostRefusal(failure: Failure, open: SideEffects, cellId: string): CodeModeError {
  const { message, code } = failure;
  const sideEffects = failure.sideEffects ?? open;
  switch (code) {
    case "missing-cell":
      return new MissingCell(cellId);
    case "cell-finished":
      return new CellFinished(cellId);
    case "busy-observer":
      return new BusyObserver(cellId);
    case "shut-down":
      return new SessionClosed();
    case "invalid-request":
      return new InvalidRequest(message);
  }
  const match = code?.startsWith("limit/") ? LIMIT_TEXT.exec(message) : null;
  if (match) return new LimitError(message, match[2] ?? "", Number(match[1]), sideEffects);
  return new Refused(message, sideEffects, code);
}

/** What a script hears of a thrown value: its text, or its type when it has none. */
export function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? error.message || error.name : String(error);
  } catch {
    return "the tool threw a value that cannot be shown";
  }
}
