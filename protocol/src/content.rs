// SPDX-License-Identifier: Apache-2.0
//! What cells put out, on the wire: content items, responses and timings.
//!
//! Shapes from the wire contract, section *Host to client*; timings from its *Tolerated* fields,
//! which are accepted from any host and sent only by one that was told to.

use std::time::Duration;

use code_mode_api::{CellId, CellResponse, CellStatus, CellTimings, ContentItem, ImageDetail};
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Serialize, Serializer};

use crate::object::{ShapeError, required, wire_names, wire_object, wire_strings, wire_value};
use crate::wire::{Wire, WireList};

wire_names! {
    ImageDetail, "an image detail: auto, low, high or original" {
        Auto = "auto",
        Low = "low",
        High = "high",
        Original = "original",
    }
}

impl Serialize for Wire<&ContentItem> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // JSON objects need no length in advance, so the count is only nominal.
        let mut object = serializer.serialize_struct("ContentItem", 3)?;
        match self.0 {
            ContentItem::Text(text) => {
                object.serialize_field("type", &ContentTag::Text)?;
                object.serialize_field("text", text)?;
            }
            ContentItem::Image { image_url, detail } => {
                object.serialize_field("type", &ContentTag::Image)?;
                object.serialize_field("image_url", image_url)?;
                if let Some(detail) = detail {
                    object.serialize_field("detail", &Wire(detail))?;
                }
            }
            ContentItem::Audio { audio_url } => {
                object.serialize_field("type", &ContentTag::Audio)?;
                object.serialize_field("audio_url", audio_url)?;
            }
        }
        object.end()
    }
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
        detail: Wire<ImageDetail> = "detail",
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
                Ok(Self::Text(required(fields.text, "text", owner)?))
            }
            ContentTag::Image => {
                fields.refuse_others(owner, &["type", "image_url", "detail"])?;
                Ok(Self::Image {
                    image_url: required(fields.image_url, "image_url", owner)?,
                    detail: fields.detail.map(|Wire(detail)| detail),
                })
            }
            ContentTag::Audio => {
                fields.refuse_others(owner, &["type", "audio_url"])?;
                Ok(Self::Audio {
                    audio_url: required(fields.audio_url, "audio_url", owner)?,
                })
            }
        }
    }
}

wire_value!(ContentFields => ContentItem);

/// Bytes that a response takes at least once it is encoded.
pub(crate) fn response_bytes(response: &CellResponse) -> usize {
    let error_bytes = match &response.status {
        CellStatus::Completed {
            error_text: Some(text),
        } => text.len(),
        _ => 0,
    };
    let items = &response.content_items;
    items.iter().fold(error_bytes, |bytes, item| {
        bytes.saturating_add(match item {
            ContentItem::Text(text) => text.len(),
            ContentItem::Image { image_url, .. } => image_url.len(),
            ContentItem::Audio { audio_url } => audio_url.len(),
        })
    })
}

/// That a cell's state was lost is for a client to know; it does not cross the wire.
impl Serialize for Wire<&CellResponse> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = match &self.0.status {
            CellStatus::Completed { .. } => "Result",
            CellStatus::Yielded => "Yielded",
            CellStatus::Terminated => "Terminated",
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(name, &Body(self.0))?;
        map.end()
    }
}

/// A response's inner object; `error_text` is there, null or not, for a `Result` only.
struct Body<'a>(&'a CellResponse);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let response = self.0;
        // JSON objects need no length in advance, so the count is only nominal.
        let mut body = serializer.serialize_struct("CellResponse", 5)?;
        body.serialize_field("cell_id", &Wire(&response.cell_id))?;
        body.serialize_field("content_items", &WireList(&response.content_items))?;
        if let CellStatus::Completed { error_text } = &response.status {
            body.serialize_field("error_text", error_text)?;
        }
        if let Some(duration) = response.timings.host_duration {
            body.serialize_field("code_mode_host_duration_ns", &nanoseconds(duration))?;
        }
        if let Some(duration) = response.timings.result_buffered_for {
            body.serialize_field("result_buffered_for_ns", &nanoseconds(duration))?;
        }
        body.end()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

wire_object! {
    BodyFields ("a cell's response") {
        cell_id: Wire<CellId> = "cell_id",
        content_items: Wire<Vec<ContentItem>> = "content_items",
        error_text: Option<String> = "error_text",
        host_duration: Option<u64> = "code_mode_host_duration_ns",
        buffered_for: Option<u64> = "result_buffered_for_ns",
    }
}

impl BodyFields {
    fn into_response(self, owner: &str, status: CellStatus) -> Result<CellResponse, ShapeError> {
        Ok(CellResponse {
            cell_id: required(self.cell_id, "cell_id", owner)?.0,
            status,
            content_items: required(self.content_items, "content_items", owner)?.0,
            timings: CellTimings {
                host_duration: self.host_duration.flatten().map(Duration::from_nanos),
                result_buffered_for: self.buffered_for.flatten().map(Duration::from_nanos),
            },
            state_lost: None,
        })
    }

    /// The response of a variant that has no `error_text`.
    fn without_error(self, owner: &str, status: CellStatus) -> Result<CellResponse, ShapeError> {
        if self.error_text.is_some() {
            return Err(ShapeError::foreign_field("error_text", owner));
        }
        self.into_response(owner, status)
    }
}

/// Makes a response of its three variants, of which exactly one must be there.
pub(crate) fn one_response(
    result: Option<BodyFields>,
    yielded: Option<BodyFields>,
    terminated: Option<BodyFields>,
) -> Result<CellResponse, ShapeError> {
    match (result, yielded, terminated) {
        (Some(mut fields), None, None) => {
            let error_text = fields.error_text.take().flatten();
            fields.into_response("Result", CellStatus::Completed { error_text })
        }
        (None, Some(fields), None) => fields.without_error("Yielded", CellStatus::Yielded),
        (None, None, Some(fields)) => fields.without_error("Terminated", CellStatus::Terminated),
        _ => Err(ShapeError::new(
            "a cell's response must be one of Result, Yielded or Terminated",
        )),
    }
}

wire_object! {
    ResponseFields ("a cell's response") {
        result: BodyFields = "Result",
        yielded: BodyFields = "Yielded",
        terminated: BodyFields = "Terminated",
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

wire_value!(ResponseFields => CellResponse);
