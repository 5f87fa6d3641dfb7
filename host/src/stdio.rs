// SPDX-License-Identifier: Apache-2.0
//! The process's standard streams as the two ends of a connection.
//!
//! Standard output is taken away from the rest of the process: it is duplicated for the frames, and
//! descriptor 1 then points at standard error, so that no library can corrupt the stream.
//!
//! # Caveats
//! Pipes and sockets are switched to non-blocking mode, which whoever shares the open file
//! description sees too. The pipes and sockets that a client makes for a child are not shared, so
//! nothing is restored. Files and terminals often are shared; they stay as they are, and a thread
//! of their own copies between each of them and a socket pair.
//!
//! Pipes are made larger by the first large frame, if the kernel lets this user; whoever shares them sees that
//! too.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::thread::JoinHandle;

use code_mode_frames::DirectOutput;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixStream, unix::pipe};

use crate::pipes::Growing;

/// Where frames come from.
pub type FrameSource = Box<dyn AsyncRead + Send + Unpin>;
/// Where frames go to.
pub type FrameSink = Box<dyn AsyncWrite + Send + Unpin>;

/// The thread that copies to a standard output that is neither pipe nor socket; joined so that the
/// process does not end before the last frame is out.
pub type OutputThread = Option<JoinHandle<io::Result<u64>>>;

/// The two ends of a connection.
pub struct Ends {
    /// Where frames come from.
    pub source: FrameSource,
    /// Where frames go to.
    pub sink: FrameSink,
    /// The same output, for threads that write by themselves.
    pub direct: DirectOutput,
    /// What to join before the process ends.
    pub output_thread: OutputThread,
}

/// A standard stream cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("Failed to {action}: {source}")]
pub struct StdioError {
    action: &'static str,
    source: io::Error,
}

fn failed_to(action: &'static str) -> impl FnOnce(io::Error) -> StdioError {
    move |source| StdioError { action, source }
}

/// The descriptors of the connection, before they are part of an asynchronous runtime.
#[derive(Debug)]
pub struct Stdio {
    input: File,
    output: File,
}

impl Stdio {
    /// Takes standard input, and standard output away from everybody else. Call it before anything
    /// could write to standard output, and once.
    ///
    /// # Errors
    /// When a descriptor is closed or none is left.
    pub fn take() -> Result<Self, StdioError> {
        let input = io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(failed_to("duplicate standard input"))?;
        let output = io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .map_err(failed_to("duplicate standard output"))?;
        redirect(io::stderr().as_fd(), libc::STDOUT_FILENO)
            .map_err(failed_to("point descriptor 1 at standard error"))?;
        Ok(Self {
            input: File::from(input),
            output: File::from(output),
        })
    }

    /// Makes the two ends of the connection. Call it within a Tokio runtime.
    ///
    /// # Errors
    /// When the descriptors cannot be used, for instance because standard output is not writable.
    pub fn connect(self) -> Result<Ends, StdioError> {
        let source = source(self.input).map_err(failed_to("read frames from standard input"))?;
        let (sink, direct, output_thread) =
            sink(self.output).map_err(failed_to("write frames to standard output"))?;
        Ok(Ends {
            source,
            sink,
            direct,
            output_thread,
        })
    }
}

fn source(input: File) -> io::Result<FrameSource> {
    let kind = input.metadata()?.file_type();
    if kind.is_fifo() {
        let receiver = pipe::Receiver::from_owned_fd(OwnedFd::from(input))?;
        return Ok(Box::new(Growing::new(receiver)));
    }
    if kind.is_socket() {
        return Ok(Box::new(stream(BlockingStream::from(OwnedFd::from(
            input,
        )))?));
    }
    let (ours, theirs) = BlockingStream::pair()?;
    copy_in_thread("frames-in", input, theirs)?;
    Ok(Box::new(stream(ours)?))
}

fn sink(output: File) -> io::Result<(FrameSink, DirectOutput, OutputThread)> {
    let kind = output.metadata()?.file_type();
    if kind.is_fifo() {
        let second = OwnedFd::from(output.try_clone()?);
        // This sets non-blocking mode, for both descriptors.
        let sender = pipe::Sender::from_owned_fd(OwnedFd::from(output))?;
        let sink = Growing::new(sender);
        return Ok((Box::new(sink), DirectOutput::new(second), None));
    }
    let (ours, thread) = if kind.is_socket() {
        (BlockingStream::from(OwnedFd::from(output)), None)
    } else {
        let (ours, theirs) = BlockingStream::pair()?;
        (ours, Some(copy_in_thread("frames-out", theirs, output)?))
    };
    let second = OwnedFd::from(ours.try_clone()?);
    Ok((Box::new(stream(ours)?), DirectOutput::new(second), thread))
}

/// A socket in non-blocking mode, which all its descriptors have in common.
fn stream(stream: BlockingStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Copies until the end of `from`; closing `to`, which the end of the thread does, tells the other
/// side.
fn copy_in_thread(
    name: &str,
    mut from: impl io::Read + Send + 'static,
    mut to: impl io::Write + Send + 'static,
) -> io::Result<JoinHandle<io::Result<u64>>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || io::copy(&mut from, &mut to))
}

#[expect(
    unsafe_code,
    reason = "the standard library cannot replace a descriptor"
)]
fn redirect(from: BorrowedFd<'_>, to: libc::c_int) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: `from` is open for as long as it is borrowed, and dup2 has no other precondition.
    // `to` is a standard descriptor, which no object in this process owns.
    if unsafe { libc::dup2(from.as_raw_fd(), to) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
#[path = "stdio_tests.rs"]
mod tests;
