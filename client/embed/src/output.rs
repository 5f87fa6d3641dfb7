// SPDX-License-Identifier: Apache-2.0
//! What scripts put out: text, images and sound.

use std::sync::Arc;

use code_mode_api::{ContentItem, ImageDetail};

/// What a script has put out, in its order. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    items: Arc<[Arc<ContentItem>]>,
}

/// An image or a sound, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// The media type that the script gave, such as `image/png`. Nothing has checked it against the bytes.
    pub media_type: String,
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// How closely a model should look at an image, if the script said.
    pub detail: Option<ImageDetail>,
}

/// An item that is no image or sound that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The item holds no `data:` URI.
    #[error("Failed to read the item: it is no data: URI")]
    NoDataUri,
    /// The URI's base64 is broken.
    #[error("Failed to read the item: its base64 is broken: {0}")]
    Base64(String),
}

impl Output {
    pub(crate) fn new(items: &[Arc<ContentItem>]) -> Self {
        Self {
            items: items.into(),
        }
    }

    /// The items in the order in which the script made them.
    pub fn items(&self) -> impl ExactSizeIterator<Item = &ContentItem> {
        self.items.iter().map(Arc::as_ref)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The texts, one below the other. Images and sounds are left out.
    pub fn text(&self) -> String {
        self.texts().collect::<Vec<_>>().join("\n")
    }

    /// The texts one by one.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.items().filter_map(|item| match item {
            ContentItem::Text(text) => Some(text.as_str()),
            ContentItem::Image { .. } | ContentItem::Audio { .. } => None,
        })
    }

    /// The images as bytes, each with its own success: a script writes the URIs.
    pub fn images(&self) -> impl Iterator<Item = Result<Media, MediaError>> {
        self.items().filter_map(|item| match item {
            ContentItem::Image { image_url, detail } => Some(decode(image_url, *detail)),
            ContentItem::Text(_) | ContentItem::Audio { .. } => None,
        })
    }

    /// The sounds as bytes.
    pub fn sounds(&self) -> impl Iterator<Item = Result<Media, MediaError>> {
        self.items().filter_map(|item| match item {
            ContentItem::Audio { audio_url } => Some(decode(audio_url, None)),
            ContentItem::Text(_) | ContentItem::Image { .. } => None,
        })
    }
}

fn decode(url: &str, detail: Option<ImageDetail>) -> Result<Media, MediaError> {
    let url = data_url::DataUrl::process(url).map_err(|_| MediaError::NoDataUri)?;
    let (bytes, _fragment) = url
        .decode_to_vec()
        .map_err(|error| MediaError::Base64(error.to_string()))?;
    let mime = url.mime_type();
    Ok(Media {
        media_type: format!("{}/{}", mime.type_, mime.subtype),
        bytes,
        detail,
    })
}

/// The bytes that an item takes in memory, roughly.
pub(crate) fn size_of_item(item: &ContentItem) -> usize {
    match item {
        ContentItem::Text(text) => text.len(),
        ContentItem::Image { image_url, .. } => image_url.len(),
        ContentItem::Audio { audio_url } => audio_url.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(items: impl IntoIterator<Item = ContentItem>) -> Output {
        let items: Vec<_> = items.into_iter().map(Arc::new).collect();
        Output::new(&items)
    }

    fn image(url: &str) -> ContentItem {
        ContentItem::Image {
            image_url: url.to_owned(),
            detail: Some(ImageDetail::Low),
        }
    }

    #[test]
    fn texts_come_one_below_the_other_without_images() {
        let text = |text: &str| ContentItem::Text(text.to_owned());
        let output = output([text("a"), image("data:,x"), text("b")]);
        assert_eq!(output.text(), "a\nb");
        assert_eq!(output.items().len(), 3);
    }

    #[test]
    fn images_come_as_bytes_with_their_type() {
        let output = output([image("data:image/png;base64,iVBORw==")]);
        let images: Vec<_> = output.images().collect();
        assert_eq!(
            images,
            [Ok(Media {
                media_type: "image/png".to_owned(),
                bytes: vec![0x89, b'P', b'N', b'G'],
                detail: Some(ImageDetail::Low),
            })]
        );
    }

    #[test]
    fn an_image_that_cannot_be_read_says_why_and_the_others_can() {
        let urls = [
            "https://example.com/a.png",
            "data:image/png;base64,%",
            "data:image/gif,GIF",
        ];
        let output = output(urls.map(image));
        let images: Vec<_> = output.images().collect();
        assert_eq!(images[0], Err(MediaError::NoDataUri));
        assert!(matches!(images[1], Err(MediaError::Base64(_))));
        assert_eq!(images[2].as_ref().unwrap().bytes, b"GIF");
    }

    #[test]
    fn sounds_come_as_bytes() {
        let output = output([ContentItem::Audio {
            audio_url: "data:audio/wav;base64,AAE=".to_owned(),
        }]);
        let sounds: Vec<_> = output.sounds().collect();
        assert_eq!(sounds[0].as_ref().unwrap().bytes, [0, 1]);
    }
}
