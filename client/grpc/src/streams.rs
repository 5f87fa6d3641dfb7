// SPDX-License-Identifier: Apache-2.0
//! The client's ends of the streams between it and the bridge.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use code_mode_client::LOST;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// Why the connection is lost, set before the client's reading side ends.
#[derive(Clone, Default)]
pub(crate) struct Ending(Arc<OnceLock<String>>);

impl Ending {
    /// Says why, in words for people. Only the first word counts.
    pub(crate) fn set(&self, why: String) {
        let _ = self.0.set(why);
    }
}

/// What the client reads: frames, and at their end why there are no more.
pub(crate) struct Output {
    stream: DuplexStream,
    ending: Ending,
}

impl Output {
    pub(crate) fn new(stream: DuplexStream, ending: Ending) -> Self {
        Self { stream, ending }
    }
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        match self.ending.0.get() {
            Some(why) if buffer.filled().len() == before => {
                Poll::Ready(Err(io::Error::new(LOST, why.clone())))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

/// What the client writes to. Once the connection is lost, what it still writes goes nowhere: that it is
/// lost, and why, is told where the client reads.
pub(crate) struct Input {
    stream: DuplexStream,
    ending: Ending,
}

impl Input {
    pub(crate) fn new(stream: DuplexStream, ending: Ending) -> Self {
        Self { stream, ending }
    }
}

impl AsyncWrite for Input {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.stream).poll_write(context, bytes)) {
            Err(_) if self.ending.0.get().is_some() => Poll::Ready(Ok(bytes.len())),
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_client_learns_why_the_connection_is_lost_where_it_reads_whatever_it_writes() {
        let ending = Ending::default();
        let (input, heard) = duplex(16);
        let (said, output) = duplex(16);
        let mut input = Input::new(input, ending.clone());
        let mut output = Output::new(output, ending.clone());
        assert!(
            ending
                .0
                .set("the connection was lost: why".to_owned())
                .is_ok()
        );
        drop((heard, said));
        let written = input.write_all(b"a frame").await;
        written.expect("it goes nowhere");
        let error = output.read_u8().await.expect_err("it is lost");
        assert_eq!(error.kind(), LOST);
        assert_eq!(error.to_string(), "the connection was lost: why");
    }
}
