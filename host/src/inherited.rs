// SPDX-License-Identifier: Apache-2.0
//! Sockets that are handed over: whoever starts the host, such as systemd, has bound them.
//!
//! The contract is that of `sd_listen_fds(3)`: `LISTEN_PID` is the number of the process that they are for,
//! and `LISTEN_FDS` says how many descriptors from 3 on they are.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

/// The first descriptor that is handed over.
const FIRST: RawFd = 3;

/// Sockets that may be handed over (64). A number beyond is a mistake, not a unit with so many sockets.
pub(crate) const MAX_INHERITED: usize = 64;

/// The sockets that were handed over, not yet part of an asynchronous runtime.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    /// Those of TCP.
    pub(crate) tcp: Vec<TcpListener>,
    /// The Unix sockets.
    pub(crate) unix: Vec<UnixListener>,
}

impl Inherited {
    /// Takes them. To be called once, before this process has opened anything or started another, which
    /// would have them as well.
    ///
    /// # Errors
    /// When there are none, or one is no socket to listen on.
    pub(crate) fn take() -> Result<Self, String> {
        let lookup = |name: &str| std::env::var(name).ok();
        let count = count(&lookup, std::process::id()).map_err(|why| refused(&why))?;
        let mut inherited = Self::default();
        for number in (FIRST..).take(count) {
            let told = |why: &dyn std::fmt::Display| refused(&format!("descriptor {number} {why}"));
            let descriptor = taken(number).map_err(|error| told(&format!("is lost: {error}")))?;
            inherited.add(descriptor).map_err(|why| told(&why))?;
        }
        Ok(inherited)
    }

    /// Adds one of them; an error says what it is instead of a socket to listen on.
    fn add(&mut self, descriptor: OwnedFd) -> Result<(), String> {
        let failed = |error: io::Error| format!("cannot be used: {error}");
        match family(descriptor.as_fd())? {
            AddressFamily::UNIX => {
                let listener = UnixListener::from(descriptor);
                listener.set_nonblocking(true).map_err(failed)?;
                self.unix.push(listener);
            }
            AddressFamily::INET | AddressFamily::INET6 => {
                let listener = TcpListener::from(descriptor);
                listener.set_nonblocking(true).map_err(failed)?;
                self.tcp.push(listener);
            }
            other => return Err(format!("is a socket of the family {}", other.as_raw())),
        }
        Ok(())
    }
}

fn refused(why: &str) -> String {
    format!("Failed to listen on grpc+systemd://: {why}")
}

/// How many sockets there are for the process `own`.
fn count(lookup: &dyn Fn(&str) -> Option<String>, own: u32) -> Result<usize, String> {
    let (Some(process), Some(count)) = (lookup("LISTEN_PID"), lookup("LISTEN_FDS")) else {
        return Err(
            "no socket was handed over, LISTEN_PID and LISTEN_FDS are not set; start the host by a \
             socket unit with Accept=no"
                .to_owned(),
        );
    };
    if process.parse() != Ok(own) {
        return Err(format!(
            "the sockets are for process {process:?}, not for this one, {own}"
        ));
    }
    match count.parse() {
        Ok(count @ 1..=MAX_INHERITED) => Ok(count),
        _ => Err(format!(
            "LISTEN_FDS is {count:?}, not a number from 1 to {MAX_INHERITED}"
        )),
    }
}

/// The descriptor of this number, which no other program is to have from now on.
#[expect(
    unsafe_code,
    reason = "the number of a descriptor is all that is handed over"
)]
fn taken(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the number is not -1; whether it is open is what is asked here, and nothing closes it in
    // between, since there is no other thread.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, as was just seen, and by the contract it was handed over to this process, of
    // which no other part knows it; each number is taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The family of a socket that can be listened on; an error says what it is instead.
fn family(descriptor: BorrowedFd<'_>) -> Result<AddressFamily, &'static str> {
    match socket_type(descriptor) {
        Ok(SocketType::STREAM) => {}
        Ok(_) => return Err("is no socket for streams: a socket unit has ListenStream= for these"),
        Err(_) => return Err("is no socket"),
    }
    if !socket_acceptconn(descriptor).unwrap_or(false) {
        return Err(
            "is a connection, not a socket to listen on: set Accept=no, or serve the one client with \
             grpc+stdio://",
        );
    }
    socket_domain(descriptor).map_err(|_| "is a socket of no known family")
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::UdpSocket;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn counted(process: Option<&str>, count: Option<&str>) -> Result<usize, String> {
        let lookup = |name: &str| match name {
            "LISTEN_PID" => process.map(str::to_owned),
            _ => count.map(str::to_owned),
        };
        super::count(&lookup, 7)
    }

    #[test]
    fn sockets_are_counted_only_if_they_are_for_this_process() {
        let most = MAX_INHERITED.to_string();
        assert_eq!(counted(Some("7"), Some("2")), Ok(2));
        assert_eq!(counted(Some("7"), Some(&most)), Ok(MAX_INHERITED));
        for (process, count, why) in [
            (None, Some("1"), "no socket was handed over"),
            (Some("7"), None, "no socket was handed over"),
            (Some("8"), Some("1"), "the sockets are for process \"8\""),
            (Some("x"), Some("1"), "the sockets are for process \"x\""),
            (Some("7"), Some("0"), "LISTEN_FDS is \"0\""),
            (Some("7"), Some("-1"), "LISTEN_FDS is \"-1\""),
            (Some("7"), Some("65"), "LISTEN_FDS is \"65\""),
        ] {
            let error = counted(process, count).expect_err("it makes no sense");
            assert!(error.starts_with(why), "{error}");
        }
    }

    #[test]
    fn sockets_to_listen_on_are_told_by_their_family() {
        let folder = tempfile::tempdir().expect("a folder");
        let unix = UnixListener::bind(folder.path().join("s")).expect("it listens");
        let mut inherited = Inherited::default();
        inherited.add(unix.into()).expect("it can be listened on");
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // Not every machine has IPv6.
            if let Ok(tcp) = TcpListener::bind(address) {
                inherited.add(tcp.into()).expect("it can be listened on");
            }
        }
        assert_eq!(inherited.unix.len(), 1);
        assert!(!inherited.tcp.is_empty());
    }

    #[test]
    fn whatever_else_is_handed_over_is_refused() {
        let file = tempfile::tempfile().expect("a file");
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let (connection, _other) = UnixStream::pair().expect("a pair");
        let refused = |descriptor: OwnedFd, why: &str| {
            let error = Inherited::default().add(descriptor).expect_err(why);
            assert!(error.starts_with(why), "{error}");
        };
        refused(File::into(file), "is no socket");
        refused(datagrams.into(), "is no socket for streams");
        refused(connection.into(), "is a connection");
    }
}
