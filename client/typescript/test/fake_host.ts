// SPDX-License-Identifier: Apache-2.0
/** A host that misbehaves in one way. Usage: fake_host.js MODE */

import { closeSync, readSync, writeSync } from "node:fs";

type Message = Record<string, any>;

function readBytes(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let at = 0;
  while (at < length) {
    let count: number;
    try {
      count = readSync(0, bytes, at, length - at, null);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EAGAIN") {
        sleep(5);
        continue;
      }
      throw error;
    }
    if (count === 0) process.exit(0);
    at += count;
  }
  return bytes;
}

/** One message of the client; ends the process at the end of the input. */
function read(): Message {
  return JSON.parse(readBytes(readBytes(4).readUInt32LE()).toString());
}

function frame(message: Message): Buffer {
  const payload = Buffer.from(JSON.stringify(message));
  const header = Buffer.alloc(4);
  header.writeUInt32LE(payload.length);
  return Buffer.concat([header, payload]);
}

function write(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      sleep(5);
    }
  }
}

const send = (message: Message): void => write(frame(message));

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function hang(): never {
  for (;;) sleep(60_000);
}

function ok(id: number, value: Message): Message {
  return { type: "operation/response", id, result: { status: "ok", value } };
}

function greet(): void {
  read();
  send({ type: "connection/ready", selectedVersion: 1, capabilities: [] });
  send(ok(read()["id"], { type: "session/ready", sessionId: "session" }));
}

function started(): number {
  const id = read()["id"] as number;
  send(ok(id, { type: "execution/started", cellId: "1" }));
  return id;
}

function result(id: number, text: string): Message {
  const inner = { cell_id: "1", content_items: [{ type: "input_text", text }], error_text: null };
  return { type: "execute/initialResponse", id, result: { status: "ok", value: { Result: inner } } };
}

function untilInputEnds(): never {
  for (;;) {
    const message = read();
    if (message["request"]?.method === "session/shutdown") {
      send(ok(message["id"], { type: "session/closed", sessionId: "session" }));
    }
  }
}

function invoke(id: number): Message {
  const invocation = {
    cell_id: "1",
    runtime_tool_call_id: `tool-${id}`,
    tool_name: { name: "echo", namespace: null },
    tool_kind: "function",
    input: null,
  };
  return { type: "delegate/request", id, sessionId: "session", request: { type: "tool/invoke", invocation } };
}

function main(mode: string | undefined): void {
  switch (mode) {
    case "silent":
      hang();
    case "rejects":
      read();
      send({ type: "connection/rejected", reason: { type: "noCompatibleVersion", supportedVersions: [7] } });
      process.exit(1);
    case "exits":
      writeSync(2, "first line\nthe second, which says why\n");
      process.exit(3);
    case "no_host":
      write(Buffer.from("Usage: something else\n"));
      process.exit(0);
  }
  greet();
  if (mode === "unread") hang();
  // Reads everything and answers nothing but the shutdown.
  if (mode === "mute") untilInputEnds();
  if (mode === "unread_then_dies") {
    sleep(300);
    process.kill(process.pid, "SIGKILL");
    hang();
  }
  const id = started();
  switch (mode) {
    case "too_long": {
      const header = Buffer.alloc(4);
      header.writeUInt32LE(64 * 1024 * 1024 + 1);
      write(header);
      break;
    }
    case "no_json":
      write(Buffer.from("\x03\x00\x00\x00{]}", "latin1"));
      break;
    case "unknown_field":
      send({ ...result(id, "x"), more: 1 });
      break;
    case "foreign_answer":
      send(ok(99, { type: "session/ready", sessionId: "session" }));
      break;
    case "unknown_cell":
      send({ type: "cell/closed", sessionId: "session", cellId: "7" });
      break;
    case "cut":
      write(frame(result(id, "x")).subarray(0, -3));
      process.exit(0);
    case "closes_output":
      closeSync(1);
      break;
    case "drips": {
      const bytes = frame(result(id, "x".repeat(100)));
      for (let at = 0; at < bytes.length; at += 16) {
        write(bytes.subarray(at, at + 16));
        sleep(50);
      }
      break;
    }
    case "audio": {
      const message = result(id, "x");
      const inner = message["result"].value.Result;
      inner.content_items.push({ type: "input_audio", audio_url: "data:audio/wav;base64,AAEC" });
      inner.code_mode_host_duration_ns = 12;
      inner.result_buffered_for_ns = null;
      send(message);
      break;
    }
    case "many_calls": {
      for (let number = 1; number < 4098; number++) send(invoke(number));
      const answer = read();
      send(result(id, `${answer["id"]}: ${answer["result"].message}`));
      for (let number = 1; number < 4097; number++) send({ type: "delegate/cancel", id: number });
      send({ type: "cell/closed", sessionId: "session", cellId: "1" });
      break;
    }
    case "deep_call": {
      const text = JSON.stringify(invoke(1)).replace('"input":null', `"input":${"[".repeat(100_000)}${"]".repeat(100_000)}`);
      const header = Buffer.alloc(4);
      header.writeUInt32LE(text.length);
      write(Buffer.concat([header, Buffer.from(text)]));
      const answer = read();
      send(result(id, JSON.stringify(answer["result"])));
      send({ type: "cell/closed", sessionId: "session", cellId: "1" });
      break;
    }
    case "hangs_on_input":
      // Ends neither with its input nor by itself.
      hang();
  }
  untilInputEnds();
}

main(process.argv[2]);
