#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/** The command `code_mode` of an installed package: runs the program for this platform as a child. */

import { spawn } from "node:child_process";
import process from "node:process";

import { HostNotFound } from "./errors.js";
import { findProgram } from "./locate.js";

/** The command line's own exit status when it cannot do what it was asked. */
const EXIT_SET_UP = 2;

/** Signals that are meant for the program. A terminal sends SIGINT to both by itself. */
const PASSED_ON: readonly NodeJS.Signals[] = ["SIGTERM", "SIGHUP"];

function fail(message: string): void {
  process.stderr.write(`code_mode: ${message}\n`);
  process.exitCode = EXIT_SET_UP;
}

function run(program: string): void {
  const child = spawn(program, process.argv.slice(2), { stdio: "inherit" });
  process.on("SIGINT", () => {});
  for (const signal of PASSED_ON) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => fail(`Failed to start ${program}: ${error.message}`));
  child.on("exit", (code, signal) => {
    if (signal === null) {
      process.exitCode = code ?? EXIT_SET_UP;
      return;
    }
    // As if this process were the program: whoever waits for it sees the same end.
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

try {
  run(findProgram());
} catch (error) {
  if (!(error instanceof HostNotFound)) throw error;
  fail(error.message);
}
