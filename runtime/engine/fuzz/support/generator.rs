// SPDX-License-Identifier: Apache-2.0
//! Scripts that call every helper with every kind of value, by the choices that a fuzzer makes.
//!
//! Each byte is one choice; when there are none left, the first choice is taken, which is a short one. So every input is
//! a script, and a small change of the input is a small change of the script.

/// Statements of one script, at most.
const MAX_STATEMENTS: usize = 24;

/// Levels of expressions within each other, at most.
const MAX_DEPTH: usize = 4;

/// What a statement may be. `$` stands for an expression, `@` for the name of a variable.
const STATEMENTS: &[&str] = &[
    "text($)",
    "@ = $",
    "image($)",
    "image($, $)",
    "audio($)",
    "content($)",
    "generatedImage($)",
    "store($, $)",
    "@ = load($)",
    "notify($)",
    "yield_control()",
    "exit()",
    "@ = await as_settled($)",
    "for await (const x of stream_settled([$, $])) text(x)",
    "for await (@ of stream_settled($, $)) break",
    "@ = setTimeout($, $)",
    "clearTimeout($)",
    "setTimeout(() => { text($) }, 0)",
    "@ = await tools.echo($)",
    "@ = tools.echo($)",
    "@ = tools.strange_name($, $)",
    "@ = await Promise.all([tools.echo($), tools.fails($)])",
    "@ = await tools[$]($)",
    "text(ALL_TOOLS.map($))",
    "await $",
    "throw $",
    "delete globalThis[$]",
    "globalThis[$] = $",
    "Object.prototype[$] = $",
    "Object.defineProperty(Object.prototype, $, { get() { return $ }, configurable: true })",
    "Array.prototype[$] = $",
    "Promise.prototype.then = $",
    "Promise.resolve = $",
    "JSON.stringify = $",
    "String.prototype.toString = $",
    "Symbol.prototype[Symbol.toPrimitive] = $",
    "Array.prototype[Symbol.iterator] = $",
    "Error.prepareStackTrace = $",
    "Object.freeze(globalThis)",
    "Promise.reject($)",
    "@ = await import($)",
    "@ = eval($)",
    "@ = new Function($, $)",
    "console.log($, $)",
    "@ = structuredClone($)",
    "@ = new URL($, $)",
    "@ = new URLSearchParams($)",
    "@ = new TextDecoder($).decode($)",
    "@ = new TextDecoder('utf-16le', { fatal: true }).decode($, { stream: true })",
    "@ = new TextEncoder().encodeInto($, new Uint8Array(4))",
    "@ = atob($)",
    "@ = btoa($)",
    "crypto.getRandomValues($)",
    "@ = new AbortController()",
    "@ = tools.echo($, { signal: @.signal })",
    "@.abort($)",
    "queueMicrotask($)",
    "clearInterval(setInterval($, $))",
];

/// What an expression may be.
const EXPRESSIONS: &[&str] = &[
    "1",
    "@",
    "undefined",
    "null",
    "true",
    "''",
    "'a'",
    "'echo'",
    "'toJSON'",
    "'length'",
    "'then'",
    "'__proto__'",
    "'constructor'",
    "Symbol.iterator",
    "Symbol.asyncIterator",
    "Symbol.toPrimitive",
    "Symbol('s')",
    "'\\ud800'",
    "'a\\udc00\\u0000b'",
    "'ü\\u{1F600}'",
    "'x'.repeat(3000)",
    "'data:image/png;base64,iVBORw0KGgo='",
    "'data:audio/wav;base64,UklGRg=='",
    "'https://a.example/b?c=d#e'",
    "NaN",
    "-0",
    "-1",
    "1e400",
    "2 ** 53",
    "1.5e300",
    "10n ** 30n",
    "-1n",
    "[]",
    "[$, $]",
    "[,,$]",
    "({})",
    "({ a: $, [$]: $ })",
    "({ type: 'text', text: $ })",
    "({ type: 'image', data: $, mimeType: $ })",
    "({ type: 'resource', resource: { uri: $, text: $, blob: $ } })",
    "({ content: $, isError: $, structuredContent: $ })",
    "({ image_url: $, detail: $ })",
    "({ result: $ })",
    "({ get a() { return $ } })",
    "({ get type() { throw $ } })",
    "({ toJSON() { return $ } })",
    "({ toJSON() { throw $ } })",
    "({ toString() { return $ } })",
    "({ [Symbol.toPrimitive]() { return $ } })",
    "({ then(done, fail) { done($); fail($) } })",
    "({ get then() { throw $ } })",
    "({ length: $, 0: $ })",
    "({ *[Symbol.iterator]() { yield $; throw $ } })",
    "({ next() { return { done: $, value: $ } }, [Symbol.iterator]() { return this } })",
    "new Proxy($, { get() { return $ } })",
    "new Proxy({}, { get() { throw $ }, ownKeys() { throw $ } })",
    "new Proxy([], { getOwnPropertyDescriptor() { return $ } })",
    "Object.create(null)",
    "Object.create($)",
    "Object.assign(Object.create($), { a: $ })",
    "Promise.resolve($)",
    "Promise.reject($)",
    "new Promise(() => {})",
    "new Promise((done) => { done($) })",
    "tools.echo($)",
    "tools",
    "ALL_TOOLS",
    "globalThis",
    "() => $",
    "() => { throw $ }",
    "async () => { await $ }",
    "function* () { yield $ }",
    "class { static a = $ }",
    "new Error($)",
    "Object.assign(new Error($), { stack: $, name: $, message: $, cause: $ })",
    "new AggregateError([$, $], $)",
    "new Date(NaN)",
    "new Map([[$, $]])",
    "new Set([$])",
    "new WeakMap()",
    "/a(?<b>.)*/g",
    "new Uint8Array(16)",
    "new Uint8Array([1, 2, 3]).buffer",
    "new ArrayBuffer(8, { maxByteLength: 64 })",
    "new DataView(new ArrayBuffer(8), 1)",
    "(() => { const a = new ArrayBuffer(8); structuredClone(a, { transfer: [a] }); return a })()",
    "(() => { const a = {}; a.a = a; return a })()",
    "(() => { let a = 1; for (let i = 0; i < 200; i++) a = [a]; return a })()",
    "(() => { const a = () => a(); return a() })()",
    "new (class { #a = $; get a() { return this.#a } })()",
    "`${$}`",
    "$ + $",
    "$?.[$]",
    "$ instanceof $",
    "text",
    "image",
    "content",
    "store",
    "as_settled",
    "stream_settled",
    "setTimeout",
    "text.call($, $)",
    "new text($)",
    "Reflect.construct(text, [$], $)",
    "Intl.DateTimeFormat().resolvedOptions()",
    "Temporal.Instant.fromEpochMilliseconds(0)",
];

/// The variables of a script.
const VARIABLES: [&str; 3] = ["a", "b", "c"];

struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[usize::from(self.0.next().copied().unwrap_or_default()) % of.len()]
    }

    /// Writes a template with all its gaps filled.
    fn fill(&mut self, template: &str, depth: usize, to: &mut String) {
        for character in template.chars() {
            match character {
                '@' => to.push_str(self.pick(&VARIABLES)),
                // The first expressions have no others in them.
                '$' if depth == 0 => to.push('1'),
                '$' => {
                    let expression = self.pick(EXPRESSIONS);
                    to.push('(');
                    self.fill(expression, depth - 1, to);
                    to.push(')');
                }
                _ => to.push(character),
            }
        }
    }
}

/// The script of these choices. Whatever a statement throws, the next one runs.
pub fn script(choices: &[u8]) -> String {
    let mut choices = Choices(choices.iter());
    let mut script = format!("let {};\n", VARIABLES.join(", "));
    for _ in 0..MAX_STATEMENTS {
        if choices.0.as_slice().is_empty() {
            break;
        }
        let statement = choices.pick(STATEMENTS);
        script.push_str("try { ");
        choices.fill(statement, MAX_DEPTH, &mut script);
        script.push_str(" } catch (error) { a = error }\n");
    }
    script.push_str("text(a);\n");
    script
}
