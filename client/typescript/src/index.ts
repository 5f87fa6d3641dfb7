// SPDX-License-Identifier: Apache-2.0
/**
 * Code Mode: run JavaScript with tools of your own in a host process.
 *
 * `Session` owns the host; `Cell` is a script that runs on; the errors say what failed and whether the script may have
 * acted. The README has the tables of errors and bounds.
 */

export type { Deadlines, Globals, Limits } from "./bounds.js";
export { Cell } from "./cell.js";
export {
  BusyObserver,
  CellFinished,
  CellLost,
  CellTerminated,
  CodeModeError,
  HostLost,
  HostNotFound,
  InvalidRequest,
  LimitError,
  MissingCell,
  Refused,
  ScriptError,
  SessionClosed,
  StartFailed,
  type SideEffects,
} from "./errors.js";
export type { CellEvent, Notification } from "./events.js";
export { findHost, type HostCommand } from "./locate.js";
export {
  AudioItem,
  CellResponse,
  ImageItem,
  type ImageDetail,
  type Item,
  type Result,
  type StateLost,
  type Status,
  type TextItem,
} from "./results.js";
export { Session, type ExecOptions, type SessionOptions, type StartOptions } from "./session.js";
export {
  tool,
  type Decision,
  type JsonSchema,
  type OutputOf,
  type Policy,
  type StandardSchema,
  type Tool,
  type ToolCall,
  type ToolContext,
} from "./tools.js";
export type { Json } from "./wire.js";
