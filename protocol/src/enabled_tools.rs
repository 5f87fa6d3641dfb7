//! The tools of an execute, which a client sends again and again.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{EncodeError, ToolDefinition};

/// The tools that a script may call.
///
/// An agent offers the same tools to one script after the other. Encoding a hundred of them takes
/// longer than all the rest of the request, so a client may keep them [encoded](Self::encoded);
/// clones share the encoding.
#[derive(Debug, Clone)]
pub struct EnabledTools(Form);

#[derive(Debug, Clone)]
enum Form {
    Definitions(Vec<ToolDefinition>),
    Encoded {
        definitions: Arc<[ToolDefinition]>,
        json: Arc<RawValue>,
    },
}

impl EnabledTools {
    /// Tools that are encoded once, here.
    ///
    /// # Errors
    /// When they cannot be written as JSON, which tools that came from JSON always can.
    pub fn encoded(definitions: Vec<ToolDefinition>) -> Result<Self, EncodeError> {
        let json = serde_json::value::to_raw_value(&definitions).map_err(EncodeError::Json)?;
        Ok(Self(Form::Encoded {
            definitions: definitions.into(),
            json: json.into(),
        }))
    }

    /// The definitions; without a copy when these came from the wire.
    pub fn into_definitions(self) -> Vec<ToolDefinition> {
        match self.0 {
            Form::Definitions(definitions) => definitions,
            Form::Encoded { definitions, .. } => definitions.to_vec(),
        }
    }

    /// Bytes that the tools take at least once they are encoded.
    pub(crate) fn least_bytes(&self) -> usize {
        match &self.0 {
            Form::Definitions(definitions) => definitions
                .iter()
                .map(ToolDefinition::least_bytes)
                .fold(0, usize::saturating_add),
            Form::Encoded { json, .. } => json.get().len(),
        }
    }
}

impl From<Vec<ToolDefinition>> for EnabledTools {
    fn from(definitions: Vec<ToolDefinition>) -> Self {
        Self(Form::Definitions(definitions))
    }
}

impl Serialize for EnabledTools {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Form::Definitions(definitions) => definitions.serialize(serializer),
            Form::Encoded { json, .. } => json.as_ref().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for EnabledTools {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOLS: &str = r#"[{"name":"a \"b\"","tool_name":{"name":"a","namespace":null},"description":"ü","kind":"freeform","input_schema":{"type": "object"},"output_schema":null}]"#;

    #[test]
    fn encoded_tools_are_the_same_on_the_wire_and_off_it() {
        let plain: EnabledTools = serde_json::from_str(TOOLS).unwrap();
        let encoded = EnabledTools::encoded(plain.clone().into_definitions()).unwrap();
        for tools in [&plain, &encoded, &encoded.clone()] {
            assert_eq!(serde_json::to_string(tools).unwrap(), TOOLS);
            let definitions = tools.clone().into_definitions();
            assert_eq!(serde_json::to_string(&definitions).unwrap(), TOOLS);
            assert!(tools.least_bytes() <= TOOLS.len());
        }
        assert_eq!(encoded.least_bytes(), TOOLS.len());
    }
}
