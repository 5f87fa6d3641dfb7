// SPDX-License-Identifier: Apache-2.0
//! What a host says, as it comes out of its pipe.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::process::ChildStdout;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, ReadBuf};

use super::pipes::Room;

/// A host's output. Reading waits in tokio, and, when it was asked to, awake for a while before.
pub(crate) struct HostOutput {
    stream: Box<dyn AsyncRead + Send + Unpin>,
    /// The pipe of `stream`, to look into it without tokio. `None` where there is none.
    pipe: Option<File>,
    awake: Option<Duration>,
    room: Room,
}

impl HostOutput {
    /// The output of a child process. Must be called within a tokio runtime.
    pub(super) fn of_child(pipe: ChildStdout) -> std::io::Result<Self> {
        let same_pipe = pipe.as_fd().try_clone_to_owned()?;
        // This makes the pipe non-blocking, for both descriptors.
        let stream = tokio::process::ChildStdout::from_std(pipe)?;
        Ok(Self {
            stream: Box::new(stream),
            pipe: Some(same_pipe.into()),
            awake: None,
            room: Room::default(),
        })
    }

    /// An output that is no pipe of this process's own.
    pub(crate) fn of_stream(stream: Box<dyn AsyncRead + Send + Unpin>) -> Self {
        Self {
            stream,
            pipe: None,
            awake: None,
            room: Room::default(),
        }
    }

    /// Makes the next read that finds nothing look again and again for so long, before it leaves
    /// the waiting to tokio. The thread gives way to any other meanwhile.
    pub(crate) fn stay_awake(&mut self, how_long: Duration) {
        self.awake = Some(how_long);
    }
}

impl AsyncRead for HostOutput {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if read.is_ready() {
            if let Some(pipe) = &this.pipe {
                this.room.passes(pipe, buffer.filled().len() - before);
            }
            return read;
        }
        let (Some(how_long), Some(pipe)) = (this.awake.take(), &mut this.pipe) else {
            return Poll::Pending;
        };
        // The task is registered with tokio already, so what comes later wakes it.
        let begun = Instant::now();
        loop {
            match pipe.read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    this.room.passes(pipe, count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if begun.elapsed() >= how_long {
                return Poll::Pending;
            }
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Write};
    use std::os::fd::OwnedFd;
    use std::task::Waker;

    use tokio::io::AsyncReadExt;

    use super::*;

    /// Longer than any test takes; reached only by one that fails.
    const GUARD: Duration = Duration::from_secs(30);

    fn output() -> (HostOutput, PipeWriter) {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let pipe = ChildStdout::from(OwnedFd::from(reader));
        (HostOutput::of_child(pipe).expect("a pipe"), writer)
    }

    fn poll(output: &mut HostOutput) -> Poll<Vec<u8>> {
        let mut bytes = [0; 16];
        let mut buffer = ReadBuf::new(&mut bytes);
        let mut context = Context::from_waker(Waker::noop());
        let read = Pin::new(output).poll_read(&mut context, &mut buffer);
        read.map(|read| {
            read.expect("the pipe can be read");
            buffer.filled().to_vec()
        })
    }

    #[tokio::test]
    async fn what_comes_while_the_reader_is_awake_is_read_at_once() {
        let (mut output, mut writer) = output();
        assert_eq!(poll(&mut output), Poll::Pending);
        output.stay_awake(GUARD);
        let host = std::thread::spawn(move || {
            writer.write_all(b"soon").expect("written");
            writer
        });
        assert_eq!(poll(&mut output), Poll::Ready(b"soon".to_vec()));
        let mut writer = host.join().expect("it has written");
        assert_eq!(poll(&mut output), Poll::Pending, "it stays awake once only");
        writer.write_all(b"later").expect("written");
        let mut bytes = [0; 5];
        output
            .read_exact(&mut bytes)
            .await
            .expect("tokio knows of what comes later");
        assert_eq!(&bytes, b"later");
    }

    #[tokio::test]
    async fn the_end_is_seen_awake_and_asleep() {
        let (mut output, writer) = output();
        output.stay_awake(GUARD);
        let host = std::thread::spawn(move || drop(writer));
        assert_eq!(poll(&mut output), Poll::Ready(Vec::new()));
        host.join().expect("it has closed its end");
        assert_eq!(output.read(&mut [0; 1]).await.expect("the end"), 0);
    }

    #[tokio::test]
    async fn a_reader_that_was_awake_in_vain_is_woken_by_tokio() {
        let (mut output, mut writer) = output();
        output.stay_awake(Duration::ZERO);
        assert_eq!(poll(&mut output), Poll::Pending);
        writer.write_all(b"late").expect("written");
        let mut bytes = [0; 4];
        output.read_exact(&mut bytes).await.expect("read");
        assert_eq!(&bytes, b"late");
    }
}
