// SPDX-License-Identifier: Apache-2.0
/** What the iterator of a cell gives. */

import type { LimitError, ScriptError } from "./errors.js";
import type { Item } from "./results.js";
import type { ToolCall } from "./tools.js";

/** A text that the script sent with `notify`. */
export interface Notification {
  readonly type: "notification";
  readonly cellId: string;
  /** The caller's own id of the exec that it belongs to. */
  readonly execCallId: string;
  readonly text: string;
}

/** What happens to a cell, in its order. Nothing follows `ended`. */
export type CellEvent =
  | { readonly type: "output"; readonly items: readonly Item[] }
  /** The script runs on: it has called `yield_control`, or the yield time has passed. */
  | { readonly type: "yielded" }
  | Notification
  /** The script has called a tool. The policy may still refuse it. */
  | { readonly type: "toolCalled"; readonly call: ToolCall }
  | {
      readonly type: "ended";
      readonly status: "completed" | "terminated";
      readonly error: ScriptError | LimitError | null;
    };
