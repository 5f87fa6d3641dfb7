// SPDX-License-Identifier: Apache-2.0
//! What it is for.

// The SDK marks MCP's log messages as deprecated; the clients of today show them.
#![expect(
    deprecated,
    reason = "log messages are what clients before the revision of 2026-07 show"
)]

use pretty_assertions::assert_eq;
use rmcp::ServiceExt;
use rmcp::model::{
    CallToolRequestParams, ClientConfig, ContentBlock, LoggingLevel, ProtocolVersion,
    SetLevelRequestParams,
};
use serde_json::json;

use crate::support::{Fixture, Heard, front, text};

const MAIN_JOB: &str = r#"
const [table, person, chart] = await Promise.all([
  tools.table__rows({ count: 2 }),
  tools.people__find({ id: 7 }),
  tools.chart__draw({}),
]);
text("| id | amount |\n" + table.rows.map((row) => `| ${row.id} | ${row.amount} |`).join("\n"));
text({ owner: person.name });
image(chart);
"#;

#[tokio::test]
async fn one_exec_calls_three_servers_at_once_and_gives_a_table_and_an_image() {
    let fixture = Fixture::new(&["table", "people", "chart"]).await;
    let tools = fixture.tools().await;
    let names: Vec<&str> = tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!(names, ["exec", "wait", "search"]);
    let described = tools[0].description.clone().unwrap();
    for declared in [
        "table__rows(input: {",
        "people__find(input: {",
        "chart__draw(input: {",
    ] {
        assert!(described.contains(declared), "{described}");
    }

    let (result, mut words) = tokio::join!(fixture.exec(MAIN_JOB), async {
        // Nobody is let go on before all three are there: the calls run at the same time.
        let guests = [
            fixture.guest().await,
            fixture.guest().await,
            fixture.guest().await,
        ];
        let mut words = Vec::new();
        for guest in guests {
            words.push(guest.word.clone());
            guest.release().await;
        }
        words
    });
    words.sort();
    assert_eq!(words, ["draw", "find", "rows"]);
    assert_eq!(result.is_error, Some(false), "{}", text(&result));
    assert_eq!(
        result.content[..2],
        [
            ContentBlock::text("| id | amount |\n| 1 | 10 |\n| 2 | 20 |"),
            ContentBlock::text(r#"{"owner":"person 7"}"#),
        ]
    );
    let image = result.content[2].as_image().unwrap();
    assert_eq!(image.mime_type, "image/png");
    assert!(image.data.starts_with("iVBOR"));
    assert_eq!(
        result.structured_content,
        Some(json!({"owner": "person 7"}))
    );

    let audit = fixture.audit();
    assert_eq!(audit[0]["event"], "exec");
    assert_eq!(audit[0]["sha256"].as_str().unwrap().len(), 64);
    let mut called: Vec<&str> = audit
        .iter()
        .filter(|line| line["event"] == "call")
        .map(|line| line["tool"].as_str().unwrap())
        .collect();
    called.sort_unstable();
    assert_eq!(called, ["draw", "find", "rows"]);
    let end = audit.last().unwrap();
    assert_eq!(
        (&end["event"], &end["outcome"]),
        (&json!("end"), &json!("ok"))
    );
}

#[tokio::test]
async fn servers_are_started_at_the_same_time() {
    let fixture = Fixture::new(&["gather1", "gather2", "gather3"]).await;
    let (tools, ()) = tokio::join!(fixture.tools(), async {
        // None is let on before all three have been started.
        let guests = [
            fixture.guest().await,
            fixture.guest().await,
            fixture.guest().await,
        ];
        for guest in guests {
            assert!(guest.word.starts_with("gather"), "{}", guest.word);
            guest.release().await;
        }
    });
    let described = tools[0].description.clone().unwrap();
    for number in 1..=3 {
        let name = format!("gather{number}");
        assert!(described.contains(&name), "{described}");
        assert!(!described.contains("Not available"), "{described}");
    }
}

#[tokio::test]
async fn clients_of_every_revision_with_a_greeting_are_served() {
    let folder = tempfile::tempdir().unwrap();
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let front = front(folder.path(), json!({}), json!({}));
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (reader, writer) = tokio::io::split(theirs);
        tokio::spawn(code_mode_mcp::serve_streams(front, reader, writer));
        let version: ProtocolVersion = serde_json::from_value(json!(version)).unwrap();
        let client = ClientConfig::default().with_protocol_version(version.clone());
        let client = client.serve(ours).await.unwrap();
        assert_eq!(client.peer_info().unwrap().protocol_version, version);
        let mut params = CallToolRequestParams::new("exec");
        params.arguments = json!({"code": "text('served')"}).as_object().cloned();
        assert_eq!(text(&client.call_tool(params).await.unwrap()), "served");
    }
}

#[tokio::test]
async fn stored_values_last_from_one_exec_to_the_next() {
    let fixture = Fixture::new(&[]).await;
    assert_eq!(
        fixture.text("store('key', { a: 1 }); text('kept')").await,
        "kept"
    );
    assert_eq!(fixture.text("text(load('key').a)").await, "1");
}

#[tokio::test]
async fn stored_values_are_there_again_after_the_host_was_lost() {
    let fixture = Fixture::new(&[]).await;
    fixture.text("store('key', 7)").await;
    let code = "text('on its way'); yield_control(); await new Promise(() => {})";
    let running = fixture.call("exec", json!({"code": code})).await;
    assert!(text(&running).contains("runs on as cell 2"));
    fixture.kill_host().await;
    let lost = fixture.call("wait", json!({"cell_id": "2"})).await;
    assert_eq!(lost.is_error, Some(true));
    assert!(text(&lost).contains("lost"), "{}", text(&lost));
    let told = fixture.text("text(load('key'))").await;
    assert!(
        told.starts_with("7\n[The host was lost before this script ("),
        "{told}"
    );
    assert!(told.ends_with("stored values were put back.]"), "{told}");
}

#[tokio::test]
async fn two_requests_may_wait_for_one_cell() {
    let fixture = Fixture::new(&["people"]).await;
    let code = "text('begun'); yield_control(); text((await tools.people__find({ id: 1 })).name)";
    fixture.call("exec", json!({"code": code})).await;
    let wait = || fixture.call("wait", json!({"cell_id": "1", "yield_time_ms": 60_000}));
    let (one, other, ()) = tokio::join!(wait(), wait(), async {
        fixture.guest().await.release().await;
    });
    let told = format!("{}{}", text(&one), text(&other));
    // Each piece of the output comes to one of them.
    assert_eq!(told.matches("person 1").count(), 1, "{told}");
    // One that came too late is told so.
    for result in [one, other] {
        let told = text(&result);
        let late = told.contains("already delivered");
        assert_eq!(result.is_error, Some(late), "{told}");
    }
    let ends = fixture
        .audit()
        .iter()
        .filter(|line| line["event"] == "end")
        .count();
    assert_eq!(ends, 1);
}

#[tokio::test]
async fn tools_are_found_by_words_from_outside_and_within() {
    let fixture = Fixture::new(&["table", "people"]).await;
    let found = text(&fixture.call("search", json!({"query": "person"})).await);
    assert!(
        found.starts_with("Tools 1 to 1 of 1, best first:"),
        "{found}"
    );
    assert!(found.contains("people__find(input: {"), "{found}");
    let listed = text(&fixture.call("search", json!({})).await);
    assert!(listed.contains("people: 5 tools"), "{listed}");
    let script = "const found = await searchTools('person'); text(found.tools[0].name); \
        text(ALL_TOOLS.some((tool) => tool.name === 'table__rows'));";
    assert_eq!(fixture.text(script).await, "people__find\ntrue");
}

#[tokio::test]
async fn a_failed_call_rejects_with_its_text_and_an_uncaught_one_is_told_with_its_line() {
    let fixture = Fixture::new(&["people"]).await;
    let caught = "try { await tools.people__fail({}) } catch (e) { text(e.message) }";
    assert_eq!(fixture.text(caught).await, "no such person");
    let result = fixture
        .exec("text('before'); searchTools;\nawait tools.people__fail({})")
        .await;
    assert_eq!(result.is_error, Some(true));
    let told = text(&result);
    assert!(told.starts_with("before\n"), "{told}");
    assert!(
        told.contains("no such person") && told.contains("exec_main.mjs:2:"),
        "{told}"
    );
    // What stands in front of the script does not show.
    let result = fixture.exec("searchTools; throw new Error('here')").await;
    assert!(
        text(&result).contains("exec_main.mjs:1:20"),
        "{}",
        text(&result)
    );
}

#[tokio::test]
async fn blocks_of_a_result_are_what_content_takes() {
    let fixture = Fixture::new(&["chart"]).await;
    let result = fixture.exec("content(await tools.chart__both({}))").await;
    assert_eq!(result.content[0], ContentBlock::text("a chart"));
    assert!(result.content[1].as_image().is_some());
}

#[tokio::test]
async fn names_that_are_no_identifiers_or_collide_can_be_called() {
    let fixture = Fixture::new(&["odd"]).await;
    let script = "for (const name of ['odd__get_it', 'odd__get_it_2', 'odd__2_b__e_now', 'odd__class']) \
        text(await tools[name]({}))";
    assert_eq!(
        fixture.text(script).await,
        "called get-it\ncalled get_it\ncalled 2 büße.now\ncalled class"
    );
    // A property of this name needs no quotes.
    assert_eq!(
        fixture.text("text(await tools.odd__class({}))").await,
        "called class"
    );
}

#[tokio::test]
async fn what_a_script_says_and_how_far_a_call_has_come_is_heard_at_once() {
    let mut fixture = Fixture::new(&["people"]).await;
    let script = "notify('begun'); text(await tools.people__count({ to: 2 }))";
    assert_eq!(fixture.text(script).await, "2");
    let mut heard = Vec::new();
    while heard.len() < 4 {
        match fixture.event().await {
            Heard::ToolsChanged => {}
            event => heard.push(event),
        }
    }
    for expected in [
        Heard::Log(json!("begun")),
        Heard::Progress("begun".to_owned()),
        Heard::Progress("people: step 1 (1 of 2)".to_owned()),
        Heard::Progress("people: step 2 (2 of 2)".to_owned()),
    ] {
        assert!(heard.contains(&expected), "{expected:?} in {heard:?}");
    }
}

#[tokio::test]
async fn a_client_that_wants_fewer_log_messages_gets_none_of_a_script() {
    let mut fixture = Fixture::new(&[]).await;
    for (level, wanted) in [(LoggingLevel::Error, false), (LoggingLevel::Debug, true)] {
        let params = SetLevelRequestParams::new(level);
        fixture.client.set_level(params).await.unwrap();
        fixture.text(&format!("notify('{level:?}')")).await;
        // The progress comes after the message, if there is one.
        let mut heard = Vec::new();
        while !matches!(heard.last(), Some(Heard::Progress(_))) {
            match fixture.event().await {
                Heard::ToolsChanged => {}
                event => heard.push(event),
            }
        }
        assert_eq!(heard.len() == 2, wanted, "{heard:?}");
    }
}

#[tokio::test]
async fn a_script_that_yields_is_followed_listed_and_terminated() {
    let fixture = Fixture::new(&[]).await;
    let script = "text('one'); yield_control(); text('two'); await new Promise(() => setTimeout(() => {}, 1e8));";
    let first = fixture.call("exec", json!({"code": script})).await;
    let told = text(&first);
    assert!(
        told.starts_with("one\n[The script runs on as cell 1."),
        "{told}"
    );
    let meta = serde_json::to_value(first.meta.unwrap()).unwrap();
    assert_eq!(
        meta,
        json!({"code_mode/status": "running", "code_mode/cell_id": "1"})
    );

    let cells = text(&fixture.call("wait", json!({})).await);
    assert!(cells.starts_with("cell 1: runs, started "), "{cells}");
    // It has told what it has to tell before it is ended.
    loop {
        let arguments = json!({"cell_id": 1, "yield_time_ms": 0});
        let more = text(&fixture.call("wait", arguments).await);
        assert!(more.contains("runs on as cell 1"), "{more}");
        if more.starts_with("two") {
            break;
        }
    }
    let end = fixture
        .call("wait", json!({"cell_id": "1", "terminate": true}))
        .await;
    assert!(
        text(&end).contains("[Cell 1 was terminated.]"),
        "{}",
        text(&end)
    );
    let again = fixture.call("wait", json!({"cell_id": "1"})).await;
    assert_eq!(again.is_error, Some(true));
    assert!(
        text(&again).contains("already delivered; to read its output again"),
        "{}",
        text(&again)
    );
    let all = text(
        &fixture
            .call("wait", json!({"cell_id": "1", "offset": 0}))
            .await,
    );
    assert!(all.contains("two"), "{all}");
}

#[tokio::test]
async fn output_that_was_cut_can_be_read_on() {
    let fixture = Fixture::new(&[]).await;
    let script = "for (let i = 0; i < 1000; i++) text(`line ${i} of many`)";
    let cut = fixture
        .call("exec", json!({"code": script, "max_output_bytes": 200}))
        .await;
    let told = text(&cut);
    assert!(
        told.starts_with("line 0 of many\n") && told.ends_with("line 999 of many"),
        "{told}"
    );
    assert!(
        told.contains("to read on: wait with cell_id \"1\" and offset"),
        "{told}"
    );
    let read = fixture
        .call(
            "wait",
            json!({"cell_id": "1", "offset": 15, "max_output_bytes": 15}),
        )
        .await;
    assert!(
        text(&read).starts_with("line 1 of many\n"),
        "{}",
        text(&read)
    );
    let missing = fixture
        .call("wait", json!({"cell_id": "9", "offset": 0}))
        .await;
    assert_eq!(missing.is_error, Some(true));
}

#[tokio::test]
async fn cancelling_a_request_ends_its_cell_and_its_calls() {
    let fixture = Fixture::new(&["people"]).await;
    let arguments = json!({"code": "await tools.people__hold({})"});
    let mut params = rmcp::model::CallToolRequestParams::new("exec");
    params.arguments = arguments.as_object().cloned();
    let request = rmcp::model::CallToolRequest::new(params);
    let handle = fixture
        .client
        .send_cancellable_request(
            rmcp::model::ClientRequest::CallToolRequest(request),
            rmcp::service::PeerRequestOptions::no_options(),
        )
        .await
        .unwrap();
    let held = fixture.guest().await;
    assert_eq!(held.word, "held");
    held.release().await;
    handle
        .cancel(Some("the user has changed their mind".to_owned()))
        .await
        .unwrap();
    let cancelled = fixture.guest().await;
    assert_eq!(cancelled.word, "cancelled");
    cancelled.release().await;
    // The cell is gone as soon as its end was noted.
    while fixture.audit().last().unwrap()["event"] != "end" {
        tokio::task::yield_now().await;
    }
    let listed = text(&fixture.call("wait", json!({})).await);
    assert_eq!(listed, "There are no cells.");
}

#[tokio::test]
async fn a_tool_that_appears_later_can_be_called_and_the_client_hears_of_it() {
    let mut fixture = Fixture::new(&["table"]).await;
    fixture.tools().await;
    assert_eq!(
        fixture.text("text(await tools.table__grow({}))").await,
        "grown"
    );
    while fixture.event().await != Heard::ToolsChanged {}
    // The catalog of the moment may be told once more before the new tool is in it.
    let described = loop {
        let described = fixture.tools().await[0].description.clone().unwrap();
        if described.contains("table__grown_0") {
            break described;
        }
        while fixture.event().await != Heard::ToolsChanged {}
    };
    assert!(described.contains("Was not there before"));
    assert_eq!(
        fixture.text("text(await tools.table__grown_0({}))").await,
        "called grown_0"
    );
}

#[tokio::test]
async fn resources_and_prompts_are_read_in_scripts() {
    let fixture = Fixture::new(&["table", "people"]).await;
    let script = "const all = await resources.list(); text(all.map((r) => r.server + ' ' + r.uri).join());
        const read = await resources.read('table', 'test://table'); text(read.contents[0].text);
        const names = await prompts.list('people'); text(names[0].name);
        const prompt = await prompts.get('people', 'greet', { name: 'Ada' }); text(prompt.messages[0].content.text);";
    let told = fixture.text(script).await;
    assert_eq!(
        told,
        "people test://people,table test://table\nwhat test://table holds\ngreet\nGreet Ada"
    );
}

#[tokio::test]
async fn a_script_in_a_fence_runs_and_arguments_that_are_wrong_are_told() {
    let fixture = Fixture::new(&[]).await;
    assert_eq!(fixture.text("```js\ntext(1)\n```").await, "1");
    for (tool, arguments) in [
        ("exec", json!({})),
        ("exec", json!({"code": " "})),
        ("wait", json!({"offset": "x"})),
    ] {
        let result = fixture.call(tool, arguments).await;
        assert_eq!(result.is_error, Some(true));
    }
}

#[tokio::test]
async fn a_server_of_the_newest_revision_is_understood_and_followed() {
    let mut fixture = Fixture::new(&["newest"]).await;
    fixture.tools().await;
    let script = "const [note, link] = await tools.newest__link({}); text(`${note.text} ${link.type} ${link.uri}`);
        content(link);
        text((await tools.newest__list({}))[1].two);
        try { await tools.newest__ask({}) } catch (e) { text(e.message) }
        text(await tools.newest__grow({}));";
    let told = fixture.text(script).await;
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "made resource_link test://made");
    assert!(lines[1].contains("test://made"), "{told}");
    assert_eq!(
        lines[2..],
        [
            "2",
            "the tool asks the user for input, which scripts cannot give",
            "grown"
        ]
    );
    let described = loop {
        let described = fixture.tools().await[0].description.clone().unwrap();
        if described.contains("newest__grown_0") {
            break described;
        }
        while fixture.event().await != Heard::ToolsChanged {}
    };
    assert!(described.contains("Was not there before"));
}

#[tokio::test]
async fn a_script_may_be_typescript_import_its_tools_and_log() {
    let fixture = Fixture::new(&["people"]).await;
    let script = "import { people__count } from 'tools.js';
        type Found = { name: string };
        const found = (await searchTools('person')).tools[0] as Found;
        const counted: number = await people__count({ to: 4 });
        console.log(found.name, counted);";
    assert_eq!(fixture.text(script).await, "[log] people__find 4");
}
