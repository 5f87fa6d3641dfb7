// SPDX-License-Identifier: Apache-2.0
//! What the public host's scripts have as well: sound, content blocks and settled promises; and values
//! that it cannot show.

use std::sync::Arc;

use code_mode_api::ContentItem;
use pretty_assertions::assert_eq;

use crate::fixture::{Call, Fixture, MakeProvider, tool};

/// Sound is taken in each documented form, and misuse throws what is documented.
pub async fn audio_takes_every_documented_form(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let response = fixture
        .run(
            "audio('data:audio/wav;base64,AAAA'); audio({ audio_url: 'DATA:audio/wav;base64,AA==' });
             audio({ type: 'audio', data: 'AAAA', mimeType: 'audio/mpeg' });",
        )
        .await;
    let audio = |url: &str| ContentItem::Audio {
        audio_url: url.to_owned(),
    };
    assert_eq!(
        response.content_items,
        [
            audio("data:audio/wav;base64,AAAA"),
            audio("DATA:audio/wav;base64,AA=="),
            audio("data:audio/mpeg;base64,AAAA")
        ]
    );
    let source = "
        for (const value of ['https://x/y.wav', 'x', '', 1, null, {}, { audio_url: 1 },
            { type: 'audio', data: 'AAAA' }, { type: 'audio', data: '', mimeType: 'a/b' }])
            try { audio(value); text('taken') }
            catch (e) { text(e instanceof TypeError && e.message) }
    ";
    let invalid = "Tool call failed: invalid audio output. Pass a base64 data URI instead";
    let misuse = "audio expects a non-empty audio URL string, an object with audio_url, or a raw MCP \
                  audio block";
    assert_eq!(
        fixture.texts(source).await,
        [
            invalid, invalid, misuse, misuse, misuse, misuse, misuse, misuse, misuse
        ]
    );
    fixture.end().await;
}

/// Blocks are put out as their helpers do it; nothing is when one of several is none.
pub async fn content_takes_blocks_and_iterables_of_them(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        content({ type: 'text', text: 'a', annotations: {} });
        content([{ type: 'text', text: '' }, { type: 'resource', resource: { uri: 'u' } }]);
        content((function* () { yield { type: 'text', text: 'b' } })());
        content([]);
        content({ type: 'audio', data: 'AAAA', mimeType: 'audio/wav' });
        content({ type: 'image', data: 'AAAA', mimeType: 'image/png' });
        let closed = false;
        const half = (function* () { try { yield { type: 'text', text: 'c' }; yield 1 }
            finally { closed = true } })();
        for (const value of ['a', 5, null, undefined, { content: [] }, {}, { type: 'zzz' },
            { type: 'text' }, { type: 'text', text: 5 }, { type: 'image', image_url: 'data:,' },
            [1], [[{ type: 'text', text: 'x' }]], half])
            try { content(value); text('taken') } catch (e) { text(e.message) }
        text(closed);
    ";
    let mut expected = vec![
        "a".to_owned(),
        String::new(),
        r#"{"type":"resource","resource":{"uri":"u"}}"#.to_owned(),
        "b".to_owned(),
        "data:audio/wav;base64,AAAA".to_owned(),
        "data:image/png;base64,AAAA Some(High)".to_owned(),
    ];
    expected.extend(vec!["content expects one MCP ContentBlock".to_owned(); 13]);
    expected.push("true".to_owned());
    assert_eq!(fixture.texts(source).await, expected);
    fixture.end().await;
}

/// `as_settled` and `stream_settled` give what settles first first.
pub async fn promises_come_in_the_order_in_which_they_settle(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        const after = (value, ms) => new Promise(done => setTimeout(() => done(value), ms));
        const late = Promise.withResolvers();
        const first = Promise.withResolvers();
        const all = as_settled([late.promise, Promise.reject('no'), first.promise, 7]);
        text(Object.prototype.toString.call(all));
        setTimeout(() => first.resolve('first'), 1);
        for await (const one of all) {
            text(one);
            if (one.value === 'first') late.resolve('late');
        }
        for await (const one of as_settled(new Map([['k', after(1, 1)], ['l', 2]]))) text(one);
        for await (const one of as_settled([])) text('none');
        const left = as_settled([1, new Promise(() => {})]);
        text(await left.next());
        text(await left.return('end'));
        text(await left.next());
    ";
    assert_eq!(
        fixture.texts(source).await,
        [
            "[object AsyncGenerator]",
            r#"{"index":1,"status":"rejected","reason":"no"}"#,
            r#"{"index":3,"status":"fulfilled","value":7}"#,
            r#"{"index":2,"status":"fulfilled","value":"first"}"#,
            r#"{"index":0,"status":"fulfilled","value":"late"}"#,
            r#"{"index":"l","status":"fulfilled","value":2}"#,
            r#"{"index":"k","status":"fulfilled","value":1}"#,
            r#"{"value":{"index":0,"status":"fulfilled","value":1},"done":false}"#,
            r#"{"value":"end","done":true}"#,
            r#"{"done":true}"#,
        ]
    );
    let source = "
        text(await stream_settled([1, Promise.resolve(2)], async one => { text(one.value); await 0 }));
        try { await stream_settled([1, 2], () => { throw new Error('stop') }) }
        catch (e) { text(e.message) }
        for (const misuse of [() => stream_settled([1]), () => stream_settled([1], 5),
            () => as_settled(5), () => as_settled(), () => as_settled({}), () => stream_settled(5, () => 1)])
            try { await misuse(); text('taken') } catch (e) { text(e.name + ': ' + e.message) }
    ";
    assert_eq!(
        fixture.texts(source).await,
        [
            "1",
            "2",
            "undefined",
            "stop",
            "TypeError: stream_settled requires a callback",
            "TypeError: stream_settled requires a callback",
            "TypeError: promises is not iterable",
            "TypeError: promises is not iterable",
            "TypeError: promises is not iterable",
            "TypeError: promises is not iterable",
        ]
    );
    fixture.end().await;
}

/// Nothing that a script does to its globals reaches the two helpers.
pub async fn settled_helpers_work_after_every_global_is_overwritten(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        const kept = { text, as_settled, stream_settled, resolve: Promise.resolve.bind(Promise) };
        const promises = [kept.resolve(1), kept.resolve(2)];
        const entries = new Map([['k', kept.resolve(3)]]);
        const bad = () => { throw 'overwritten' };
        for (const type of [Promise, Array, Map, Function]) {
            for (const name of Object.getOwnPropertyNames(type.prototype)) {
                // Without its constructor no promise could be awaited, by the script itself either.
                if (name === 'constructor' || type === Array && name === 'length') continue;
                try { type.prototype[name] = bad } catch {}
            }
        }
        Map.prototype[Symbol.iterator] = bad;
        for (const name of Object.getOwnPropertyNames(globalThis)) {
            try { globalThis[name] = bad } catch {}
        }
        for await (const one of kept.as_settled(promises)) kept.text(one.value);
        for await (const one of kept.as_settled(entries)) kept.text(one.index);
        await kept.stream_settled(promises, one => kept.text(one.status));
    ";
    assert_eq!(
        fixture.texts(source).await,
        ["1", "2", "k", "fulfilled", "fulfilled"]
    );
    fixture.end().await;
}

/// Two tools of one normalised name do not stop the cell.
pub async fn tools_with_one_normalised_name_are_reached_by_their_full_names(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let mut request = Fixture::request(
        "try { await tools.a_b() } catch (e) { text(e.name + ': ' + e.message) }
         await tools['a-b'](1); await tools['a.b'](2); await tools.other(3);
         const { a_b } = await import('tools.js');
         try { a_b() } catch (e) { text(e.name) }
         text(ALL_TOOLS.map(tool => tool.name).join()); text(Object.keys(tools).sort().join());",
    );
    request.tools = Arc::from([tool("a-b"), tool("other"), tool("a.b")]);
    let started = fixture.execute(request).await.expect("the cell starts");
    let response = started.first_response.await.expect("the cell ends");
    assert_eq!(
        crate::texts_of(&response),
        [
            r#"TypeError: tools.a_b stands for more than one tool; call "a-b" as tools["a-b"] or "a.b" as tools["a.b"]"#,
            "TypeError",
            "a-b,other,a.b",
            "a-b,a.b,a_b,other",
        ]
    );
    let calls = fixture.recorder.calls();
    let names: Vec<&str> = calls
        .iter()
        .filter_map(|call| match call {
            Call::Tool { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["a-b", "a.b", "other"]);
    fixture.end().await;
}

/// A tool that is called like something that objects inherit can be called.
pub async fn tools_may_have_the_names_of_builtins(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let mut request = Fixture::request(
        "for (const name of ['toString', 'constructor', 'hasOwnProperty']) await tools[name](1);
         text(Object.getPrototypeOf(tools)); text('valueOf' in tools);
         try { tools.nope() } catch (e) { text(e.message) }",
    );
    request.tools = ["toString", "constructor", "hasOwnProperty"]
        .map(tool)
        .into();
    let started = fixture.execute(request).await.expect("the cell starts");
    let response = started.first_response.await.expect("the cell ends");
    assert_eq!(
        crate::texts_of(&response),
        ["null", "false", "tools.nope is not a function"]
    );
    fixture.end().await;
}

/// JSON has integers of any size.
pub async fn bigints_are_written_as_the_integers_they_are(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        text([1n, { id: -12345678901234567890n }]);
        text({ '1': 'x', n: 0n, s: '1' });
        store('big', { n: 9007199254740993n });
        text(typeof load('big').n);
        await tools.echo({ id: 12345678901234567890n });
        await tools.echo(7n);
        text('toJSON' in BigInt.prototype);
        try { JSON.stringify(1n) } catch (e) { text(e.name) }
        BigInt.prototype.toJSON = () => 'mine';
        text([1n]);
        const circle = { n: 1n }; circle.circle = circle;
        delete BigInt.prototype.toJSON;
        try { text(circle) } catch (e) { text(e.name); text('toJSON' in BigInt.prototype) }
    ";
    assert_eq!(
        fixture.texts(source).await,
        [
            r#"[1,{"id":-12345678901234567890}]"#,
            r#"{"1":"x","n":0,"s":"1"}"#,
            "number",
            "false",
            "TypeError",
            r#"["mine"]"#,
            "TypeError",
            "false",
        ]
    );
    let inputs: Vec<String> = fixture
        .recorder
        .calls()
        .iter()
        .filter_map(|call| match call {
            Call::Tool { input, .. } => Some(input.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(inputs, [r#"{"id":12345678901234567890}"#, "7"]);
    fixture.end().await;
}

/// With the option no id changes on its way, and a script's own JSON writes it as the integer it is.
pub async fn exact_integers_are_read_as_bigints_where_the_exec_asks(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        const sent = { id: 1234567890123456789n, n: [1, -9007199254740993n, 0.5, 1e300], s: '1234567890123456789' };
        const got = await tools.echo(sent);
        text(typeof got.id + (got.id === sent.id) + typeof got.n[0] + typeof got.n[1] + typeof got.n[2]);
        text(got);
        text(JSON.stringify(got));
        text(typeof await tools.echo(9007199254740991n) + typeof await tools.echo(9007199254740992n));
        store('big', got);
        text(load('big').n[1] === -9007199254740993n);
        text(Object.keys(BigInt.prototype).length);
        BigInt.prototype.toJSON = () => 'mine';
        text([1n]);
        delete BigInt.prototype.toJSON;
        JSON.parse = JSON.rawJSON = globalThis.BigInt = undefined;
        text(typeof (await tools.echo(sent)).id);
    ";
    let mut request = Fixture::request(source);
    request.exact_integers = Some(true);
    let started = fixture.execute(request).await.expect("the cell starts");
    let response = started.first_response.await.expect("the cell ends");
    let same = r#"{"id":1234567890123456789,"n":[1,-9007199254740993,0.5,1e+300],"s":"1234567890123456789"}"#;
    assert_eq!(
        crate::texts_of(&response),
        [
            "biginttruenumberbigintnumber",
            same,
            same,
            "numberbigint",
            "true",
            "0",
            r#"["mine"]"#,
            "bigint",
        ]
    );
    let mut request =
        Fixture::request("text(load('big').n[1]); text('toJSON' in BigInt.prototype)");
    request.exact_integers = Some(false);
    let started = fixture.execute(request).await.expect("the cell starts");
    let response = started.first_response.await.expect("the cell ends");
    let texts = crate::texts_of(&response);
    assert_eq!(texts[0], "-9007199254740992");
    assert_eq!(texts.last().map(String::as_str), Some("false"));
    fixture.end().await;
}

/// Without the option a large integer becomes another number, as everywhere in JavaScript; whoever prints it
/// hears of it.
pub async fn a_script_that_prints_an_integer_that_has_changed_is_told_once(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let texts = fixture
        .texts(
            "const got = await tools.echo({ id: 1234567890123456789n, same: 9007199254740992n });
             text(got.same); text(2 ** 60); text(got.id); text(got)",
        )
        .await;
    assert_eq!(texts[0], "9007199254740992");
    assert_eq!(texts[1], "1152921504606847000");
    assert_eq!(texts[2], "1234567890123456800");
    assert!(
        texts[3].starts_with("Hint: 1234567890123456800 came as 1234567890123456789; ")
            && texts[3].contains("--exact-integers"),
        "{texts:?}"
    );
    assert_eq!(
        texts[4],
        r#"{"id":1234567890123456800,"same":9007199254740992}"#
    );
    assert_eq!(texts.len(), 5);
    fixture.end().await;
}

/// An error text has the errors behind it, within a bound.
pub async fn errors_are_shown_with_what_caused_them(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let error = fixture
        .error("throw new Error('outer', { cause: new TypeError('inner', { cause: 'root' }) })")
        .await;
    assert!(error.starts_with("Error: outer\n    at "), "{error}");
    let inner = error.find("\nCaused by: TypeError: inner\n    at ");
    let root = error.find("\nCaused by: root");
    assert!(inner.is_some() && inner < root, "{error}");
    let error = fixture
        .error("await Promise.any([Promise.reject(new Error('x')), Promise.reject('y')])")
        .await;
    assert!(
        error.starts_with("AggregateError: ")
            && error.contains("\n[0]: Error: x")
            && error.contains("\n[1]: y"),
        "{error}"
    );
    let error = fixture
        .error("const e = new Error('self'); e.cause = e; throw e")
        .await;
    assert!(error.matches("Caused by: ").count() < 8, "{error}");
    let texts = fixture
        .texts("text(new Error('a', { cause: { code: 5 } }))")
        .await;
    assert!(texts[0].ends_with("\nCaused by: {\"code\":5}"), "{texts:?}");
    fixture.end().await;
}

/// Of a large collection, and of large values in it, the start is shown.
pub async fn large_collections_are_shown_in_part(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        const numbers = Array.from({ length: 100_000 }, (_, i) => i);
        text(new Set(numbers));
        text(new Map(numbers.map(i => [i, String(i)])));
        text(new Set(Array.from({ length: 500 }, (_, i) => 'x'.repeat(10_000) + i)).valueOf());
    ";
    let texts = fixture.texts(source).await;
    assert!(
        texts[0].starts_with("Set(100000) {0, 1, 2") && texts[0].ends_with(", 999, …}"),
        "{}",
        texts[0]
    );
    assert!(
        texts[1].starts_with(r#"Map(100000) {0 => "0", 1 => "1""#)
            && texts[1].ends_with(r#", 999 => "999", …}"#),
        "{}",
        texts[1]
    );
    assert!(
        texts[2].len() < 1_200_000 && texts[2].ends_with(", …}"),
        "{} bytes",
        texts[2].len()
    );
    fixture.end().await;
}
