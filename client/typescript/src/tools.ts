// SPDX-License-Identifier: Apache-2.0
/** Tools: functions that scripts can call. */

import type { Json } from "./wire.js";

/** One call of a tool by a script: what a policy decides about, and what an event shows. */
export interface ToolCall {
  /** The cell that calls. */
  readonly cellId: string;
  /** The call's id in its cell: `tool-1`, `tool-2`, … */
  readonly callId: string;
  /** The caller's own id of the exec that the call belongs to. */
  readonly execCallId: string;
  /** The tool's own name. */
  readonly name: string;
  /** The tool's namespace, if it has one. */
  readonly namespace: string | null;
  /** The input, as JSON gave it. */
  readonly input: Json;
}

/** What a handler gets beside its input. */
export interface ToolContext {
  readonly call: ToolCall;
  /** Aborted when the script no longer waits for the answer. */
  readonly signal: AbortSignal;
}

/** What a policy answers: the call goes on, perhaps with another input, or it is refused and the script told why. */
export type Decision =
  | { readonly allow: true; readonly input?: Json }
  | { readonly allow: false; readonly reason: string };

/** Decides about every nested call, of tools that do not exist as well, before anything is run. */
export type Policy = (call: ToolCall) => Decision | Promise<Decision>;

/** A JSON schema. */
export type JsonSchema = { readonly [key: string]: unknown };

/** The part of a validator that this package uses: zod, valibot, arktype and others have it. */
export interface StandardSchema {
  readonly "~standard": {
    readonly version: 1;
    readonly validate: (value: unknown) => ValidationResult | Promise<ValidationResult>;
    readonly jsonSchema?: { readonly input: (options: { target: "draft-2020-12" }) => Record<string, unknown> };
  };
}

/** What a schema makes of an input. */
export type OutputOf<Schema extends StandardSchema> =
  Extract<Awaited<ReturnType<Schema["~standard"]["validate"]>>, { readonly value: unknown }> extends {
    readonly value: infer Output;
  }
    ? Output
    : never;

type ValidationResult =
  | { readonly value: unknown; readonly issues?: undefined }
  | { readonly issues: readonly ValidationIssue[] };

interface ValidationIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What every tool has. */
export interface ToolFields {
  name: string;
  description?: string;
  namespace?: string;
  kind?: "function" | "freeform";
  outputSchema?: JsonSchema;
}

/** A tool as scripts see it, and the function behind it. `tool` makes one. */
export interface Tool {
  readonly name: string;
  readonly namespace: string | null;
  /** The wire's form. */
  readonly definition: { readonly tool_name: { name: string; namespace: string | null } } & JsonSchema;
  /** Answers one call. */
  readonly run: (input: Json, context: ToolContext) => unknown;
}

/**
 * Makes a tool whose input is checked by a schema of zod or of any other library with the standard interface. Its JSON
 * schema is the schema's own, or `inputSchema` where the library makes none. Throws a TypeError when there is neither.
 */
export function tool<Schema extends StandardSchema>(
  fields: ToolFields & {
    input: Schema;
    inputSchema?: JsonSchema;
    handler: (input: OutputOf<Schema>, context: ToolContext) => unknown;
  },
): Tool;
/** Makes a tool whose input is what JSON gave; `inputSchema` tells the script's author what it should be. */
export function tool<Input = Json>(
  fields: ToolFields & {
    inputSchema?: JsonSchema;
    handler: (input: Input, context: ToolContext) => unknown;
  },
): Tool;
export function tool(
  fields: ToolFields & {
    input?: StandardSchema;
    inputSchema?: JsonSchema;
    handler: (input: never, context: ToolContext) => unknown;
  },
): Tool {
  if (!fields.name) throw new TypeError("a tool needs a name");
  const { input: schema } = fields;
  const handler = fields.handler as (input: unknown, context: ToolContext) => unknown;
  const inputSchema = fields.inputSchema ?? (schema === undefined ? null : jsonSchemaOf(schema, fields.name));
  const namespace = fields.namespace ?? null;
  return {
    name: fields.name,
    namespace,
    definition: {
      name: fields.name,
      tool_name: { name: fields.name, namespace },
      description: fields.description ?? "",
      kind: fields.kind ?? "function",
      input_schema: inputSchema,
      output_schema: fields.outputSchema ?? null,
    },
    run: schema === undefined ? handler : async (input, context) => handler(await validated(schema, input), context),
  };
}

/** The tool in this namespace, if it has none of its own. */
export function inNamespace(given: Tool, namespace: string | undefined): Tool {
  if (namespace === undefined || given.namespace !== null) return given;
  return { ...given, namespace, definition: { ...given.definition, tool_name: { name: given.name, namespace } } };
}

function jsonSchemaOf(schema: StandardSchema, name: string): JsonSchema {
  const standard = schema["~standard"];
  if (standard.jsonSchema !== undefined) return standard.jsonSchema.input({ target: "draft-2020-12" });
  // Some releases of zod 4 have it as a method, and write what the input may be.
  const method = (schema as { toJSONSchema?: (options: { io: "input" }) => Record<string, unknown> }).toJSONSchema;
  if (typeof method === "function") return method.call(schema, { io: "input" });
  throw new TypeError(`the schema of the tool ${name} gives no JSON schema: pass it as inputSchema`);
}

async function validated(schema: StandardSchema, input: Json): Promise<unknown> {
  // A script that calls a tool without an argument sends null; for a schema of an object that is an empty one.
  let result = await schema["~standard"].validate(input);
  if (result.issues !== undefined && input === null) {
    const again = await schema["~standard"].validate({});
    if (again.issues === undefined) result = again;
  }
  if (result.issues === undefined) return result.value;
  throw new Error(result.issues.map(issueText).join("; "));
}

function issueText(issue: ValidationIssue): string {
  const keys = (issue.path ?? []).map((each) => String(typeof each === "object" ? each.key : each));
  return keys.length === 0 ? issue.message : `${keys.join(".")}: ${issue.message}`;
}
