// SPDX-License-Identifier: Apache-2.0
//! Inputs and runtimes for tests of frames.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// An input that gives its bytes in pieces of these sizes, over and over, and then ends.
pub struct Pieces {
    bytes: VecDeque<u8>,
    sizes: Vec<usize>,
    /// How many reads there were.
    pub reads: usize,
}

impl Pieces {
    /// Gives `bytes` in pieces of `sizes`; a size of 0 counts as 1.
    pub fn new(bytes: &[u8], sizes: &[usize]) -> Self {
        Self {
            bytes: bytes.iter().copied().collect(),
            sizes: sizes.to_vec(),
            reads: 0,
        }
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let size = match this.sizes.len() {
            0 => usize::MAX,
            count => this.sizes[this.reads % count].max(1),
        };
        let count = size.min(buffer.remaining()).min(this.bytes.len());
        for byte in this.bytes.drain(..count) {
            buffer.put_slice(&[byte]);
        }
        this.reads += 1;
        Poll::Ready(Ok(()))
    }
}

/// Runs a future on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// A frame around any payload.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&length.to_le_bytes(), payload].concat()
}
