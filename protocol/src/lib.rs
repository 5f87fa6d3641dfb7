// SPDX-License-Identifier: Apache-2.0
//! The wire protocol V1 between a Code Mode client and a Code Mode host.
//!
//! # Purpose
//! Every byte that crosses between the two processes is described here and nowhere else: the
//! messages of both directions ([`ClientMessage`], [`HostMessage`]), their parts, the frames that
//! carry them ([`EncodedFrame`], [`FrameReader`], [`FrameWriter`]), and how a connection agrees on
//! a version and on capabilities ([`negotiate`], [`accept_ready`]).
//! What means something beyond the wire, tools, requests, responses and errors of sessions, is
//! written and read as the types of [`code_mode_api`]; there is no second set of them.
//! The crate knows no process, no V8 and no session at work: it reads and writes any
//! [`AsyncRead`](tokio::io::AsyncRead) and [`AsyncWrite`](tokio::io::AsyncWrite).
//! `README.md` next to the source describes our extensions.
//!
//! # Life cycle
//! A client sends a [`ClientHello`]; the host decodes the first frame with [`decode_hello`] and
//! answers with what [`negotiate`] finds; the client checks that answer with [`accept_ready`].
//! From then on both sides hold the same [`AgreedCapabilities`]. They pass them to
//! [`EncodedFrame::encode`] and [`FrameReader::next_message`], which refuse a message that uses an
//! extension that was not agreed.
//! Whatever [`ReadError`] says, and a malformed message like an input that ends inside a frame,
//! is fatal to the connection, except [`DecodeError::OutOfRange`]: that request is answered with an
//! error. [`EncodeError`] is not fatal either, because nothing was sent.
//!
//! # Threads
//! All types are `Send` and `Sync` as far as the reader and writer that they are given are.
//! A [`FrameReader`] and a [`FrameWriter`] belong to one task each. Reading is cancel safe and
//! writing is not; their documentation says what follows.
//!
//! # Limits
//! [`MAX_FRAME_BYTES`] bounds a payload in both directions: checked before a buffer is made when
//! reading, and while serialising when writing. A reader's buffer grows with the data received.
//! Values that nobody here looks into (tool inputs and results, schemas, stored values) stay raw
//! JSON ([`RawJson`](code_mode_api::RawJson)): well formed, of any depth, copied and never parsed into a tree.
//! What a connection may have in flight is for its two ends to bound.

#![forbid(unsafe_code)]

mod cell_summary;
mod client_message;
mod content;
mod encode_error;
mod encoded_tools;
mod errors;
mod extension;
mod frame;
mod handshake;
mod hello;
mod host_message;
mod ids;
mod limits;
mod message;
mod number;
mod object;
mod outcome;
mod quote;
mod reader;
mod surrogates;
mod tool;
mod wire;
mod writer;

pub use client_message::{ClientMessage, DelegateValue, OperationRequest, OutputTruncation};
pub use encode_error::EncodeError;
pub use encoded_tools::EncodedTools;
pub use extension::{AgreedCapabilities, Extension};
pub use frame::{EncodedFrame, MAX_FRAME_BYTES};
pub use handshake::{
    Agreement, HelloError, HostOffer, ReadyError, accept_ready, decode_hello, negotiate,
};
pub use hello::{ClientHello, RejectReason};
pub use host_message::{DelegateRequest, HostMessage, OperationValue, WaitOutcome};
pub use ids::{
    Capability, CapabilitySet, DelegateRequestId, InvalidValue, ProtocolVersion, RequestId,
    SupportedVersions,
};
pub use limits::{CellExecutionLimits, OutputRange};
pub use message::{DecodeError, MAX_DECODE_ERROR_BYTES, Message, decode};
pub use number::MAX_OUTPUT_TOKENS;
pub use outcome::{ErrorCode, ErrorDetails, WireError};
pub use reader::{FrameReader, ReadError};
pub use writer::FrameWriter;

use code_mode_api::RawJson;
