//! What cells put out: content items, responses and timings.
//!
//! Shapes from the wire contract, section *Host to client*; timings from its *Tolerated* fields.

use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Deserialize, Serialize, Serializer};

use crate::CellId;
use crate::object::{ShapeError, required, wire_object, wire_strings};

wire_strings! {
    /// How closely a model should look at an image.
    pub enum ImageDetail ("an image detail: auto, low, high or original") {
        /// The model chooses.
        Auto = "auto",
        /// A coarse look.
        Low = "low",
        /// A close look.
        High = "high",
        /// The image as it is.
        Original = "original",
    }
}

/// One piece of a cell's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[serde(try_from = "ContentFields")]
pub enum ContentItem {
    /// Text.
    InputText {
        /// The text.
        text: String,
    },
    /// An image.
    InputImage {
        /// The image's address, a `data:` URI from our host.
        image_url: String,
        /// How closely to look at it; left out on the wire when there is none.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<ImageDetail>,
    },
    /// Sound.
    InputAudio {
        /// The sound's address, a `data:` URI from our host.
        audio_url: String,
    },
}

wire_strings! {
    enum ContentTag ("a content item's type") {
        Text = "input_text",
        Image = "input_image",
        Audio = "input_audio",
    }
}

wire_object! {
    ContentFields ("a content item") {
        tag: ContentTag = "type",
        text: String = "text",
        image_url: String = "image_url",
        detail: ImageDetail = "detail",
        audio_url: String = "audio_url",
    }
}

impl TryFrom<ContentFields> for ContentItem {
    type Error = ShapeError;

    fn try_from(fields: ContentFields) -> Result<Self, ShapeError> {
        let tag = required(fields.tag, "type", "a content item")?;
        let owner = tag.as_str();
        match tag {
            ContentTag::Text => {
                fields.refuse_others(owner, &["type", "text"])?;
                Ok(Self::InputText {
                    text: required(fields.text, "text", owner)?,
                })
            }
            ContentTag::Image => {
                fields.refuse_others(owner, &["type", "image_url", "detail"])?;
                Ok(Self::InputImage {
                    image_url: required(fields.image_url, "image_url", owner)?,
                    detail: fields.detail,
                })
            }
            ContentTag::Audio => {
                fields.refuse_others(owner, &["type", "audio_url"])?;
                Ok(Self::InputAudio {
                    audio_url: required(fields.audio_url, "audio_url", owner)?,
                })
            }
        }
    }
}

/// What a host measured about a response; both are left out when there is none.
///
/// These are the contract's *Tolerated* fields: accepted from any host, sent only by one that was
/// told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// How long the host worked on the cell, in nanoseconds.
    pub code_mode_host_duration_ns: Option<u64>,
    /// How long a finished result waited for its observer, in nanoseconds.
    pub result_buffered_for_ns: Option<u64>,
}

/// The part that every response of a cell has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellOutput {
    /// The cell.
    pub cell_id: CellId,
    /// The output since the last response.
    pub content_items: Vec<ContentItem>,
    /// What the host measured.
    pub timings: Timings,
}

/// What an observer of a cell gets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ResponseFields")]
pub enum CellResponse {
    /// The cell has ended.
    Result {
        /// The cell and its output.
        output: CellOutput,
        /// Why the script failed; null when it did not.
        error_text: Option<String>,
    },
    /// The cell runs on.
    Yielded(CellOutput),
    /// The cell was terminated on request.
    Terminated(CellOutput),
}

impl CellResponse {
    /// The part that every response has.
    pub fn output(&self) -> &CellOutput {
        match self {
            Self::Result { output, .. } | Self::Yielded(output) | Self::Terminated(output) => {
                output
            }
        }
    }

    /// The part that every response has.
    pub fn output_mut(&mut self) -> &mut CellOutput {
        match self {
            Self::Result { output, .. } | Self::Yielded(output) | Self::Terminated(output) => {
                output
            }
        }
    }

    /// Bytes that the response takes at least once it is encoded.
    pub(crate) fn least_bytes(&self) -> usize {
        let error_bytes = match self {
            Self::Result {
                error_text: Some(text),
                ..
            } => text.len(),
            _ => 0,
        };
        let items = &self.output().content_items;
        items.iter().fold(error_bytes, |bytes, item| {
            bytes.saturating_add(match item {
                ContentItem::InputText { text } => text.len(),
                ContentItem::InputImage { image_url, .. } => image_url.len(),
                ContentItem::InputAudio { audio_url } => audio_url.len(),
            })
        })
    }
}

impl Serialize for CellResponse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, error_text) = match self {
            Self::Result { error_text, .. } => ("Result", Some(error_text)),
            Self::Yielded(_) => ("Yielded", None),
            Self::Terminated(_) => ("Terminated", None),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(
            name,
            &OutputBody {
                output: self.output(),
                error_text,
            },
        )?;
        map.end()
    }
}

/// A response's inner object; `error_text` is there, null or not, for a `Result` only.
struct OutputBody<'a> {
    output: &'a CellOutput,
    error_text: Option<&'a Option<String>>,
}

impl Serialize for OutputBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let CellOutput {
            cell_id,
            content_items,
            timings,
        } = self.output;
        // JSON objects need no length in advance, so the count is only nominal.
        let mut body = serializer.serialize_struct("CellOutput", 5)?;
        body.serialize_field("cell_id", cell_id)?;
        body.serialize_field("content_items", content_items)?;
        if let Some(error_text) = self.error_text {
            body.serialize_field("error_text", error_text)?;
        }
        if let Some(duration) = timings.code_mode_host_duration_ns {
            body.serialize_field("code_mode_host_duration_ns", &duration)?;
        }
        if let Some(duration) = timings.result_buffered_for_ns {
            body.serialize_field("result_buffered_for_ns", &duration)?;
        }
        body.end()
    }
}

wire_object! {
    OutputFields ("a cell's response") {
        cell_id: CellId = "cell_id",
        content_items: Vec<ContentItem> = "content_items",
        error_text: Option<String> = "error_text",
        host_duration: Option<u64> = "code_mode_host_duration_ns",
        buffered_for: Option<u64> = "result_buffered_for_ns",
    }
}

impl OutputFields {
    fn into_output(self, owner: &str) -> Result<CellOutput, ShapeError> {
        Ok(CellOutput {
            cell_id: required(self.cell_id, "cell_id", owner)?,
            content_items: required(self.content_items, "content_items", owner)?,
            timings: Timings {
                code_mode_host_duration_ns: self.host_duration.flatten(),
                result_buffered_for_ns: self.buffered_for.flatten(),
            },
        })
    }

    /// The output of a variant that has no `error_text`.
    fn without_error(self, owner: &str) -> Result<CellOutput, ShapeError> {
        if self.error_text.is_some() {
            return Err(ShapeError::foreign_field("error_text", owner));
        }
        self.into_output(owner)
    }
}

/// Makes a response of its three variants, of which exactly one must be there.
pub(crate) fn one_response(
    result: Option<OutputFields>,
    yielded: Option<OutputFields>,
    terminated: Option<OutputFields>,
) -> Result<CellResponse, ShapeError> {
    match (result, yielded, terminated) {
        (Some(mut fields), None, None) => {
            let error_text = fields.error_text.take().flatten();
            Ok(CellResponse::Result {
                output: fields.into_output("Result")?,
                error_text,
            })
        }
        (None, Some(fields), None) => Ok(CellResponse::Yielded(fields.without_error("Yielded")?)),
        (None, None, Some(fields)) => Ok(CellResponse::Terminated(
            fields.without_error("Terminated")?,
        )),
        _ => Err(ShapeError::new(
            "a cell's response must be one of Result, Yielded or Terminated",
        )),
    }
}

wire_object! {
    ResponseFields ("a cell's response") {
        result: OutputFields = "Result",
        yielded: OutputFields = "Yielded",
        terminated: OutputFields = "Terminated",
    }
}

impl TryFrom<ResponseFields> for CellResponse {
    type Error = ShapeError;

    fn try_from(fields: ResponseFields) -> Result<Self, ShapeError> {
        let ResponseFields {
            result,
            yielded,
            terminated,
        } = fields;
        one_response(result, yielded, terminated)
    }
}
