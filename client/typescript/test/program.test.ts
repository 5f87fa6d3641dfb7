// SPDX-License-Identifier: Apache-2.0
/** The command `code_mode` of an installed package. */

import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { HostNotFound } from "../src/errors.js";
import { findProgram } from "../src/locate.js";

function missing(): string {
  throw new Error("not installed");
}

test("the command is the program of the package for this platform", (context) => {
  const folder = mkdtempSync(join(tmpdir(), "code-mode-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const program = join(folder, "code_mode");
  writeFileSync(program, "");
  chmodSync(program, 0o755);
  const asked: string[] = [];
  const resolvePackage = (file: string) => {
    asked.push(file);
    return program;
  };
  assert.equal(findProgram({ resolvePackage, platform: "linux-x64" }), program);
  assert.deepEqual(asked, ["code-mode-client-linux-x64/bin/code_mode"]);
});

test("without that package one sentence says what is wrong", () => {
  for (const [platform, reason] of [
    ["darwin-arm64", /^there is no program for darwin-arm64, only for linux-x64: [^\n]*$/],
    ["linux-x64", /^the package code-mode-client-linux-x64 is missing: [^\n]*$/],
  ] as const) {
    assert.throws(
      () => findProgram({ resolvePackage: missing, platform }),
      (error) => error instanceof HostNotFound && reason.test(error.message),
    );
  }
});
