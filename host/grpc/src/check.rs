// SPDX-License-Identifier: Apache-2.0
//! What a request must have before anything is asked of a session.

use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{ExecuteRequest, RawJson, ToolDefinition, ToolKind, ToolName};
use code_mode_grpc::prost::bytes::Bytes;
use code_mode_grpc::tonic::Status;
use code_mode_grpc::v1;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::limits::MAX_ID_BYTES;

/// Checks an id that the client chooses. `what` names it, as in "wait ID".
pub(crate) fn id(what: &str, id: &str) -> Result<(), Status> {
    if id.is_empty() {
        return Err(Status::invalid_argument(format!(
            "code-mode {what} must not be empty"
        )));
    }
    if id.len() > MAX_ID_BYTES {
        return Err(Status::invalid_argument(format!(
            "code-mode {what} has {} bytes; the most is {MAX_ID_BYTES}",
            id.len()
        )));
    }
    Ok(())
}

/// Checks an id that the host made.
pub(crate) fn uuid(what: &str, text: &str) -> Result<(), Status> {
    id(what, text)?;
    match Uuid::try_parse(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(Status::invalid_argument(format!(
            "code-mode {what} must be a UUID"
        ))),
    }
}

/// Reads JSON text. `what` names it, as in "tool input schema".
pub(crate) fn json(what: &str, bytes: &Bytes) -> Result<RawJson, Status> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Status::invalid_argument(format!("invalid {what}: {error}")))?;
    serde_json::from_str::<&RawValue>(text)
        .map(ToOwned::to_owned)
        .map_err(|error| Status::invalid_argument(format!("invalid {what}: {error}")))
}

/// Reads a tool's own name.
pub(crate) fn tool_name(name: v1::ToolName) -> Result<ToolName, Status> {
    id("tool name", &name.name)?;
    if let Some(namespace) = name.namespace.as_deref().filter(|name| !name.is_empty()) {
        id("tool namespace", namespace)?;
    }
    Ok(ToolName {
        name: name.name,
        namespace: name.namespace,
    })
}

/// Reads what an execute asks for. The limits of its session come later.
pub(crate) fn execute(request: v1::ExecuteRequest) -> Result<ExecuteRequest, Status> {
    let tools = request
        .enabled_tools
        .into_iter()
        .map(tool)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(ExecuteRequest {
        exec_call_id: request.tool_call_id,
        tools: Arc::from(tools),
        yield_time: request.yield_time_ms.map(Duration::from_millis),
        max_output_tokens: request.max_output_tokens.map(tokens),
        ..ExecuteRequest::new(request.source)
    })
}

/// A number of tokens as the sessions know it: they tell no larger ones apart.
pub(crate) fn tokens(tokens: u64) -> u32 {
    const MOST: u32 = i32::MAX as u32;
    u32::try_from(tokens).map_or(MOST, |tokens| tokens.min(MOST))
}

fn tool(tool: v1::ToolDefinition) -> Result<ToolDefinition, Status> {
    let kind = match v1::ToolKind::try_from(tool.kind) {
        Ok(v1::ToolKind::Function) => ToolKind::Function,
        Ok(v1::ToolKind::Freeform) => ToolKind::Freeform,
        Ok(v1::ToolKind::Unspecified) | Err(_) => {
            return Err(Status::invalid_argument(
                "tool definition has an invalid kind",
            ));
        }
    };
    id("tool definition name", &tool.name)?;
    let name = tool
        .tool_name
        .ok_or_else(|| Status::invalid_argument("tool definition is missing its tool name"))?;
    let schema =
        |what: &str, schema: Option<Bytes>| schema.map(|schema| json(what, &schema)).transpose();
    Ok(ToolDefinition {
        name: tool.name,
        tool_name: tool_name(name)?,
        description: tool.description,
        kind,
        input_schema: schema("tool input schema", tool.input_schema_json)?,
        output_schema: schema("tool output schema", tool.output_schema_json)?,
    })
}

/// Whether a text is a W3C `traceparent` of version 00 that names a trace.
pub(crate) fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str, len: usize| {
        part.len() == len
            && part
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let named = |part: &str| part.bytes().any(|byte| byte != b'0');
    let parts: Vec<&str> = text.splitn(5, '-').collect();
    matches!(parts.as_slice(), ["00", trace, span, flags]
        if hex(trace, 32) && hex(span, 16) && hex(flags, 2) && named(trace) && named(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_some_text_within_its_bound() {
        assert!(id("wait ID", "w").is_ok());
        let empty = id("wait ID", "").expect_err("is empty");
        assert_eq!(empty.message(), "code-mode wait ID must not be empty");
        assert!(id("wait ID", &"w".repeat(MAX_ID_BYTES)).is_ok());
        assert!(id("wait ID", &"w".repeat(MAX_ID_BYTES + 1)).is_err());
    }

    #[test]
    fn a_traceparent_is_taken_only_in_its_one_form() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(good));
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert!(!is_traceparent(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_number_of_tokens_that_is_too_large_is_the_largest() {
        assert_eq!(tokens(7), 7);
        assert_eq!(tokens(u64::MAX), 2_147_483_647);
    }
}
