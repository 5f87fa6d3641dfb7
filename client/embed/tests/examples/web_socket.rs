// SPDX-License-Identifier: Apache-2.0
//! Streaming to a web socket: a browser sees what a script puts out and calls while it runs, and
//! ends the script by going away.

use code_mode_embed::{CellEvent, ContentItem, Session};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async};

/// Runs the script that the first message holds, and sends its events.
pub async fn serve(stream: TcpStream, session: &Session) -> Result<(), Error> {
    let mut socket = accept_async(stream).await?;
    let Some(source) = socket.next().await else {
        return Ok(());
    };
    let mut cell = match session.start(source?.to_text()?).await {
        Ok(cell) => cell,
        Err(error) => return send(&mut socket, json!({"refused": error.to_string()})).await,
    };
    loop {
        tokio::select! {
            event = cell.next() => match event {
                Some(event) => send(&mut socket, shown(event)).await?,
                None => return socket.close(None).await,
            },
            // The browser has gone, or has sent what it should not: dropping the cell ends it.
            message = socket.next() => match message {
                None | Some(Err(_) | Ok(Message::Close(_))) => return Ok(()),
                Some(Ok(_)) => {}
            },
        }
    }
}

fn shown(event: CellEvent) -> Value {
    match event {
        CellEvent::Output(item) => match &*item {
            ContentItem::Text(text) => json!({"text": text}),
            ContentItem::Image { image_url, .. } => json!({"image": image_url}),
            ContentItem::Audio { audio_url } => json!({"audio": audio_url}),
        },
        CellEvent::ToolCall { tool, input, .. } => json!({"call": tool.name, "input": &*input}),
        CellEvent::ToolResult { tool, result, .. } => {
            json!({"answered": tool.name, "failed": result.is_err()})
        }
        CellEvent::Notification(text) => json!({"notification": &*text}),
        CellEvent::Missed { events } => json!({"missed": events}),
        CellEvent::Ended(result) => {
            json!({"ended": true, "error": result.err().map(|e| e.to_string())})
        }
        _ => json!({}),
    }
}

async fn send(socket: &mut WebSocketStream<TcpStream>, value: Value) -> Result<(), Error> {
    socket.send(Message::text(value.to_string())).await
}

#[cfg(test)]
mod tests {
    use code_mode_embed::ToolSet;
    use pretty_assertions::assert_eq;
    use tokio::net::TcpListener;
    use tokio_tungstenite::client_async;

    use super::*;
    use crate::support::{echo, in_time, session};

    /// Runs a script over a connection of its own; `read` is what the browser does.
    async fn browse(source: &str, messages: usize) -> (Vec<Value>, Session) {
        let session = session(ToolSet::new().with(echo())).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = session.clone();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            serve(stream, &served).await
        });
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (mut socket, _) = client_async("ws://localhost/", stream)
            .await
            .expect("a socket");
        socket.send(Message::text(source)).await.expect("sent");
        let mut seen = Vec::new();
        while seen.len() < messages
            && let Some(Ok(Message::Text(text))) = in_time(socket.next()).await
        {
            seen.push(serde_json::from_str(&text).expect("JSON"));
        }
        drop(socket);
        drop(in_time(server).await.expect("the server ends"));
        (seen, session)
    }

    #[tokio::test]
    async fn a_browser_sees_a_script_run() {
        let (seen, _) = browse("text('a'); await tools.echo(1); notify('b')", usize::MAX).await;
        assert_eq!(
            seen,
            [
                json!({"text": "a"}),
                json!({"call": "echo", "input": 1}),
                json!({"answered": "echo", "failed": false}),
                json!({"notification": "b"}),
                json!({"ended": true, "error": null}),
            ]
        );
    }

    #[tokio::test]
    async fn a_script_ends_when_its_browser_goes_away() {
        let (seen, session) = browse("text('a'); await new Promise(() => {})", 1).await;
        assert_eq!(seen, [json!({"text": "a"})]);
        for cell in session.cells() {
            in_time(cell.wait()).await.expect_err("it was terminated");
        }
    }
}
