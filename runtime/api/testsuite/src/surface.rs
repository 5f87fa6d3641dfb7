//! `javascript-surface.md`, sections *Globals* and *Control*.

use pretty_assertions::assert_eq;

use crate::fixture::{Fixture, MakeProvider};

/// Scripts have the helpers and none of what they must not have.
pub async fn removed_globals_are_absent_and_helpers_present(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        const absent = ['console', 'Atomics', 'SharedArrayBuffer', 'WebAssembly', 'fetch',
            'require', 'process', 'Deno', 'Buffer', 'performance', 'queueMicrotask'];
        text(absent.filter(name => name in globalThis));
        const present = ['text', 'image', 'audio', 'content', 'generatedImage', 'store', 'load',
            'notify', 'yield_control', 'exit', 'as_settled', 'stream_settled', 'setTimeout',
            'clearTimeout'];
        text(present.filter(name => typeof globalThis[name] !== 'function'));
        text(typeof tools + Array.isArray(ALL_TOOLS) + typeof Intl);
    ";
    assert_eq!(
        fixture.texts(source).await,
        ["[]", "[]", "objecttrueobject"]
    );
    fixture.end().await;
}

/// `Intl` knows more than English.
pub async fn intl_has_full_data(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        text(new Intl.DateTimeFormat('de', { month: 'long', timeZone: 'UTC' }).format(new Date(0)));
        text(new Intl.NumberFormat('hi-IN').format(1234567.5));
        text(['z', 'ä', 'a'].sort(new Intl.Collator('sv').compare).join(''));
    ";
    assert_eq!(
        fixture.texts(source).await,
        ["Januar", "12,34,567.5", "azä"]
    );
    fixture.end().await;
}

/// A cell leaves nothing to the next one but what it stores.
pub async fn one_cell_sees_nothing_of_anothers_globals(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    fixture
        .texts("globalThis.left = 1; Array.prototype.toJSON = () => 'x'; Object.prototype.y = 1;")
        .await;
    let texts = fixture
        .texts("text(typeof left); text([1]); text(({}).y)")
        .await;
    assert_eq!(texts, ["undefined", "[1]", "undefined"]);
    fixture.end().await;
}

/// Helpers do not look anything up that a script can change.
pub async fn helpers_work_after_every_global_is_overwritten(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        const kept = { text, tools, store, load, setTimeout, Promise };
        for (const name of Object.getOwnPropertyNames(globalThis)) {
            try { globalThis[name] = () => { throw 'overwritten' } } catch {}
        }
        kept.text({ a: [1] });
        kept.store('k', { b: 2 });
        kept.text(kept.load('k'));
        kept.text(await kept.tools.echo({ c: 3 }));
        await new kept.Promise(resolve => kept.setTimeout(resolve, 1));
        const helpers = await import('@openai/code_mode');
        helpers.text('end');
    ";
    assert_eq!(
        fixture.texts(source).await,
        [r#"{"a":[1]}"#, r#"{"b":2}"#, r#"{"c":3}"#, "end"]
    );
    fixture.end().await;
}

/// Values at the edges of what JSON and strings can hold do no harm.
pub async fn strange_values_cross_without_harm(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        text(await tools.echo('a\\ud800b'));
        text(Object.is(await tools.echo(-0), 0));
        text(await tools.echo(9007199254740993));
        text(await tools.echo(1e308 * 10));
        text(await tools.echo(new Proxy({ a: 1 }, {})));
        Array.prototype.toJSON = function () { return 'poisoned' };
        text(await tools.echo([1]));
        delete Array.prototype.toJSON;
        Object.defineProperty(Object.prototype, 'p', { set() { throw 'setter' }, configurable: true });
        text(await tools.echo({ ['p']: 1 }));
        text(JSON.stringify(await tools.echo(JSON.parse('{\"__proto__\": 1}'))));
        try { await tools.echo({ get a() { throw 'getter' } }) } catch (e) { text(e) }
        let deep = 1; for (let i = 0; i < 5000; i++) deep = [deep];
        try { await tools.echo(deep) } catch (e) { text(e.name) }
    ";
    assert_eq!(
        fixture.texts(source).await,
        [
            "a\u{fffd}b",
            "true",
            "9007199254740992",
            "null",
            r#"{"a":1}"#,
            "poisoned",
            r#"{"p":1}"#,
            r#"{"__proto__":1}"#,
            "getter",
            "RangeError",
        ]
    );
    fixture.end().await;
}

/// Both modules can be imported both ways.
pub async fn modules_can_be_imported_statically_and_dynamically(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        import { echo, get_profile } from 'tools.js';
        import * as helpers from '@openai/code_mode';
        helpers.text(await echo(1) + await get_profile(2));
        const tools2 = await import('tools.js');
        helpers.text(tools2.echo === echo);
        helpers.text(Object.keys(tools2).join());
        const { text: again } = await import('@openai/code_mode');
        again('again');
    ";
    assert_eq!(
        fixture.texts(source).await,
        ["3", "true", "echo,fail,gate,get_profile,hang", "again"]
    );
    fixture.end().await;
}

/// Other modules are refused, with what can be imported.
pub async fn other_modules_are_refused_with_a_hint(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    for (source, position) in [
        ("import fs from 'node:fs'; text(fs)", "exec_main.mjs:1:"),
        ("\nawait import('node:fs')", "exec_main.mjs:2:"),
    ] {
        let error = fixture.error(source).await;
        assert!(
            error.contains("Unsupported import in exec: node:fs"),
            "{error}"
        );
        assert!(error.contains(position), "{error}");
        assert!(
            error.contains("tools.js") && error.contains("@openai/code_mode"),
            "{error}"
        );
    }
    let caught = "try { await import('x') } catch (e) { text(e.message) }";
    assert_eq!(
        fixture.texts(caught).await,
        ["Unsupported import in exec: x"]
    );
    fixture.end().await;
}

/// `exit` ends the cell at once and for good, wherever it is called.
pub async fn exit_ends_the_cell_and_cannot_be_swallowed(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    for source in [
        "text('a'); exit(); text('b');",
        "text('a'); try { exit() } catch { text('b') } finally { text('c') } text('d');",
        "text('a'); try { await (async () => exit())() } catch { text('b') } text('c');",
        "text('a'); Promise.resolve().then(() => { exit(); text('b') }); await new Promise(() => {});",
        "text('a'); setTimeout(() => { try { exit() } finally { text('b') } }, 1); await new Promise(() => {});",
        "text('a'); [2, 1].sort(() => exit()); text('b');",
        "text('a'); text({ toJSON() { exit(); return 1 } }); text('b');",
        "text('a'); for (const x of { *[Symbol.iterator]() { try { yield 1 } finally { text('b') } } }) exit();",
    ] {
        assert_eq!(fixture.texts(source).await, ["a"], "{source}");
    }
    fixture.end().await;
}

/// Timers fire by due time, then by creation; cleared ones do not.
pub async fn timers_fire_in_order_and_can_be_cleared(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        const log = [];
        setTimeout(() => log.push('late'), 30);
        setTimeout(() => log.push('soon'), 0);
        setTimeout(() => log.push('negative'), -5);
        const gone = setTimeout(() => log.push('cleared'), 1);
        clearTimeout(gone); clearTimeout(12345); clearTimeout(undefined); clearTimeout('x');
        await new Promise(resolve => setTimeout(resolve, 60));
        text(typeof gone); text(log.join());
    ";
    assert_eq!(
        fixture.texts(source).await,
        ["number", "soon,negative,late"]
    );
    fixture.end().await;
}

/// A pending timer does not keep a cell alive.
pub async fn timers_do_not_keep_a_cell_alive(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let texts = fixture
        .texts("setTimeout(() => text('never'), 100000); text('end')")
        .await;
    assert_eq!(texts, ["end"]);
    fixture.end().await;
}

/// `setTimeout` wants a function.
pub async fn misused_timers_throw_the_documented_message(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    for arguments in ["", "'text()'", "{}, 5"] {
        let source = format!("try {{ setTimeout({arguments}) }} catch (e) {{ text(`${{e}}`) }}");
        let texts = fixture.texts(&source).await;
        assert_eq!(texts, ["TypeError: setTimeout expects a function callback"]);
    }
    fixture.end().await;
}

/// All promise jobs of one macrotask run before the next one.
pub async fn promise_jobs_run_before_the_next_timer(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        const log = [];
        setTimeout(() => { log.push('t1'); Promise.resolve().then(() => log.push('j1')).then(() => log.push('j2')) }, 0);
        setTimeout(() => log.push('t2'), 0);
        log.push('body');
        await null;
        log.push('job');
        await new Promise(resolve => setTimeout(resolve, 20));
        text(log.join());
    ";
    assert_eq!(fixture.texts(source).await, ["body,job,t1,j1,j2,t2"]);
    fixture.end().await;
}
