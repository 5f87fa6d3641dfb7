//! The tools of a session's last execute, encoded once if they are offered again.

use std::sync::{Arc, Mutex, PoisonError};

use code_mode_api::{SessionError, ToolDefinition};
use code_mode_protocol::EnabledTools;

use crate::convert;

/// Remembers one list of tools, by identity: an agent that offers the same `Arc` again does not pay
/// for its encoding again.
#[derive(Default)]
pub(crate) struct LastTools(Mutex<Option<Last>>);

struct Last {
    /// Kept, so that no other list can come to lie at its address.
    tools: Arc<[ToolDefinition]>,
    /// Made when the tools are offered for the second time; many lists are offered once.
    encoded: Option<EnabledTools>,
}

impl LastTools {
    /// The wire's form of these tools.
    ///
    /// # Errors
    /// When they cannot be encoded.
    pub(crate) fn enabled(
        &self,
        tools: &Arc<[ToolDefinition]>,
    ) -> Result<EnabledTools, SessionError> {
        if tools.is_empty() {
            return Ok(Vec::new().into());
        }
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(again) = last.as_mut().filter(|last| Arc::ptr_eq(&last.tools, tools)) else {
            *last = Some(Last {
                tools: Arc::clone(tools),
                encoded: None,
            });
            drop(last);
            return Ok(convert::tool_definitions(tools).into());
        };
        if let Some(encoded) = &again.encoded {
            return Ok(encoded.clone());
        }
        let encoded = EnabledTools::encoded(convert::tool_definitions(tools))
            .map_err(|error| convert::refused(&error))?;
        Ok(again.encoded.insert(encoded).clone())
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

    fn name(tools: EnabledTools) -> String {
        let definitions = tools.into_definitions();
        definitions.into_iter().map(|tool| tool.name).collect()
    }

    #[test]
    fn tools_are_encoded_when_they_are_offered_again_and_never_mixed_up() {
        let last = LastTools::default();
        let (one, other) = (tools("one"), tools("other"));
        let is_encoded = || {
            let last = last.0.lock().unwrap();
            last.as_ref().is_some_and(|last| last.encoded.is_some())
        };
        for (tools, expected, encoded) in [
            (&one, "one", false),
            (&one, "one", true),
            (&one, "one", true),
            (&other, "other", false),
            (&one, "one", false),
            (&Arc::default(), "", false),
            (&one, "one", true),
        ] {
            assert_eq!(name(last.enabled(tools).unwrap()), expected);
            assert_eq!(is_encoded(), encoded, "{expected}");
        }
    }
}
