// SPDX-License-Identifier: Apache-2.0
/** What cells put out, and how they stand. */

import type { LimitError, ScriptError } from "./errors.js";

/** How closely a model should look at an image. */
export type ImageDetail = "auto" | "low" | "high" | "original";

/** A text that the script gave to `text`. */
export interface TextItem {
  readonly type: "text";
  readonly text: string;
}

/** What a `data:` URI of the script holds. */
class DataItem {
  constructor(
    /** The `data:` URI. */
    readonly url: string,
  ) {}

  /** Such as `image/png`. */
  get mimeType(): string {
    return decodeDataUri(this.url)[0];
  }

  /** The thing itself. Throws a TypeError when the script gave no proper `data:` URI. */
  get data(): Uint8Array {
    return decodeDataUri(this.url)[1];
  }
}

/** An image that the script gave to `image`. */
export class ImageItem extends DataItem {
  readonly type = "image";

  constructor(
    url: string,
    readonly detail: ImageDetail | null = null,
  ) {
    super(url);
  }
}

/** A sound that the script gave to `audio`. */
export class AudioItem extends DataItem {
  readonly type = "audio";
}

/** One piece of output. */
export type Item = TextItem | ImageItem | AudioItem;

/** What a fresh host means for a session: the stored values and running cells before it are gone. */
export interface StateLost {
  /** The generation that was lost, from 1. */
  generation: number;
  /** Why its host was lost. */
  reason: string;
}

/** How a cell stands; `yielded` means that it runs on. */
export type Status = "completed" | "yielded" | "terminated";

/** What a response is made of. */
export interface ResponseFields {
  cellId: string;
  items: readonly Item[];
  status: Status;
  error: ScriptError | LimitError | null;
  stateLost: StateLost | null;
  hostDurationNs: number | null;
  resultBufferedNs: number | null;
}

/** What an observer of a cell gets: the output since the last response, and how the cell stands. */
export class CellResponse implements ResponseFields {
  /** The cell's id in its session. */
  readonly cellId: string;
  /** The output, in order. */
  readonly items: readonly Item[];
  readonly status: Status;
  /** Why the script failed, if it did. */
  readonly error: ScriptError | LimitError | null;
  /** Set once after a host was lost: the stored values of the session are gone. */
  readonly stateLost: StateLost | null;
  /** How long the host worked on it, in nanoseconds, where the host says so. */
  readonly hostDurationNs: number | null;
  /** How long the result waited for its observer, in nanoseconds, where the host says so. */
  readonly resultBufferedNs: number | null;

  constructor(fields: ResponseFields) {
    this.cellId = fields.cellId;
    this.items = fields.items;
    this.status = fields.status;
    this.error = fields.error;
    this.stateLost = fields.stateLost;
    this.hostDurationNs = fields.hostDurationNs;
    this.resultBufferedNs = fields.resultBufferedNs;
  }

  /** The same response with other values. */
  with(changes: Partial<ResponseFields>): CellResponse {
    return new CellResponse({ ...this, ...changes });
  }

  /** Whether nothing more will come. */
  get isFinal(): boolean {
    return this.status !== "yielded";
  }

  /** The texts, one for each call of `text`. */
  get texts(): string[] {
    return this.items.flatMap((item) => (item.type === "text" ? [item.text] : []));
  }

  /** The texts, joined by line breaks. */
  get text(): string {
    return this.texts.join("\n");
  }

  /** The images. */
  get images(): ImageItem[] {
    return this.items.filter((item) => item instanceof ImageItem);
  }

  /** The sounds. */
  get audio(): AudioItem[] {
    return this.items.filter((item) => item instanceof AudioItem);
  }
}

/** What a script put out. */
export type Result = CellResponse;

function decodeDataUri(uri: string): [string, Uint8Array] {
  const comma = uri.indexOf(",");
  if (comma < 0 || uri.slice(0, 5).toLowerCase() !== "data:") throw new TypeError("the output is no data: URI");
  const [mimeType = "", ...parameters] = uri.slice(5, comma).split(";");
  const body = uri.slice(comma + 1);
  if (parameters.at(-1)?.toLowerCase() !== "base64") return [mimeType, Buffer.from(decodeURIComponent(body))];
  const text = body.replace(/\s+/g, "");
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new TypeError("the output is no base64");
  return [mimeType, Buffer.from(text, "base64")];
}
