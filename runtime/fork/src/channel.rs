// SPDX-License-Identifier: Apache-2.0
//! The control channel between a host and its zygote, and between a host and its starter: small
//! messages, each whole or not at all, with descriptors.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// Bytes of one message.
pub(crate) const MESSAGE_BYTES: usize = 512;

/// What the kernel may keep of a cell's stream in either direction, bytes: it doubles this for what it needs itself, and
/// takes no more than `net.core.wmem_max`. With what it keeps unasked, 208 KiB, a value of 1 MiB has to wake either side
/// several times on its way.
const STREAM_BYTES: usize = 512 << 10;

/// Descriptors of one message.
const DESCRIPTORS: usize = 2;

/// One message that has arrived.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Two ends of a control channel.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Two ends of the stream between a host and a cell.
pub(crate) fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (host, cell) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    for end in [&host, &cell] {
        rustix::net::sockopt::set_socket_send_buffer_size(end, STREAM_BYTES)?;
    }
    Ok((host, cell))
}

/// Sends a message with descriptors. A peer that is gone is an error, never a signal.
pub(crate) fn send(to: BorrowedFd<'_>, bytes: &[u8], with: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !with.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(with)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    let sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(
            to,
            &[io::IoSlice::new(bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )
    })?;
    if sent == bytes.len() {
        Ok(())
    } else {
        Err(io::Error::other("a message was cut"))
    }
}

/// Takes the next message; `None` when the peer has closed its end. Waits, unless the end is in
/// non-blocking mode.
pub(crate) fn receive(from: BorrowedFd<'_>) -> io::Result<Option<Message>> {
    let mut bytes = vec![0; MESSAGE_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            from.as_fd(),
            &mut [io::IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    if received.bytes == 0 {
        return Ok(None);
    }
    bytes.truncate(received.bytes);
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(Some(Message { bytes, descriptors }))
}

/// Whether nothing arrives for so long. A peer that closes its end is heard, too.
pub(crate) fn is_quiet(from: BorrowedFd<'_>, time: Duration) -> bool {
    let mut watched = libc::pollfd {
        fd: from.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let milliseconds = libc::c_int::try_from(time.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the call is given one description and told so. An error counts as something to look at.
    unsafe { libc::poll(&raw mut watched, 1, milliseconds) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_keeps_of_a_stream_that_nobody_reads_is_bounded() {
        let (host, cell) = stream_pair().expect("a stream");
        for end in [&host, &cell] {
            let mut kept = 0;
            while let Ok(sent) = rustix::net::send(end, &[0; 4096], SendFlags::DONTWAIT) {
                kept += sent;
            }
            assert!((4096..=2 * STREAM_BYTES).contains(&kept), "{kept} bytes");
        }
    }
}
