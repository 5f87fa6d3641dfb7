// SPDX-License-Identifier: Apache-2.0
//! What a script gets for the answer of an MCP server.

use code_mode_api::RawJson;
use rmcp::model::{CallToolResult, ServerResult};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

/// The value of a call's answer: `structuredContent` if there is some; else, of one text, the JSON that
/// it holds or the text itself; else the one block, or all of them. Blocks are what `image`, `audio` and
/// `content` take.
///
/// # Errors
/// With the text of the answer when it says that the tool failed.
pub fn of_answer(answer: ServerResult) -> Result<RawJson, String> {
    match answer {
        ServerResult::CallToolResult(result) => of_result(&result),
        // The SDK does not recognise a result with a block of a kind that it does not know.
        ServerResult::CustomResult(result) => of_value(&result.0),
        ServerResult::EmptyResult(_) => Ok(null()),
        ServerResult::InputRequiredResult(_) => {
            Err("the tool asks the user for input, which scripts cannot give".to_owned())
        }
        ServerResult::CreateTaskResult(_) => {
            Err("the tool started a task of its own, which scripts cannot follow".to_owned())
        }
        _ => Err("the server's answer is no result of a tool".to_owned()),
    }
}

fn of_result(result: &CallToolResult) -> Result<RawJson, String> {
    let blocks: Vec<Value> = result
        .content
        .iter()
        .filter_map(|block| serde_json::to_value(block).ok())
        .collect();
    let failed = result.is_error == Some(true);
    of_parts(failed, result.structured_content.as_ref(), &blocks)
}

fn of_value(result: &Value) -> Result<RawJson, String> {
    let Some(blocks) = result.get("content").and_then(Value::as_array) else {
        return Err("the server's answer is no result of a tool".to_owned());
    };
    let failed = result.get("isError") == Some(&Value::Bool(true));
    of_parts(failed, result.get("structuredContent"), blocks)
}

fn of_parts(failed: bool, structured: Option<&Value>, blocks: &[Value]) -> Result<RawJson, String> {
    if failed {
        let texts: Vec<&str> = blocks.iter().filter_map(text).collect();
        return Err(match (texts.is_empty(), structured) {
            (false, _) => texts.join("\n"),
            (true, Some(structured)) => structured.to_string(),
            (true, None) => String::new(),
        });
    }
    if let Some(structured) = structured {
        return raw(structured);
    }
    match blocks {
        [] => Ok(null()),
        [block] => match text(block) {
            Some(text) => Ok(of_text(text)),
            None => raw(block),
        },
        blocks => raw(&blocks),
    }
}

fn text(block: &Value) -> Option<&str> {
    let kind = block.get("type").and_then(Value::as_str);
    block
        .get("text")
        .and_then(Value::as_str)
        .filter(|_| kind == Some("text"))
}

/// Without a detour over numbers of ours, so that no digit of an id is lost.
fn of_text(text: &str) -> RawJson {
    match RawValue::from_string(text.trim().to_owned()) {
        Ok(json) => json,
        // A text is always well-formed JSON.
        Err(_) => to_raw_value(text).unwrap_or_else(|_| null()),
    }
}

fn raw(value: &impl serde::Serialize) -> Result<RawJson, String> {
    to_raw_value(value).map_err(|error| format!("the server's answer cannot be taken: {error}"))
}

fn null() -> RawJson {
    RawValue::NULL.to_owned()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(answer: Value, expected: Result<&str, &str>) {
        let answer: ServerResult = serde_json::from_value(answer).unwrap();
        let value = of_answer(answer);
        let value = value
            .as_ref()
            .map(|json| json.get())
            .map_err(String::as_str);
        assert_eq!(value, expected);
    }

    #[test]
    fn structured_content_goes_first() {
        check(
            json!({"content": [{"type": "text", "text": "x"}], "structuredContent": {"a": 1}}),
            Ok(r#"{"a":1}"#),
        );
        check(
            json!({"content": [], "structuredContent": null}),
            Ok("null"),
        );
    }

    #[test]
    fn one_text_is_the_json_that_it_holds_or_itself() {
        let text = |text: &str| json!({"content": [{"type": "text", "text": text}]});
        check(text(" {\"a\": [1]}\n"), Ok("{\"a\": [1]}"));
        check(
            text("12345678901234567890123"),
            Ok("12345678901234567890123"),
        );
        check(text("plain"), Ok("\"plain\""));
        check(text(""), Ok("\"\""));
    }

    #[test]
    fn blocks_stay_what_the_helpers_take() {
        let image = json!({"type": "image", "data": "AA==", "mimeType": "image/png"});
        check(
            json!({"content": [image]}),
            Ok(r#"{"data":"AA==","mimeType":"image/png","type":"image"}"#),
        );
        check(
            json!({"content": [{"type": "text", "text": "a"}, image]}),
            Ok(
                r#"[{"text":"a","type":"text"},{"data":"AA==","mimeType":"image/png","type":"image"}]"#,
            ),
        );
        // A kind that nobody knows yet.
        check(
            json!({"content": [{"type": "video", "data": 1}]}),
            Ok(r#"{"data":1,"type":"video"}"#),
        );
        check(json!({"content": []}), Ok("null"));
    }

    #[test]
    fn an_error_rejects_with_its_text() {
        check(
            json!({"isError": true, "content": [{"type": "text", "text": "no"}, {"type": "text", "text": "way"}]}),
            Err("no\nway"),
        );
        check(
            json!({"isError": true, "content": [], "structuredContent": {"code": 7}}),
            Err(r#"{"code":7}"#),
        );
        check(
            json!({"isError": true, "content": [{"type": "odd"}]}),
            Err(""),
        );
    }

    #[test]
    fn what_is_no_result_is_an_error() {
        check(
            json!([1]),
            Err("the server's answer is no result of a tool"),
        );
        check(
            json!({"content": 7}),
            Err("the server's answer is no result of a tool"),
        );
    }
}
