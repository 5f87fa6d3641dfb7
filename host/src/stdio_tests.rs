// SPDX-License-Identifier: Apache-2.0
use std::io::{IoSlice, PipeReader, PipeWriter};

use super::*;

fn pipe() -> (PipeReader, PipeWriter) {
    io::pipe().unwrap()
}

fn file(descriptor: impl Into<OwnedFd>) -> File {
    File::from(descriptor.into())
}

/// Bytes that a pipe holds whose input is this.
fn capacity(input: PipeWriter) -> usize {
    let (_sink, direct, thread) = sink(file(input)).unwrap();
    assert!(thread.is_none());
    let too_much = vec![0; 8 << 20];
    direct.write(&[IoSlice::new(&too_much)]).unwrap()
}

#[tokio::test]
async fn a_pipe_for_output_is_made_larger() {
    let (_client, output) = pipe();
    assert!(capacity(output) >= PIPE_BYTES as usize);
}

#[tokio::test]
async fn a_pipe_for_input_is_made_larger() {
    let (input, client) = pipe();
    let _source = source(file(input.try_clone().unwrap())).unwrap();
    let sender = pipe::Sender::from_owned_fd(client.into()).unwrap();
    sender.writable().await.unwrap();
    let frame = vec![0; 8 << 20];
    assert!(sender.try_write(&frame).unwrap() >= PIPE_BYTES as usize);
}

#[test]
fn what_is_no_pipe_is_left_as_it_is() {
    let (ours, _theirs) = BlockingStream::pair().unwrap();
    enlarge(ours.as_fd());
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
