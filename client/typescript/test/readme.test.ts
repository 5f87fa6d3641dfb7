// SPDX-License-Identifier: Apache-2.0
/** The README's first example, run as it stands. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { PATIENCE_MS, ROOT } from "./support.js";

test("the first example prints its sum", () => {
  const text = readFileSync(join(ROOT, "client/typescript/README.md"), "utf8");
  const source = /```js\n(.*?)```/s.exec(text)?.[1] ?? assert.fail("there is no example");
  const here = source.replace('"code-mode-client"', JSON.stringify(new URL("../src/index.js", import.meta.url).href));
  const done = spawnSync(process.execPath, ["--input-type=module", "-e", here], { encoding: "utf8", timeout: PATIENCE_MS });
  assert.deepEqual([done.stdout, done.stderr], ["3\n", ""]);
});
