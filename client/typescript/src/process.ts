// SPDX-License-Identifier: Apache-2.0
/** The process of a host: started in a session of its own, watched, killed with all it has started, reaped. */

import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";

import { MAX_STDERR_LINES, MAX_STDERR_LINE_BYTES } from "./bounds.js";

/** How a process ended. */
export interface Exit {
  status: number | null;
  signal: string | null;
}

/** An exit in words. */
export function exitText(exit: Exit): string {
  return exit.signal !== null ? `it was killed by ${exit.signal}` : `it exited with status ${exit.status}`;
}

/** The last lines of a host's standard error, within bounds. */
export class StderrTail {
  private lines: string[] = [];
  private line: Buffer[] = [];
  private lineBytes = 0;
  private cut = false;

  /** Takes bytes in. */
  feed(data: Buffer): void {
    let begin = 0;
    while (begin < data.length) {
      const newline = data.indexOf(0x0a, begin);
      const end = newline < 0 ? data.length : newline;
      const piece = data.subarray(begin, Math.min(end, begin + MAX_STDERR_LINE_BYTES - this.lineBytes));
      this.cut ||= piece.length < end - begin;
      if (piece.length > 0) this.line.push(Buffer.from(piece));
      this.lineBytes += piece.length;
      if (newline >= 0) this.finishLine();
      begin = end + 1;
    }
  }

  /** The last lines, oldest first, with what has come of one that is not whole. */
  text(): string {
    const rest = Buffer.concat(this.line).toString().trim();
    return (rest === "" ? this.lines : [...this.lines, rest]).join("\n");
  }

  private finishLine(): void {
    const text = Buffer.concat(this.line).toString().trimEnd() + (this.cut ? "…" : "");
    if (text !== "") this.lines.push(text);
    if (this.lines.length > MAX_STDERR_LINES) this.lines.shift();
    this.line = [];
    this.lineBytes = 0;
    this.cut = false;
  }
}

/** What the owner of a process hears. */
export interface ProcessEvents {
  /** Bytes of its standard output. */
  output(data: Buffer): void;
  /** Its standard output has ended. */
  outputEnded(): void;
  /** It has ended and was reaped. */
  exited(exit: Exit): void;
  /** It could not be started, or its pipes failed. */
  failed(reason: string): void;
}

/** A host that runs. */
export class HostProcess {
  readonly stderr: StderrTail = new StderrTail();
  /** Resolves when the process has ended and was reaped, or never was. */
  readonly reaped: Promise<void>;
  exit: Exit | null = null;
  private readonly child: ChildProcessWithoutNullStreams;

  constructor(
    command: readonly [string, ...string[]],
    options: { env: Record<string, string>; cwd: string | undefined },
    events: ProcessEvents,
  ) {
    const [program, ...rest] = command;
    // Detached is a session of its own: a Ctrl-C on the caller's terminal is the caller's to handle, and killing the
    // group ends whatever a program in front of the host has started.
    this.child = spawn(program, rest, { ...options, detached: true, stdio: "pipe", windowsHide: true });
    this.reaped = new Promise((resolve) => {
      this.child.on("error", (error) => {
        events.failed(error.message);
        if (this.child.pid === undefined) resolve();
      });
      this.child.on("exit", (status, signal) => {
        // What it has left behind ends with it. The group keeps its number for as long as anybody is in it.
        if (this.child.pid !== undefined) killGroup(this.child.pid);
        this.exit = { status, signal };
        resolve();
        events.exited(this.exit);
      });
    });
    this.child.stdout.on("data", (data: Buffer) => events.output(data));
    this.child.stdout.on("end", () => events.outputEnded());
    this.child.stdout.on("error", () => events.outputEnded());
    this.child.stderr.on("data", (data: Buffer) => this.stderr.feed(data));
    this.child.stderr.on("error", () => this.child.stderr.destroy());
    this.child.stdin.on("error", (error) => events.failed(`the host's input could not be written: ${error.message}`));
  }

  /** The process id; undefined when the program could not be started. */
  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Writes bytes; `taken` is called when the system has them. */
  write(data: Uint8Array, taken: () => void): void {
    this.child.stdin.write(data, (error) => {
      if (!error) taken();
    });
  }

  /** Stops or goes on taking output. */
  setReading(reading: boolean): void {
    if (reading) this.child.stdout.resume();
    else this.child.stdout.pause();
  }

  /** Kills the process and everything in its group; does nothing once it is reaped. */
  kill(): void {
    if (this.exit === null && this.child.pid !== undefined) {
      killGroup(this.child.pid);
      this.child.kill("SIGKILL");
    }
  }

  /** Ends the process's input, which tells a host to end. */
  closeInput(): void {
    this.child.stdin.destroy();
  }

  /** Takes nothing more from the process. */
  closeOutput(): void {
    this.child.stdout.destroy();
    this.child.stderr.destroy();
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nobody is left in it.
  }
}
