// SPDX-License-Identifier: Apache-2.0
/** Where the host program is. */

import { accessSync, constants, statSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join, resolve, sep } from "node:path";

import { HostNotFound } from "./errors.js";

/** The file name of the host. */
export const HOST_PROGRAM = "code_mode_host";
/** The file name of the command line, which is in the same package. */
export const PROGRAM = "code_mode";
/** The environment variable that names the host. */
export const HOST_VARIABLE = "CODE_MODE_HOST";
/** The platform whose host a package of ours can carry. */
export const PACKAGED_PLATFORM = "linux-x64";

/** A program, or a program with its arguments, such as `["ssh", "box", "code_mode_host"]`. */
export type HostCommand = string | readonly string[];

/** What the search looks at beside its argument; tests give their own. */
export interface Surroundings {
  environment?: Record<string, string | undefined>;
  /** Gives the path of a file of an installed package; throws when there is none. */
  resolvePackage?: (file: string) => string;
  platform?: string;
}

/**
 * The command of the host: the argument, CODE_MODE_HOST, the package for this platform, or a program in PATH. Throws
 * HostNotFound, with all that was looked at in one sentence.
 */
export function findHost(host?: HostCommand, surroundings: Surroundings = {}): [string, ...string[]] {
  const environment = surroundings.environment ?? process.env;
  if (host !== undefined) return named("host", typeof host === "string" ? [host] : [...host], environment["PATH"]);
  const variable = environment[HOST_VARIABLE];
  if (variable) return named(HOST_VARIABLE, [variable], environment["PATH"]);
  const here = platformOf(surroundings);
  const packaged = packagedProgram(HOST_PROGRAM, surroundings);
  if (packaged !== null) return [packaged];
  const found = inPath(HOST_PROGRAM, environment["PATH"]);
  if (found !== null) return [found];
  if (here !== PACKAGED_PLATFORM) {
    throw new HostNotFound(
      `there is no code-mode host for ${here}, only for ${PACKAGED_PLATFORM}: ` +
        `name one with host or ${HOST_VARIABLE}, for instance one that runs elsewhere behind ssh`,
    );
  }
  throw new HostNotFound(
    `the code-mode host was not found: name it with host or ${HOST_VARIABLE}, install the package ${packageFor(here)}, ` +
      `or put ${HOST_PROGRAM} into PATH`,
  );
}

/** The command line in the package for this platform. Throws HostNotFound, with the reason in one sentence. */
export function findProgram(surroundings: Surroundings = {}): string {
  const packaged = packagedProgram(PROGRAM, surroundings);
  if (packaged !== null) return packaged;
  const here = platformOf(surroundings);
  if (here !== PACKAGED_PLATFORM) {
    throw new HostNotFound(`there is no program for ${here}, only for ${PACKAGED_PLATFORM}: run it there, or in a container`);
  }
  throw new HostNotFound(
    `the package ${packageFor(here)} is missing: install again where glibc is 2.34 or newer, with optional dependencies`,
  );
}

function platformOf(surroundings: Surroundings): string {
  return surroundings.platform ?? `${process.platform}-${process.arch}`;
}

function packageFor(platform: string): string {
  return `code-mode-client-${platform}`;
}

/** A program of the installed package for this platform; null when there is none. */
function packagedProgram(program: string, surroundings: Surroundings): string | null {
  const resolvePackage = surroundings.resolvePackage ?? createRequire(import.meta.url).resolve;
  try {
    const packaged = resolvePackage(`${packageFor(platformOf(surroundings))}/bin/${program}`);
    return isProgram(packaged) ? packaged : null;
  } catch {
    // Not installed: the other places remain.
    return null;
  }
}

function named(by: string, command: string[], searchPath: string | undefined): [string, ...string[]] {
  const [program, ...rest] = command;
  if (!program) throw new HostNotFound(`the code-mode host that ${by} names is empty`);
  const found = program.includes(sep) ? null : inPath(program, searchPath);
  if (found !== null) return [found, ...rest];
  if (!isProgram(program)) {
    throw new HostNotFound(`the code-mode host that ${by} names cannot be run: ${program} is no executable file`);
  }
  return [resolve(program), ...rest];
}

function inPath(program: string, searchPath: string | undefined): string | null {
  for (const folder of (searchPath ?? "").split(delimiter)) {
    if (folder !== "" && isProgram(join(folder, program))) return join(folder, program);
  }
  return null;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
