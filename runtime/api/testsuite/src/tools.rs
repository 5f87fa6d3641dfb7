//! `javascript-surface.md`, section *Tools*.

use std::sync::Arc;

use code_mode_api::{CellStatus, SessionError};
use pretty_assertions::assert_eq;

use crate::fixture::{Call, Fixture, MakeProvider, tool, within};

/// A call carries the tool's own name and its input as JSON.
pub async fn tools_get_their_own_name_and_json_input(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        await tools.get_profile({ a: [1, 'ü', null], gone: undefined, f() {} });
        await tools.get_profile();
        await tools.get_profile(undefined);
        await tools.get_profile('text');
        await tools.get_profile(() => 1);
    ";
    assert_eq!(fixture.texts(source).await, [""; 0]);
    let inputs = [r#"{"a":[1,"ü",null]}"#, "null", "null", r#""text""#, "null"];
    let expected: Vec<Call> = inputs
        .into_iter()
        .enumerate()
        .map(|(index, input)| Call::Tool {
            call_id: format!("tool-{}", index + 1),
            name: "get-profile".to_owned(),
            namespace: Some("mcp__test__".to_owned()),
            input: input.to_owned(),
        })
        .collect();
    let calls = fixture.recorder.calls();
    assert_eq!(calls.get(..5), Some(expected.as_slice()));
    fixture.end().await;
}

/// The result is the JSON value, parsed.
pub async fn tool_results_arrive_as_values(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        const r = await tools.echo({ list: [1, { deep: true }], text: 'ü🦕' });
        text(r.list[1].deep); text(r.text); text(Array.isArray(r.list));
        text(await tools.echo(null)); text(typeof await tools.echo(1.5));
    ";
    assert_eq!(
        fixture.texts(source).await,
        ["true", "ü🦕", "true", "null", "number"]
    );
    let source = r#"
        const strings = ['', 'plain', ' "quoted" ', 'a\\b', '\n\t\u0000\u001f\u007f', 'Zürich', '東京 🦕',
            'x'.repeat(100000) + 'é', "'".repeat(70000) + '"', 'ab'.repeat(50000), 'Ã©'.repeat(9),
            ('x'.repeat(30) + '"').repeat(3), 'a'.repeat(20) + '東', 'abc'.repeat(100).slice(10, 200),
            ('東' + 'Abc'.repeat(20)).slice(1), Array.from({ length: 9999 }, String).join('')];
        for (const string of strings) {
            const back = await tools.echo(string);
            if (back !== string) text(`${JSON.stringify(string)} came back as ${JSON.stringify(back)}`);
        }
        text(await tools.echo('lone \ud800') === 'lone \ufffd');
    "#;
    assert_eq!(fixture.texts(source).await, ["true"]);
    fixture.end().await;
}

/// A failed call rejects with an Error that has the tool's text and the place of the call.
pub async fn failed_tools_reject_with_an_error(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source =
        "try { await tools.fail() } catch (e) { text(e instanceof Error); text(e.message) }";
    assert_eq!(fixture.texts(source).await, ["true", "the tool says no"]);
    let error = fixture.error("\nawait tools.fail()").await;
    assert!(error.starts_with("Error: the tool says no\n"), "{error}");
    assert!(error.contains("exec_main.mjs:2:"), "{error}");
    fixture.end().await;
}

/// Calls do not wait for each other, and answers settle in the order of their arrival.
pub async fn tool_calls_run_concurrently_and_are_numbered(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        const log = [];
        const gate = tools.gate('gate').then(v => log.push(v));
        await tools.echo('echo').then(v => log.push(v));
        notify('echoed');
        await gate;
        text(log.join());
    ";
    let cell = fixture.start(source).await;
    fixture
        .recorder
        .wait_for(|call| matches!(call, Call::Notification(_)))
        .await;
    fixture.recorder.open_gate();
    let response = within(cell.first_response).await.expect("the cell answers");
    assert_eq!(crate::fixture::texts_of(&response), ["echo,gate"]);
    let ids: Vec<String> = fixture
        .recorder
        .calls()
        .into_iter()
        .filter_map(|call| match call {
            Call::Tool { call_id, .. } => Some(call_id),
            _ => None,
        })
        .collect();
    assert_eq!(ids, ["tool-1", "tool-2"]);
    fixture.end().await;
}

/// Calling what is not there is V8's error, with a hint.
pub async fn missing_tools_get_v8s_error_and_the_nearest_names(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "try { tools.nope() } catch (e) { text(e instanceof TypeError); text(e.message) }";
    assert_eq!(
        fixture.texts(source).await,
        ["true", "tools.nope is not a function"]
    );
    let error = fixture.error("await tools.getProfile({})").await;
    assert!(
        error.starts_with("TypeError: tools.getProfile is not a function"),
        "{error}"
    );
    assert!(error.contains("tools.get_profile"), "{error}");
    let source = "text(tools.nope === undefined); text('echo' in tools); text('nope' in tools); \
                  text(Object.keys(tools).join()); text(typeof tools.toString)";
    assert_eq!(
        fixture.texts(source).await,
        [
            "true",
            "true",
            "false",
            "echo,fail,hang,gate,get_profile",
            "undefined"
        ]
    );
    fixture.end().await;
}

/// `ALL_TOOLS` has normalised names and descriptions.
pub async fn all_tools_lists_normalised_names(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let texts =
        fixture.texts("text(ALL_TOOLS.length); text(ALL_TOOLS[4]); text(ALL_TOOLS === ALL_TOOLS)");
    assert_eq!(
        texts.await,
        [
            "5",
            r#"{"name":"get_profile","description":"describes get-profile"}"#,
            "true"
        ]
    );
    fixture.end().await;
}

/// Input that JSON cannot hold throws, and no call is made.
pub async fn input_that_json_cannot_hold_throws(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        for (const input of [(() => { const o = {}; o.o = o; return o })()])
            try { await tools.echo(input); text('no error') } catch (e) { text(e.name) }
    ";
    assert_eq!(fixture.texts(source).await, ["TypeError"]);
    let calls = fixture.recorder.calls();
    assert!(
        !calls.iter().any(|call| matches!(call, Call::Tool { .. })),
        "{calls:?}"
    );
    fixture.end().await;
}

/// At the end of a cell its open calls are cancelled before it is closed.
pub async fn open_calls_are_cancelled_when_the_cell_ends(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let response = fixture
        .run("tools.hang(1); tools.hang(2); text('end')")
        .await;
    assert_eq!(response.status, CellStatus::Completed { error_text: None });
    fixture
        .recorder
        .wait_for(|call| matches!(call, Call::Closed(_)))
        .await;
    let calls = fixture.recorder.calls();
    let closed = calls
        .iter()
        .position(|call| matches!(call, Call::Closed(_)));
    for id in ["tool-1", "tool-2"] {
        let dropped = calls
            .iter()
            .position(|call| *call == Call::Dropped(id.to_owned()));
        assert!(dropped.is_some(), "{calls:?}");
        assert!(dropped < closed, "{calls:?}");
    }
    assert_eq!(calls.last(), Some(&Call::Closed("1".to_owned())));
    let error = fixture.wait(&response.cell_id, crate::PATIENCE).await;
    assert!(
        matches!(error, Err(SessionError::CellFinished { .. })),
        "{error:?}"
    );
    fixture.end().await;
}
