// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::*;

#[derive(serde::Deserialize, JsonSchema)]
struct Search {
    /// What to look for.
    #[allow(dead_code, reason = "only its schema is looked at")]
    query: String,
    limit: Option<u32>,
}

#[derive(serde::Deserialize, JsonSchema)]
struct Options {
    limit: Option<u32>,
}

fn raw(value: Value) -> RawJson {
    RawValue::from_string(value.to_string()).unwrap()
}

fn context() -> CallContext {
    CallContext {
        session_id: SessionId::new("s").unwrap(),
        cell_id: CellId::new("1"),
        exec_call_id: "exec".into(),
        call_id: "tool-1".into(),
        cancelled: CancellationSignal::new(),
    }
}

async fn call(tool: &Tool, input: Value) -> Result<String, String> {
    let answer = (tool.run)(raw(input), context()).await;
    answer
        .map(|json| json.get().to_owned())
        .map_err(|error| error.message)
}

fn parsed(schema: &Option<RawJson>) -> Value {
    serde_json::from_str(schema.as_ref().expect("a schema").get()).unwrap()
}

#[test]
fn the_schemas_come_from_the_types() {
    let tool = Tool::new("search", "Searches.", |input: Search| async move {
        Ok::<_, String>(vec![input.limit])
    });
    let input = parsed(&tool.definition().input_schema);
    assert_eq!(input["required"], json!(["query"]));
    assert_eq!(
        input["properties"]["query"],
        json!({"type": "string", "description": "What to look for."})
    );
    let output = parsed(&tool.definition().output_schema);
    assert_eq!(output["type"], "array");
}

#[test]
fn a_type_that_allows_everything_has_no_schema() {
    let tool = Tool::new(
        "any",
        "",
        |input: Value| async move { Ok::<_, String>(input) },
    );
    assert!(tool.definition().input_schema.is_none());
    assert!(tool.definition().output_schema.is_none());
}

#[tokio::test]
async fn an_input_that_does_not_fit_rejects_the_call_with_the_reason() {
    let tool = Tool::new("search", "", |input: Search| async move {
        Ok::<_, String>(input.limit)
    });
    assert_eq!(
        call(&tool, json!({"query": "x", "limit": 3}))
            .await
            .unwrap(),
        "3"
    );
    assert_eq!(
        call(&tool, json!({"limit": 3})).await.unwrap_err(),
        "Failed to read the input: missing field `query` at line 1 column 11"
    );
}

#[tokio::test]
async fn a_call_without_input_reaches_a_tool_whose_members_are_all_optional() {
    let tool = Tool::new("list", "", |input: Options| async move {
        Ok::<_, String>(input.limit)
    });
    assert_eq!(call(&tool, Value::Null).await.unwrap(), "null");
    let unit = Tool::new("unit", "", |()| async { Ok::<_, String>("done") });
    assert_eq!(call(&unit, Value::Null).await.unwrap(), "\"done\"");
}

#[tokio::test]
async fn an_error_is_told_with_its_causes_where_its_alternate_form_shows_them() {
    struct Chain;
    impl Display for Chain {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(if f.alternate() {
                "outer: inner"
            } else {
                "outer"
            })
        }
    }
    let tool = Tool::new("fail", "", |()| async { Err::<(), _>(Chain) });
    assert_eq!(call(&tool, Value::Null).await.unwrap_err(), "outer: inner");
}

#[test]
fn a_namespace_shows_in_the_name_and_stays_apart_in_the_tool_name() {
    let tool = Tool::new("read", "", |()| async { Ok::<_, String>(()) }).in_namespace("files");
    assert_eq!(tool.definition().name, "files__read");
    assert_eq!(
        tool.definition().tool_name,
        ToolName {
            name: "read".to_owned(),
            namespace: Some("files".to_owned())
        }
    );
}

#[test]
fn a_grace_is_bounded() {
    let tool = Tool::new("read", "", |()| async { Ok::<_, String>(()) });
    let tool = tool.cancel_grace(Duration::MAX);
    assert_eq!(tool.cancel_grace, MAX_CANCEL_GRACE);
}
