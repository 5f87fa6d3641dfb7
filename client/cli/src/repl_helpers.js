// Behind each entry of the prompt: shows its value and keeps its names for the next entry.
// The placeholders MARK, COLORS and MAX_BYTES are filled in by repl_scope.rs.

function $cm_show(value) {
  if (value === undefined) return;
  const odd = typeof value === "function" || typeof value === "symbol";
  globalThis.text(COLORS || odd ? $cm_inspect(value) : value);
}

function $cm_keep(constants, variables) {
  const now = {};
  $cm_keep.seen ??= {};
  for (const [how, names] of [["c", constants], ["v", variables]]) {
    for (const name of Object.keys(names)) {
      const kept = [how, ...$cm_kept(names[name])];
      const key = JSON.stringify(kept);
      if ($cm_keep.seen[name] === key) continue;
      $cm_keep.seen[name] = key;
      now[name] = kept;
    }
  }
  if (Object.keys(now).length > 0) globalThis.text(MARK + JSON.stringify(now));
}

// How a value is written down: "j" and its JSON, "e" and an expression, "f" and a source,
// or "x" and why it cannot be.
function $cm_kept(value) {
  if (value === undefined) return ["e", "undefined"];
  if (typeof value === "bigint") return ["e", value < 0n ? `(${value}n)` : `${value}n`];
  if (typeof value === "symbol") return ["x", "a symbol"];
  if (typeof value === "function") {
    const source = Function.prototype.toString.call(value);
    if (/\{\s*\[native code\]\s*\}$/.test(source)) return ["x", "a function of the engine"];
    return ["f", source];
  }
  if (typeof value === "number") {
    if (Object.is(value, -0)) return ["e", "(-0)"];
    if (!Number.isFinite(value)) return ["e", `(${value})`];
  }
  try {
    const odd = $cm_odd(value);
    if (odd) return ["x", odd];
    const json = JSON.stringify(value);
    if (json.length > MAX_BYTES) return ["x", "larger than MAX_BYTES bytes"];
    return ["j", json];
  } catch (error) {
    return ["x", `no JSON value (${error?.message ?? error})`];
  }
}

// What of the value JSON would not keep.
function $cm_odd(value) {
  switch (typeof value) {
    case "string":
    case "boolean":
      return "";
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0) ? "" : `an object with ${value} in it`;
    case "object":
      break;
    default:
      return `an object with a ${typeof value} in it`;
  }
  if (value === null) return "";
  const list = Array.isArray(value);
  const prototype = Object.getPrototypeOf(value);
  if (!list && prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    return `an object of ${value.constructor?.name || "a class"}`;
  }
  for (const key of list ? value.keys() : Object.keys(value)) {
    if (!list && value[key] === undefined) continue;
    const odd = $cm_odd(value[key]);
    if (odd) return odd;
  }
  return "";
}

function $cm_inspect(value, above = []) {
  const paint = (code, text) => (COLORS ? `\u001b[${code}m${text}\u001b[0m` : text);
  switch (typeof value) {
    case "string":
      return paint(32, JSON.stringify(value));
    case "number":
      return paint(33, Object.is(value, -0) ? "-0" : String(value));
    case "boolean":
      return paint(33, String(value));
    case "bigint":
      return paint(33, `${value}n`);
    case "undefined":
      return paint(90, "undefined");
    case "symbol":
      return paint(32, String(value));
    case "function": {
      const kind = /^class\b/.test(Function.prototype.toString.call(value)) ? "class" : "function";
      return paint(36, `[${kind} ${value.name || "(anonymous)"}]`);
    }
  }
  if (value === null) return paint(1, "null");
  if (above.includes(value)) return paint(36, "[circular]");
  if (value instanceof Error) return String(value.stack ?? value);
  if (value instanceof Date) return paint(35, Number.isNaN(+value) ? "Invalid Date" : value.toISOString());
  if (value instanceof RegExp) return paint(31, String(value));
  const list = Array.isArray(value);
  if (above.length > 5) return paint(36, list ? "[…]" : "{…}");
  const most = 100;
  const inner = (part) => $cm_inspect(part, [...above, value]);
  let head = "";
  let parts;
  let count;
  if (list) {
    count = value.length;
    parts = value.slice(0, most).map(inner);
  } else if (value instanceof Map) {
    head = `Map(${value.size}) `;
    count = value.size;
    parts = [...value].slice(0, most).map(([key, part]) => `${inner(key)} => ${inner(part)}`);
  } else if (value instanceof Set) {
    head = `Set(${value.size}) `;
    count = value.size;
    parts = [...value].slice(0, most).map(inner);
  } else {
    const name = value.constructor?.name;
    if (typeof name === "string" && name !== "" && name !== "Object") head = `${name} `;
    const keys = Object.keys(value);
    const shown = (key) => (/^[A-Za-z_$][\w$]*$/.test(key) ? key : JSON.stringify(key));
    count = keys.length;
    parts = keys.slice(0, most).map((key) => `${shown(key)}: ${inner(value[key])}`);
  }
  if (count > most) parts.push(paint(90, `… ${count - most} more`));
  const [open, close] = list ? ["[", "]"] : ["{", "}"];
  if (parts.length === 0) return head + open + close;
  const line = parts.join(", ");
  const plain = line.replace(/\u001b\[\d+m/g, "");
  if (plain.length <= 72 && !plain.includes("\n")) return `${head}${open} ${line} ${close}`;
  const margin = "  ".repeat(above.length);
  return `${head}${open}\n${parts.map((part) => `${margin}  ${part}`).join(",\n")}\n${margin}${close}`;
}
