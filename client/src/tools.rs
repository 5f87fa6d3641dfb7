// SPDX-License-Identifier: Apache-2.0
//! The tools of a session's last execute, encoded once if they are offered again.

use std::sync::{Arc, Mutex, PoisonError};

use code_mode_api::{SessionError, ToolDefinition};
use code_mode_protocol::EncodedTools;

use crate::messages;

/// Remembers one list of tools, by identity: an agent that offers the same `Arc` again does not pay
/// for its encoding again.
#[derive(Default)]
pub(crate) struct LastTools(Mutex<Option<Last>>);

struct Last {
    /// Kept, so that no other list can come to lie at its address.
    tools: Arc<[ToolDefinition]>,
    /// Made when the tools are offered for the second time; many lists are offered once.
    encoded: Option<EncodedTools>,
}

impl LastTools {
    /// The encoding of these tools, if they are offered again.
    ///
    /// # Errors
    /// When they cannot be encoded.
    pub(crate) fn encoded(
        &self,
        tools: &Arc<[ToolDefinition]>,
    ) -> Result<Option<EncodedTools>, SessionError> {
        if tools.is_empty() {
            return Ok(None);
        }
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(again) = last.as_mut().filter(|last| Arc::ptr_eq(&last.tools, tools)) else {
            *last = Some(Last {
                tools: Arc::clone(tools),
                encoded: None,
            });
            return Ok(None);
        };
        if let Some(encoded) = &again.encoded {
            return Ok(Some(encoded.clone()));
        }
        let encoded =
            EncodedTools::new(Arc::clone(tools)).map_err(|error| messages::refused(&error))?;
        Ok(Some(again.encoded.insert(encoded).clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use code_mode_api::{ToolKind, ToolName};

    fn tools(name: &str) -> Arc<[ToolDefinition]> {
        Arc::from([ToolDefinition {
            name: name.to_owned(),
            tool_name: ToolName {
                name: name.to_owned(),
                namespace: None,
            },
            description: String::new(),
            kind: ToolKind::Function,
            input_schema: None,
            output_schema: None,
        }])
    }

    #[test]
    fn tools_are_encoded_when_they_are_offered_again_and_never_mixed_up() {
        let last = LastTools::default();
        let (one, other) = (tools("one"), tools("other"));
        for (tools, encoded) in [
            (&one, false),
            (&one, true),
            (&one, true),
            (&other, false),
            (&one, false),
            (&Arc::default(), false),
            (&one, true),
        ] {
            assert_eq!(last.encoded(tools).unwrap().is_some(), encoded);
        }
    }
}
