// SPDX-License-Identifier: Apache-2.0
//! The tools of an execute, which a client sends again and again.

use std::sync::Arc;

use code_mode_api::ToolDefinition;
use serde_json::value::RawValue;

use crate::EncodeError;
use crate::wire::WireList;

/// A list of tools with its encoding, made once.
///
/// An agent offers the same tools to one script after the other. Encoding a hundred of them takes
/// longer than all the rest of the request, so a client may keep this; clones share the encoding.
#[derive(Debug, Clone)]
pub struct EncodedTools {
    /// Kept, so that no other list can come to lie at its address.
    definitions: Arc<[ToolDefinition]>,
    json: Arc<RawValue>,
}

impl EncodedTools {
    /// Encodes these tools.
    ///
    /// # Errors
    /// When they cannot be written as JSON, which tools that came from JSON always can.
    pub fn new(definitions: Arc<[ToolDefinition]>) -> Result<Self, EncodeError> {
        let json =
            serde_json::value::to_raw_value(&WireList(&definitions)).map_err(EncodeError::Json)?;
        Ok(Self {
            definitions,
            json: json.into(),
        })
    }

    /// The encoding, if it is that of this very list.
    pub(crate) fn of(&self, definitions: &Arc<[ToolDefinition]>) -> Option<&RawValue> {
        Arc::ptr_eq(&self.definitions, definitions).then_some(&*self.json)
    }
}

#[cfg(test)]
mod tests {
    use code_mode_api::{ExecuteRequest, SessionId};

    use super::*;
    use crate::wire::Wire;
    use crate::{AgreedCapabilities, ClientMessage, EncodedFrame, OperationRequest, RequestId};

    const TOOLS: &str = r#"[{"name":"a \"b\"","tool_name":{"name":"a","namespace":null},"description":"ü","kind":"freeform","input_schema":{"type": "object"},"output_schema":null}]"#;

    fn tools() -> Arc<[ToolDefinition]> {
        let tools: Wire<Vec<ToolDefinition>> = serde_json::from_str(TOOLS).unwrap();
        tools.0.into()
    }

    fn execute(
        encoded_tools: Option<EncodedTools>,
        tools: &Arc<[ToolDefinition]>,
    ) -> ClientMessage {
        let mut request = ExecuteRequest::new("1");
        request.tools = Arc::clone(tools);
        ClientMessage::OperationRequest {
            id: RequestId::new(1),
            request: OperationRequest::Execute {
                session_id: SessionId::new("s").unwrap(),
                request,
                encoded_tools,
            },
        }
    }

    #[test]
    fn encoded_tools_are_the_same_on_the_wire() {
        let tools = tools();
        let encoded = EncodedTools::new(Arc::clone(&tools)).unwrap();
        assert_eq!(encoded.json.get(), TOOLS);
        let frame = |message: &ClientMessage| {
            EncodedFrame::encode(message, &AgreedCapabilities::none()).unwrap()
        };
        let plain = execute(None, &tools);
        let with = execute(Some(encoded.clone()), &tools);
        assert_eq!(frame(&with), frame(&plain));
        assert!(plain.least_bytes() <= with.least_bytes());
        assert_eq!(with.least_bytes(), TOOLS.len() + 1);
    }

    #[test]
    fn the_encoding_of_another_list_is_not_used() {
        let encoded = EncodedTools::new(tools()).unwrap();
        let message = execute(Some(encoded), &Arc::default());
        let frame = EncodedFrame::encode(&message, &AgreedCapabilities::none()).unwrap();
        let payload = std::str::from_utf8(frame.payload()).unwrap();
        assert!(payload.contains(r#""enabled_tools":[]"#), "{payload}");
    }
}
