// SPDX-License-Identifier: Apache-2.0
//! The globals of the web: the cases of web-platform-tests in our words, and the bounds of a cell on them.

use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{CellStatus, Globals};
use code_mode_runtime::RuntimeConfig;
use code_mode_testsuite::{Fixture, within};
use pretty_assertions::assert_eq;

use crate::support::runtime;

async fn fixture() -> Fixture {
    let config = RuntimeConfig {
        globals: Globals::Web,
        ..RuntimeConfig::default()
    };
    Fixture::on(Arc::new(runtime(config, None))).await
}

/// Runs a script with these globals, and gives its error text and its texts.
async fn run(fixture: &Fixture, globals: Option<Globals>, source: &str) -> (String, Vec<String>) {
    let mut request = Fixture::request(source);
    request.globals = globals;
    let cell = fixture.execute(request).await.expect("it is admitted");
    let response = within(cell.first_response).await.expect("it answers");
    let texts = code_mode_testsuite::texts_of(&response);
    match response.status {
        CellStatus::Completed { error_text } => (error_text.unwrap_or_default(), texts),
        other => panic!("{source} gave {other:?}"),
    }
}

/// Runs each expression in one cell, and compares its value, or the error that it throws, with a text.
async fn check(cases: &[(&str, &str)]) {
    let fixture = fixture().await;
    let mut source = String::from(
        "const of = (e) => e instanceof Error ? `${e.name}: ${e.message}` : String(e);
         const check = async (f) => { try { text(await f()); } catch (e) { text(`! ${of(e)}`); } };\n",
    );
    for (expression, _) in cases {
        source.push_str(&format!("await check(async () => ({expression}));\n"));
    }
    let (error, texts) = run(&fixture, None, &source).await;
    assert_eq!(error, "");
    for ((expression, expect), text) in cases.iter().zip(&texts) {
        assert_eq!(text, expect, "{expression}");
    }
    assert_eq!(texts.len(), cases.len());
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exec_says_which_globals_it_has() {
    let fixture = fixture().await;
    let source = "text(typeof URL + typeof console)";
    let texts = |text: &str| (String::new(), vec![text.to_owned()]);
    assert_eq!(run(&fixture, None, source).await, texts("functionobject"));
    let web = run(&fixture, Some(Globals::Web), source).await;
    assert_eq!(web, texts("functionobject"));
    let contract = run(&fixture, Some(Globals::Contract), source).await;
    assert_eq!(contract, texts("undefinedundefined"));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urls_are_read_and_written_as_the_web_does() {
    check(&[
        ("new URL('../b?x=1#y', 'https://user:pw@Exämple.org:8080/a/c/').href", "https://user:pw@xn--exmple-cua.org:8080/a/b?x=1#y"),
        ("new URL('HTTP://EXAMPLE.com:80/%7Efoo/../a b').toString()", "http://example.com/a%20b"),
        ("(u => [u.protocol, u.username, u.password, u.host, u.hostname, u.port, u.pathname, u.search, u.hash, u.origin].join())(new URL('https://a:b@c:1/d?e#f'))", "https:,a,b,c:1,c,1,/d,?e,#f,https://c:1"),
        ("new URL('nope')", "! TypeError: Invalid URL: 'nope'"),
        ("new URL('/a', 'nope')", "! TypeError: Invalid URL: '/a'"),
        ("[URL.canParse('a:b'), URL.canParse('b'), URL.parse('b'), URL.parse('a:b').href].join()", "true,false,,a:b"),
        ("(u => { u.port = '99999'; u.protocol = 'ftp'; u.hash = ''; u.pathname = 'ü'; u.search = 'a=ä'; return u.href })(new URL('http://h:1/p#x'))", "ftp://h:1/%C3%BC?a=%C3%A4"),
        ("(u => { u.host = 'b:2'; u.hostname = 'c'; u.username = 'ü'; return JSON.stringify(u) })(new URL('http://a/'))", "\"http://%C3%BC@c:2/\""),
        ("(u => { u.href = 'x' })(new URL('http://a/'))", "! TypeError: Invalid URL: 'x'"),
        ("(u => { u.searchParams.append('b', '1 2'); u.searchParams.delete('a'); return u.href })(new URL('http://a/?a=1'))", "http://a/?b=1+2"),
        ("(u => { const p = u.searchParams; u.search = '?z=9'; return p.get('z') + (p === u.searchParams) })(new URL('http://a/?a=1'))", "9true"),
        ("(u => { u.searchParams.delete('a'); return u.href + u.search })(new URL('http://a/?a=1'))", "http://a/"),
        ("Object.prototype.toString.call(new URL('a:b')) + Object.keys(URL.prototype).includes('href')", "[object URL]true"),
        ("URL.length + URL.name", "1URL"),
        ("URL('a:b')", "! TypeError: Class constructor URL cannot be invoked without 'new'"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_are_lists_of_pairs() {
    check(&[
        ("new URLSearchParams('?a=1&a=2&b=%20+&c').toString()", "a=1&a=2&b=++&c="),
        ("[...new URLSearchParams([['a', 'b'], ['c', 'd']])].join(';')", "a,b;c,d"),
        ("new URLSearchParams({ a: 1, b: 'ü&=' }).toString()", "a=1&b=%C3%BC%26%3D"),
        ("new URLSearchParams([['a']])", "! TypeError: URLSearchParams: each pair must be an iterable of two values"),
        ("(p => [p.get('a'), p.getAll('a').join(), p.get('x'), p.has('a', '2'), p.has('a', '3'), p.size].join('|'))(new URLSearchParams('a=1&a=2'))", "1|1,2||true|false|2"),
        ("(p => { p.set('a', 3); p.set('n', 4); p.delete('b', '9'); p.delete('b', '1'); return p + '' })(new URLSearchParams('a=1&b=1&a=2'))", "a=3&n=4"),
        ("(p => { p.sort(); return p + '' })(new URLSearchParams('z=1&a=1&z=0&é=1'))", "a=1&z=1&z=0&%C3%A9=1"),
        ("(p => { const got = []; p.forEach((v, k) => got.push(k + v)); return got.concat([...p.keys()], [...p.values()]).join() })(new URLSearchParams('a=1&b=2'))", "a1,b2,a,b,1,2"),
        ("new URLSearchParams('a').get()", "! TypeError: get: 1 argument required"),
        ("new URLSearchParams({ '\\ud800': '\\udfff' }) + ''", "%EF%BF%BD=%EF%BF%BD"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_and_bytes_turn_into_each_other() {
    check(&[
        ("new TextEncoder().encode('aä€😀\\ud800').join()", "97,195,164,226,130,172,240,159,152,128,239,191,189"),
        ("(r => [r.read, r.written].join())(new TextEncoder().encodeInto('a€', new Uint8Array(3)))", "1,1"),
        ("(b => { new TextEncoder().encodeInto('ab', b.subarray(1)); return b.join() })(new Uint8Array(4))", "0,97,98,0"),
        ("new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 0x61, 0xff]))", "a\u{fffd}"),
        ("new TextDecoder('utf-8', { ignoreBOM: true }).decode(new Uint8Array([0xef, 0xbb, 0xbf])).length", "1"),
        ("new TextDecoder('utf8', { fatal: true }).decode(new Uint8Array([0xff]))", "! TypeError: decode: the input is not valid in its encoding"),
        ("(d => d.decode(new Uint8Array([0xe2, 0x82]), { stream: true }) + d.decode(new Uint8Array([0xac]), { stream: true }) + d.decode())(new TextDecoder())", "€"),
        ("(d => d.decode(new Uint8Array([0xe2]), { stream: true }) + d.decode() + d.decode(new Uint8Array([0x61])))(new TextDecoder())", "\u{fffd}a"),
        ("['latin1', 'UTF-16', 'sjis'].map(label => new TextDecoder(label).encoding).join()", "windows-1252,utf-16le,shift_jis"),
        ("new TextDecoder('shift_jis').decode(new Uint8Array([0x83, 0x65]).buffer)", "テ"),
        ("new TextDecoder('utf-16be').decode(new DataView(new Uint8Array([0, 97]).buffer))", "a"),
        ("new TextDecoder('nope')", "! RangeError: TextDecoder: unknown encoding 'nope'"),
        ("new TextDecoder().decode('a')", "! TypeError: decode: the input is neither an ArrayBuffer nor a view of one"),
        ("btoa('a\\u00ff') + atob(' Y W\\nJj ') + atob('YQ') + atob('YQ==')", "Yf8=abcaa"),
        ("btoa('€')", "! InvalidCharacterError: btoa: the string has a character beyond Latin-1"),
        ("atob('a')", "! InvalidCharacterError: atob: the string is not valid base64"),
        ("atob('YQ=')", "! InvalidCharacterError: atob: the string is not valid base64"),
        ("atob(btoa('x'.repeat(100000))).length", "100000"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_cloned_by_structure() {
    check(&[
        ("(o => { o.self = o; const c = structuredClone(o); return c !== o && c.self === c && c.d instanceof Date && c.m.get('k') === 1 && c.s.has(2) && c.r.source === 'x' && c.b[0] === 7 && !('f' in c) })({ d: new Date(1), m: new Map([['k', 1]]), s: new Set([2]), r: /x/g, b: new Uint8Array([7]) })", "true"),
        ("structuredClone(() => 1)", "! DataCloneError: structuredClone: a function cannot be cloned"),
        ("structuredClone({ a: Symbol('s') })", "! DataCloneError: structuredClone: a symbol cannot be cloned"),
        ("structuredClone(Promise.resolve())", "! DataCloneError: structuredClone: an object of this kind cannot be cloned"),
        ("structuredClone(new URL('a:b'))", "! DataCloneError: structuredClone: an object of this kind cannot be cloned"),
        ("(c => [c.length, 1 in c, c[2], c.x].join())(structuredClone(Object.assign([0, , 2], { x: 1 })))", "3,false,2,1"),
        ("(e => [e instanceof RangeError, e.message, e.cause, e.stack.length > 0].join())(structuredClone(new RangeError('m', { cause: 'c' })))", "true,m,c,true"),
        ("(b => { const c = structuredClone(b, { transfer: [b] }); return [b.detached, c.byteLength].join() })(new ArrayBuffer(8))", "true,8"),
        ("(b => { structuredClone(b, { transfer: [b, b] }) })(new ArrayBuffer(8))", "! DataCloneError: structuredClone: an object cannot be transferred"),
        ("(v => [v.a.buffer === v.b.buffer, v.b.byteOffset].join())(structuredClone((b => ({ a: new Uint8Array(b), b: new Uint16Array(b, 2, 1) }))(new ArrayBuffer(8))))", "true,2"),
        ("typeof structuredClone(Object(1n)) + structuredClone(Object('s')) + structuredClone(null) + structuredClone(undefined)", "objectsnullundefined"),
        ("(c => Object.getPrototypeOf(c) === Object.prototype && c.x === 1)(structuredClone(new (class A { x = 1; get y() { return 2 } })))", "true"),
        ("structuredClone()", "! TypeError: structuredClone: 1 argument required"),
        ("(() => { let deep = {}; for (let i = 0; i < 1e5; i += 1) deep = { deep }; structuredClone(deep) })()", "! RangeError: Maximum call stack size exceeded"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_can_be_aborted() {
    check(&[
        ("(c => { const got = []; c.signal.addEventListener('abort', e => got.push(e.type + (e.target === c.signal))); c.signal.onabort = () => got.push('on'); c.abort(); c.abort(); return got.join() + c.signal.aborted + c.signal.reason.name })(new AbortController())", "aborttrue,ontrueAbortError"),
        ("new AbortController().signal.throwIfAborted()", "undefined"),
        ("AbortSignal.abort('why').throwIfAborted()", "! why"),
        ("new AbortSignal()", "! TypeError: Illegal constructor"),
        ("await new Promise(done => { const s = AbortSignal.timeout(1); s.onabort = () => done(s.reason.name) })", "TimeoutError"),
        ("(c => { const any = AbortSignal.any([new AbortController().signal, c.signal]); c.abort(5); return any.reason })(new AbortController())", "5"),
        ("(c => { let n = 0; const t = new EventTarget(); t.addEventListener('x', () => n += 1, { signal: c.signal }); t.dispatchEvent(new Event('x')); c.abort(); t.dispatchEvent(new Event('x')); return n })(new AbortController())", "1"),
        ("await tools.echo(1, { signal: AbortSignal.abort('early') })", "! early"),
        ("await (async c => { const p = tools.hang({}, { signal: c.signal }); c.abort(); await p })(new AbortController())", "! AbortError: This operation was aborted"),
        ("await tools.echo(1, { signal: new AbortController().signal })", "1"),
        ("await tools.echo(1, { signal: 'no' })", "! TypeError: the signal is not an AbortSignal"),
        ("await tools.echo(1, {}) + await tools.echo(2, 'x')", "3"),
        ("`${new DOMException('m', 'AbortError').code}${new DOMException() instanceof Error}`", "20true"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_aborted_is_no_longer_open() {
    let fixture = fixture().await;
    let mut request = Fixture::request(
        "for (let i = 0; i < 3; i++) {
            const stop = new AbortController();
            const call = tools.hang({}, { signal: stop.signal });
            stop.abort(i);
            await call.catch((reason) => text(reason));
        }
        text(await tools.echo('alive'));",
    );
    request.limits.open_tool_calls = Some(1);
    let cell = fixture.execute(request).await.expect("it is admitted");
    let response = within(cell.first_response).await.expect("it answers");
    assert_eq!(response.status, CellStatus::Completed { error_text: None });
    let texts = code_mode_testsuite::texts_of(&response);
    assert_eq!(texts, ["0", "1", "2", "alive"]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_clocks_and_random_numbers_are_there() {
    check(&[
        ("await new Promise(done => setTimeout((a, b) => done(a + b), 1, 2, 3))", "5"),
        ("await new Promise(done => { let n = 0; const i = setInterval((by) => { n += by; if (n === 6) { clearInterval(i); done(n) } }, 1, 2) })", "6"),
        ("await new Promise(done => { const i = setInterval(() => done('fired'), 1); clearTimeout(i); setTimeout(() => done('cleared'), 20) })", "cleared"),
        ("setInterval('code')", "! TypeError: setInterval expects a function callback"),
        ("await (async () => { const got = []; queueMicrotask(() => got.push(2)); got.push(1); await null; return got.join() })()", "1,2"),
        ("queueMicrotask(1)", "! TypeError: queueMicrotask expects a function callback"),
        ("Number.isInteger(performance.now()) && performance.now() < 60000 && Math.abs(performance.timeOrigin + performance.now() - Date.now()) < 2", "true"),
        ("/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID())", "true"),
        ("new Set(crypto.getRandomValues(new Uint8Array(64))).size > 8", "true"),
        ("crypto.getRandomValues(new Uint8Array(65537))", "! QuotaExceededError: getRandomValues: more than 65536 bytes"),
        ("crypto.getRandomValues(new Float32Array(1))", "! TypeMismatchError: getRandomValues: not an array of integers"),
        ("(d => [d.enumerable, d.writable, d.configurable].join())(Object.getOwnPropertyDescriptor(globalThis, 'structuredClone'))", "true,true,true"),
        ("(d => [d.enumerable, d.writable, d.configurable].join())(Object.getOwnPropertyDescriptor(globalThis, 'URL'))", "false,true,true"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consoles_put_out_marked_text() {
    let fixture = fixture().await;
    let source = "console.log('a', 1, { b: [1] }, undefined, null); console.warn('%s is %d%%', 'x', 4.5, 'more');
        console.error(new Map([[1, 2]])); console.assert(true, 'no'); console.assert(false, 'yes');
        console.group('g'); console.info('in\\nside'); console.groupEnd(); console.count(); console.count();
        console.log(); console.debug(Symbol('s'), (x) => x); console.table([1]); console.clear();";
    let (error, texts) = run(&fixture, None, source).await;
    assert_eq!(error, "");
    let expect = [
        "[log] a 1 {\"b\":[1]} undefined null",
        "[warn] x is 4.5% more",
        "[error] Map(1) {1 => 2}",
        "[error] Assertion failed: yes",
        "[log] g",
        "[info]   in\n  side",
        "[log] default: 1",
        "[log] default: 2",
        "[log] ",
        "[debug] Symbol(s) (x) => x",
        "[log] [1]",
    ];
    assert_eq!(texts, expect);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_cell_has_random_numbers_of_its_own() {
    let fixture = fixture().await;
    let source = "text(crypto.randomUUID()); text(Math.random())";
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let (error, texts) = run(&fixture, None, source).await;
        assert_eq!(error, "");
        seen.extend(texts);
    }
    assert_eq!(seen.len(), 8);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bounds_of_a_cell_hold_for_what_the_web_has() {
    let fixture = fixture().await;
    let ends_with = async |source: &str, expect: &str| {
        let mut request = Fixture::request(source);
        // Ample for what another bound ends.
        let spins = expect.contains("CPU time");
        request.limits.cpu_time = Some(Duration::from_millis(if spins { 200 } else { 2_000 }));
        request.limits.timers = Some(10);
        request.limits.output_bytes = Some(10_000);
        let cell = fixture.execute(request).await.expect("it is admitted");
        let response = within(cell.first_response).await.expect("it answers");
        let CellStatus::Completed { error_text } = response.status else {
            panic!("{source} gave {response:?}");
        };
        let error = error_text.unwrap_or_default();
        assert!(error.starts_with(expect), "{source}: {error}");
    };
    ends_with(
        "for (;;) setInterval(() => {}, 1000)",
        "LimitError: the limit of 10 pending timers",
    )
    .await;
    ends_with(
        "for (;;) console.log('x'.repeat(1000))",
        "LimitError: the limit of 10000 output bytes",
    )
    .await;
    ends_with(
        "setInterval(() => { for (;;); }, 0); await new Promise(() => {})",
        "LimitError: the limit of 200 CPU time",
    )
    .await;
    ends_with(
        "const f = () => queueMicrotask(f); f(); await new Promise(() => {})",
        "LimitError: the limit of 200 CPU time",
    )
    .await;
    ends_with("const all = []; for (;;) { const d = new TextDecoder(); d.decode(new Uint8Array([0xe2]), { stream: true }); all.push(d) }", "RangeError: more than 1000 decoders").await;
    ends_with(
        "new URL('a:' + 'x'.repeat(40e6))",
        "RangeError: a value of 40000002 units is too long here",
    )
    .await;
    ends_with(
        "queueMicrotask(() => { throw new Error('late') }); await null; await null",
        "Unhandled rejection: Error: late",
    )
    .await;
    ends_with(
        "new EventTarget().dispatchEvent(1)",
        "TypeError: dispatchEvent: the argument is not an Event",
    )
    .await;
    fixture.end().await;
}
