// SPDX-License-Identifier: Apache-2.0
use std::io::{IoSlice, PipeReader, PipeWriter, Read};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::pipes::PIPE_BYTES;

fn pipe() -> (PipeReader, PipeWriter) {
    io::pipe().unwrap()
}

fn file(descriptor: impl Into<OwnedFd>) -> File {
    File::from(descriptor.into())
}

/// Bytes that the pipe of a connection's output takes at once.
fn capacity(direct: &DirectOutput) -> usize {
    let too_much = vec![0; 8 << 20];
    direct.write(&[IoSlice::new(&too_much)]).unwrap()
}

#[tokio::test]
async fn a_pipe_for_output_is_made_larger_by_a_large_frame_and_by_no_small_one() {
    let large = PIPE_BYTES as usize;
    let (mut client, output) = pipe();
    let (mut sink, direct, thread) = sink(file(output)).unwrap();
    assert!(thread.is_none());
    sink.write_all(b"a frame").await.unwrap();
    client.read_exact(&mut [0; 7]).unwrap();
    let usual = capacity(&direct);
    assert!(usual < large, "{usual}");
    client.read_exact(&mut vec![0; usual]).unwrap();
    assert_eq!(sink.write(&vec![0; 8 << 20]).await.unwrap(), large);
}

#[tokio::test]
async fn a_pipe_for_input_is_made_larger_once_it_was_full() {
    let large = PIPE_BYTES as usize;
    let (input, client) = pipe();
    let mut source = source(file(input)).unwrap();
    let client = pipe::Sender::from_owned_fd(client.into()).unwrap();
    client.writable().await.unwrap();
    let frame = vec![0; 8 << 20];
    let usual = client.try_write(&frame).unwrap();
    assert!(usual < large, "{usual}");
    let mut room = vec![0; 8 << 20];
    assert_eq!(source.read(&mut room).await.unwrap(), usual);
    client.writable().await.unwrap();
    assert_eq!(client.try_write(&frame).unwrap(), large);
}

#[tokio::test]
async fn a_file_for_output_gets_what_threads_write() {
    use std::io::{Read, Seek};
    let mut kept = tempfile::tempfile().unwrap();
    let (sink, direct, thread) = sink(kept.try_clone().unwrap()).unwrap();
    let frame = b"a frame";
    let written = direct.write(&[IoSlice::new(frame)]).unwrap();
    assert_eq!(written, frame.len());
    drop((sink, direct));
    thread.unwrap().join().unwrap().unwrap();
    let mut bytes = Vec::new();
    kept.rewind().unwrap();
    kept.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, frame);
}
