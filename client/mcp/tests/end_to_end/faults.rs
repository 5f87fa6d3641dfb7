// SPDX-License-Identifier: Apache-2.0
//! Servers that misbehave: each costs its own tools and nobody else's.

use code_mode_mcp::own::{self, MAX_LISTED};
use code_mode_mcp::upstream::MAX_CALLS;
use code_mode_mcp::upstream::list::MAX_PAGES;
use code_mode_mcp::{DEFAULT_OUTPUT_BYTES, MAX_CLIENT_MESSAGE_BYTES, MAX_OUTPUT_BYTES};
use pretty_assertions::assert_eq;
use rmcp::model::CallToolRequestParams;
use serde_json::json;

use crate::support::{Fixture, Heard, text};

/// Calls a server's tool, then another server's.
fn then_another(call: &str) -> String {
    format!(
        "try {{ text(await {call}) }} catch (e) {{ text(e.message) }}\ntext(await tools.chart__both({{}}).then((blocks) => blocks[0].text));"
    )
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_where_it_is_needed() {
    let fixture = Fixture::new(&["broken", "chart"]).await;
    let described = fixture.tools().await[0].description.clone().unwrap();
    assert!(described.contains("Not available: broken ("), "{described}");
    assert!(described.contains("chart__draw"));
    let told = fixture
        .text(&then_another("tools.broken__anything({})"))
        .await;
    assert!(
        told.starts_with("the MCP server broken is not available: "),
        "{told}"
    );
    assert!(told.contains("exit status: 7"), "{told}");
    assert!(
        told.contains("its last words: cannot find my configuration with [secret]"),
        "{told}"
    );
    assert!(told.ends_with("\na chart"), "{told}");
    let found = text(&fixture.call("search", json!({"query": "draw"})).await);
    assert!(
        found.contains("chart__draw") && found.contains("Not available: broken"),
        "{found}"
    );
}

#[tokio::test]
async fn a_server_that_never_greets_is_given_up() {
    let fixture = Fixture::new(&["never", "chart"]).await;
    let told = fixture.text(&then_another("tools.never__go({})")).await;
    assert!(told.contains("it has not greeted within 0.5 s"), "{told}");
    assert!(told.ends_with("\na chart"), "{told}");
}

#[tokio::test]
async fn a_call_that_hangs_ends_at_its_deadline() {
    let fixture = Fixture::new(&["hang", "chart"]).await;
    let told = fixture.text(&then_another("tools.hang__go({})")).await;
    assert_eq!(
        told,
        "the MCP server hang has not answered within 0.3 s\na chart"
    );
}

#[tokio::test]
async fn a_server_that_floods_is_cut_off() {
    let fixture = Fixture::new(&["flood", "chart"]).await;
    let told = fixture.text(&then_another("tools.flood__go({})")).await;
    assert!(
        told.starts_with("the MCP server flood was lost during the call"),
        "{told}"
    );
    assert!(told.ends_with("\na chart"), "{told}");
}

#[tokio::test]
async fn a_server_that_dies_in_a_call_is_started_again() {
    let fixture = Fixture::new(&["dies", "chart"]).await;
    for _ in 0..2 {
        let told = fixture.text(&then_another("tools.dies__go({})")).await;
        assert!(
            told.starts_with("the MCP server dies was lost during the call"),
            "{told}"
        );
        assert!(told.ends_with("\na chart"), "{told}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_fails_its_call_and_the_server_stays() {
    let fixture = Fixture::new(&["large"]).await;
    let script = "try { await tools.large__go({}) } catch (e) { text(e.message) }\n\
        text((await tools.large__go({ bytes: 1000000 })).length);";
    let told = fixture.text(script).await;
    assert!(told.starts_with("the server's answer of 419"), "{told}");
    assert!(
        told.contains("is larger than the 16777216 that are taken\n1000000"),
        "{told}"
    );
}

#[tokio::test]
async fn invalid_schemas_cost_no_tool_that_has_a_name() {
    let fixture = Fixture::new(&["invalid"]).await;
    let described = fixture.tools().await[0].description.clone().unwrap();
    for name in ["good", "text", "loop", "wrong"] {
        assert!(
            described.contains(&format!("invalid__{name}(input")),
            "{name}: {described}"
        );
    }
    assert_eq!(
        fixture.text("text(await tools.invalid__loop({}))").await,
        "called \"loop\""
    );
}

#[tokio::test]
async fn two_thousand_tools_are_counted_found_and_called() {
    let fixture = Fixture::new(&["many"]).await;
    let tools = fixture.tools().await;
    let described = tools[0].description.clone().unwrap();
    assert!(
        described.contains("2000 tools; look them up"),
        "{described}"
    );
    let bytes = serde_json::to_vec(&tools).unwrap().len();
    assert!(bytes < 8_000, "{bytes} bytes of tools/list");
    let found = text(
        &fixture
            .call("search", json!({"query": "thing number 1234"}))
            .await,
    );
    assert!(found.contains("many__tool_1234(input: {"), "{found}");
    assert_eq!(
        fixture
            .text("text(await tools.many__tool_1234({ path: 'x' }))")
            .await,
        "called \"tool_1234\""
    );
}

#[tokio::test]
async fn lists_that_do_not_end_are_cut_off() {
    let mut fixture = Fixture::new(&["endless", "chart"]).await;
    loop {
        let listed = text(&fixture.call("search", json!({})).await);
        if listed.contains(&format!("endless: {MAX_PAGES} tools")) {
            break;
        }
        // On a busy machine the thousand pages take longer than a list waits.
        assert!(listed.contains("Still starting: endless."), "{listed}");
        while fixture.event().await != Heard::ToolsChanged {}
    }
    let script = "text((await resources.list('endless')).length); text((await prompts.list('endless')).length);
        text((await tools.chart__both({}))[0].text);";
    // Each page of prompts holds one, and those of resources hold so many that there is an end before the last.
    let expected = format!("{MAX_LISTED}\n{}\na chart", own::MAX_PAGES);
    assert_eq!(fixture.text(script).await, expected);
}

#[tokio::test]
async fn no_more_calls_come_to_a_server_at_one_time_than_it_may_have() {
    let fixture = Fixture::new(&["crowd"]).await;
    // The second half of the calls reaches the server only after the first was answered.
    let length = 2 * MAX_CALLS;
    let script = format!(
        "const all = await Promise.all(Array.from({{ length: {length} }}, () => tools.crowd__go({{}})));
        text(all.every((crowd) => crowd === {MAX_CALLS}));"
    );
    assert_eq!(fixture.text(&script).await, "true");
}

#[tokio::test]
async fn a_request_that_is_too_large_is_answered_and_the_client_stays() {
    let fixture = Fixture::new(&[]).await;
    let mut params = CallToolRequestParams::new("exec");
    let code = "x".repeat(MAX_CLIENT_MESSAGE_BYTES);
    params.arguments = json!({"code": code}).as_object().cloned();
    let refused = fixture.client.call_tool(params).await.unwrap_err();
    assert!(
        refused.to_string().contains("is larger than the 4194304"),
        "{refused}"
    );
    assert_eq!(fixture.text("text(1)").await, "1");
}

#[tokio::test]
async fn a_result_holds_no_more_text_than_was_asked_for_or_may_be() {
    let fixture = Fixture::new(&[]).await;
    let code = "text('x'.repeat(1_200_000))";
    for (asked, expected) in [
        (json!(null), DEFAULT_OUTPUT_BYTES),
        (json!(10), 10),
        (json!(100_000_000), MAX_OUTPUT_BYTES),
    ] {
        let arguments = json!({"code": code, "yield_time_ms": 60_000, "max_output_bytes": asked});
        let told = text(&fixture.call("exec", arguments).await);
        // The end of the line counts as well.
        let shown = told.matches('x').count() + 1;
        assert_eq!(shown, expected, "of {asked}");
        assert!(told.contains("of 1200001 bytes were cut here"));
    }
}
