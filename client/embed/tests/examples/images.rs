// SPDX-License-Identifier: Apache-2.0
//! Images: what a tool gives as bytes, a script passes on, and the agent has as bytes again.

use code_mode_embed::{Tool, ToolSet};

/// The first bytes of every PNG file.
pub const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The same in base64, as an MCP server would give it.
const ENCODED: &str = "iVBORw0KGgo=";

/// A tool that gives an image as an MCP server would.
pub fn tools() -> ToolSet {
    ToolSet::new().with(Tool::new("screenshot", "Takes a picture.", |()| async {
        Ok::<_, String>(serde_json::json!({
            "type": "image", "data": ENCODED, "mimeType": "image/png",
        }))
    }))
}

#[tokio::test]
async fn it_runs() {
    use crate::support::{in_time, session};

    let session = session(tools()).await;
    let source = "text('Here it is:'); image(await tools.screenshot())";
    let output = in_time(session.exec(source)).await.unwrap();
    let images: Result<Vec<_>, _> = output.images().collect();
    let images = images.expect("images that can be read");
    assert_eq!(images[0].media_type, "image/png");
    assert_eq!(images[0].bytes, PICTURE);
    assert_eq!(output.text(), "Here it is:");
}
