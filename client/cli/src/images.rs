// SPDX-License-Identifier: Apache-2.0
//! Images that scripts put out: what they are, and keeping them as files.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use data_url::DataUrl;

/// Numbers tried for a file whose name is taken before this gives up.
const MAX_TAKEN_NAMES: u64 = 1_000;

/// An image as a script gave it.
pub struct Picture<'a> {
    url: Option<DataUrl<'a>>,
    length: usize,
}

impl<'a> Picture<'a> {
    /// Looks at a `data:` URI.
    pub fn new(url: &'a str) -> Self {
        Self {
            url: DataUrl::process(url).ok(),
            length: url.len(),
        }
    }

    /// The media type, such as `image/png`.
    pub fn media_type(&self) -> Cow<'static, str> {
        match &self.url {
            None => "unknown type".into(),
            Some(url) => format!("{}/{}", url.mime_type().type_, url.mime_type().subtype).into(),
        }
    }

    /// The image's bytes, and the length of the whole text where it cannot be decoded.
    pub fn decode(&self) -> Result<Vec<u8>, usize> {
        let decoded = self.url.as_ref().and_then(|url| url.decode_to_vec().ok());
        decoded.map(|(bytes, _)| bytes).ok_or(self.length)
    }

    fn extension(&self) -> String {
        let subtype = self
            .url
            .as_ref()
            .map_or("bin", |url| url.mime_type().subtype.as_str());
        match subtype {
            "jpeg" => "jpg".to_owned(),
            "svg+xml" => "svg".to_owned(),
            // The subtype is the script's: nothing of it may name another folder.
            other if other.chars().all(|c| c.is_ascii_alphanumeric()) => other.to_owned(),
            _ => "bin".to_owned(),
        }
    }
}

/// Writes the image into `folder` as `image-NUMBER.png` or the like, with the first number from
/// `number` on that is free, and gives the path.
///
/// # Errors
/// When the folder or the file cannot be written.
pub fn save(
    picture: &Picture<'_>,
    bytes: &[u8],
    folder: &Path,
    number: u64,
) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let extension = picture.extension();
    for number in number..number.saturating_add(MAX_TAKEN_NAMES) {
        let path = folder.join(format!("image-{number}.{extension}"));
        match File::create_new(&path) {
            Ok(mut file) => {
                file.write_all(bytes)?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("every name is taken"))
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn an_image_is_known_by_its_type_and_its_bytes() {
        for (url, media_type, bytes) in [
            ("data:image/png;base64,AAEC", "image/png", Ok(vec![0, 1, 2])),
            ("data:,a%20b", "text/plain", Ok(b"a b".to_vec())),
            ("https://example.com/x.png", "unknown type", Err(25)),
            ("data:image/png;base64,*", "image/png", Err(23)),
        ] {
            let picture = Picture::new(url);
            assert_eq!(
                (picture.media_type().as_ref(), picture.decode()),
                (media_type, bytes),
                "{url}"
            );
        }
    }

    #[test]
    fn the_search_for_a_free_name_ends() {
        let folder = tempfile::tempdir().unwrap();
        let picture = Picture::new("data:image/png;base64,AAEC");
        for number in 1..=MAX_TAKEN_NAMES {
            File::create(folder.path().join(format!("image-{number}.png"))).unwrap();
        }
        let error = save(&picture, &[], folder.path(), 1).unwrap_err();
        assert_eq!(error.to_string(), "every name is taken");
    }

    #[test]
    fn files_are_never_overwritten_and_stay_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("new");
        for (url, name) in [
            ("data:image/png;base64,AAEC", "image-1.png"),
            ("data:image/png;base64,AAEC", "image-2.png"),
            ("data:image/jpeg;base64,AAEC", "image-1.jpg"),
            ("data:image/svg+xml,x", "image-1.svg"),
            ("data:image/..%2fx,x", "image-1.bin"),
        ] {
            let picture = Picture::new(url);
            let bytes = picture.decode().unwrap();
            let path = save(&picture, &bytes, &inside, 1).unwrap();
            assert_eq!(path, inside.join(name), "{url}");
            assert_eq!(fs::read(path).unwrap(), bytes);
        }
    }
}
