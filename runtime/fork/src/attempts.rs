// SPDX-License-Identifier: Apache-2.0
//! What native code in a confined process might try, one row for each attempt.
//!
//! The escape suite (`tests/escape.rs`) has each of them tried in the process of a cell, once with the
//! confinement and once without it. `docs/security.md` has the table.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// What can be read of every process of a program that tries attempts: whoever has this has read the
/// memory of another process.
pub static SECRET: [u8; SECRET_BYTES] = *b"read-by-a-hostile-cell..";

/// Bytes of [`SECRET`].
const SECRET_BYTES: usize = 24;

/// What stands around the process that tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The host's process.
    pub host: i32,
    /// Where the host has [`SECRET`].
    pub secret: usize,
    /// The process of another cell; it is a fork of the same zygote, and has everything where this one
    /// has it.
    pub neighbour: i32,
    /// A port of this machine that somebody listens at.
    pub port: u16,
    /// A folder that everybody may write to, with a file `read-me` in it and a socket `listening`.
    pub folder: PathBuf,
}

impl Surroundings {
    /// As one text.
    pub fn encode(&self) -> String {
        let Self {
            host,
            secret,
            neighbour,
            port,
            folder,
        } = self;
        format!("{host} {secret} {neighbour} {port} {}", folder.display())
    }

    /// From a text of [`encode`](Self::encode).
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, ' ');
        Some(Self {
            host: parts.next()?.parse().ok()?,
            secret: parts.next()?.parse().ok()?,
            neighbour: parts.next()?.parse().ok()?,
            port: parts.next()?.parse().ok()?,
            folder: PathBuf::from(parts.next()?),
        })
    }

    /// The name of a socket outside of the file system that belongs to these surroundings alone.
    pub fn abstract_name(&self) -> Vec<u8> {
        format!("{}/abstract", self.folder.display()).into_bytes()
    }

    /// A place in the folder.
    pub fn place(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// How an attempt shows that it has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It says so.
    Word,
    /// There is something of this name in the folder, whatever it says.
    Trace(&'static str),
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// Its name.
    pub name: &'static str,
    /// How it is known to have succeeded.
    pub proof: Proof,
    /// Tries it.
    pub run: fn(&Surroundings) -> io::Result<()>,
}

const fn attempt(name: &'static str, run: fn(&Surroundings) -> io::Result<()>) -> Attempt {
    Attempt {
        name,
        proof: Proof::Word,
        run,
    }
}

/// Every attempt.
pub const ATTEMPTS: &[Attempt] = &[
    // Files.
    attempt("read a file", |around| read(&around.place("read-me"))),
    attempt("write a file", |around| {
        File::create(around.place("written")).map(drop)
    }),
    attempt("change a file", |around| {
        let mut options = File::options();
        options.append(true).open(around.place("read-me")).map(drop)
    }),
    attempt("list a folder", |_| fs::read_dir("/").map(drop)),
    attempt("look at a file", |around| {
        fs::metadata(around.place("read-me")).map(drop)
    }),
    attempt("make a folder", |around| {
        fs::create_dir(around.place("made"))
    }),
    attempt("go to a folder", |_| std::env::set_current_dir("/")),
    attempt("read a device", |_| read_some(Path::new("/dev/urandom"))),
    attempt("make a file of memory", |_| {
        // SAFETY: the name is a NUL-terminated string.
        own(unsafe { libc::memfd_create(c"x".as_ptr(), 0) }).map(drop)
    }),
    // What the kernel tells of processes.
    attempt("read its own place in /proc", |_| {
        read_some(Path::new("/proc/self/maps"))
    }),
    attempt("read the host's place in /proc", |around| {
        read_some(Path::new(&format!("/proc/{}/maps", around.host)))
    }),
    attempt("read a neighbour's place in /proc", |around| {
        read_some(Path::new(&format!("/proc/{}/maps", around.neighbour)))
    }),
    attempt("open the host's memory", |around| {
        File::open(format!("/proc/{}/mem", around.host)).map(drop)
    }),
    attempt("list its own descriptors", |_| {
        fs::read_dir("/proc/self/fd").map(drop)
    }),
    // Sockets of each family.
    attempt("connect to a Unix socket", |around| {
        UnixStream::connect(around.place("listening")).map(drop)
    }),
    attempt("listen at a Unix socket", |around| {
        UnixListener::bind(around.place("bound")).map(drop)
    }),
    attempt("connect to an abstract socket", |around| {
        let address = SocketAddr::from_abstract_name(around.abstract_name())?;
        UnixStream::connect_addr(&address).map(drop)
    }),
    attempt("listen at an abstract socket", |around| {
        let name = format!("{}/bound", around.folder.display());
        let address = SocketAddr::from_abstract_name(name)?;
        UnixListener::bind_addr(&address).map(drop)
    }),
    attempt("send over a Unix socket without connecting", |_| {
        UnixDatagram::unbound().map(drop)
    }),
    attempt("make a pair of sockets", |_| UnixStream::pair().map(drop)),
    attempt("connect over TCP", |around| {
        TcpStream::connect((Ipv4Addr::LOCALHOST, around.port)).map(drop)
    }),
    attempt("listen over TCP", |_| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(drop)
    }),
    attempt("listen over TCP of IPv6", |_| {
        TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).map(drop)
    }),
    attempt("send over UDP", |around| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket
            .send_to(b"x", (Ipv4Addr::LOCALHOST, around.port))
            .map(drop)
    }),
    attempt("ask the kernel for its network", |_| {
        // SAFETY: the call takes three numbers.
        own(unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, 0) }).map(drop)
    }),
    // Programs, processes and threads.
    Attempt {
        name: "execute a program",
        proof: Proof::Trace("executed"),
        run: execute,
    },
    attempt("fork", |_| fork()),
    attempt("make a thread", |_| {
        let thread = std::thread::Builder::new().spawn(|| {})?;
        thread
            .join()
            .map_err(|_| io::Error::other("the thread panicked"))
    }),
    attempt("signal the host", |around| signal(around.host)),
    attempt("signal a neighbour", |around| signal(around.neighbour)),
    attempt("trace the host", |around| trace(around.host)),
    attempt("trace a neighbour", |around| trace(around.neighbour)),
    attempt("read the host's memory", |around| {
        read_memory(around.host, around.secret)
    }),
    attempt("read a neighbour's memory", |around| {
        read_memory(around.neighbour, (&raw const SECRET).addr())
    }),
    attempt("take a descriptor of the host", |around| {
        take_descriptor(around.host)
    }),
    // The machine.
    attempt("make a namespace", |_| {
        // SAFETY: the call takes flags.
        check(unsafe { libc::unshare(libc::CLONE_NEWUSER) })
    }),
    attempt("mount a file system", mount),
    attempt("change the root folder", |around| {
        // SAFETY: the call takes flags.
        check(unsafe { libc::unshare(libc::CLONE_NEWUSER) })?;
        std::os::unix::fs::chroot(&around.folder)
    }),
    attempt("share memory", |_| share_memory()),
    attempt("watch the file system", |_| {
        // SAFETY: the call takes flags.
        own(unsafe { libc::inotify_init1(0) }).map(drop)
    }),
    attempt("change its own limits", |_| {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Core);
        Ok(rustix::process::setrlimit(
            rustix::process::Resource::Core,
            limit,
        )?)
    }),
    attempt("be dumped", |_| {
        // SAFETY: the call takes two numbers.
        check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) })
    }),
    attempt("use an inherited descriptor", |_| use_inherited()),
    Attempt {
        name: "go on after a forbidden call",
        proof: Proof::Trace("went-on"),
        run: go_on,
    },
];

/// What a cell may do as long as V8 makes machine code, and not without.
pub const MAKE_CODE: Attempt = attempt("make code", |_| {
    const BYTES: usize = 4_096;
    let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: memory that the kernel chooses is nobody's.
    let code = unsafe { libc::mmap(std::ptr::null_mut(), BYTES, protection, kind, -1, 0) };
    if code == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was mapped above, is as long, and nobody has it.
    check(unsafe { libc::munmap(code, BYTES) })
});

fn read(path: &Path) -> io::Result<()> {
    fs::read(path).map(drop)
}

/// Reads a little of what may have no end.
fn read_some(path: &Path) -> io::Result<()> {
    let mut bytes = [0; 64];
    File::open(path)?.read_exact(&mut bytes)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn own(descriptor: libc::c_int) -> io::Result<OwnedFd> {
    check(descriptor)?;
    // SAFETY: the kernel has just opened it for this process, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Becomes a shell that leaves a trace. Does not return where that succeeds.
fn execute(around: &Surroundings) -> io::Result<()> {
    use std::os::unix::process::CommandExt;
    let trace = around.place("executed");
    let mut shell = std::process::Command::new("/bin/sh");
    Err(shell.args(["-c", ": > \"$0\""]).arg(trace).exec())
}

fn fork() -> io::Result<()> {
    // SAFETY: the child makes one call that is safe after a fork.
    let pid = unsafe { libc::fork() };
    match pid {
        0 => crate::life::end(0),
        1.. => {
            // SAFETY: with a null pointer the call writes nothing.
            check(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends a signal that does nothing to who does not ask for it.
fn signal(pid: i32) -> io::Result<()> {
    // SAFETY: the call takes two numbers.
    check(unsafe { libc::kill(pid, libc::SIGWINCH) })
}

fn trace(pid: i32) -> io::Result<()> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: this request reads and writes no memory of this process.
    match unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, none, none) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn read_memory(pid: i32, address: usize) -> io::Result<()> {
    let mut bytes = [0_u8; SECRET_BYTES];
    let local = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let remote = libc::iovec {
        iov_base: std::ptr::with_exposed_provenance_mut(address),
        iov_len: bytes.len(),
    };
    // SAFETY: the local part is writable for its length; the remote one is the kernel's to check.
    let got = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    if bytes == SECRET {
        Ok(())
    } else {
        Err(io::Error::other("something else was read"))
    }
}

fn take_descriptor(pid: i32) -> io::Result<()> {
    let number = |result: libc::c_long| libc::c_int::try_from(result).unwrap_or(-1);
    // SAFETY: both calls take numbers.
    let process = own(number(unsafe {
        libc::syscall(libc::SYS_pidfd_open, pid, 0)
    }))?;
    // SAFETY: as above.
    let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), 2, 0) };
    own(number(taken)).map(drop)
}

fn mount(around: &Surroundings) -> io::Result<()> {
    // SAFETY: the call takes flags.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) })?;
    let folder = std::ffi::CString::new(around.folder.as_os_str().as_encoded_bytes())?;
    let kind = c"tmpfs".as_ptr();
    // SAFETY: the strings end in NUL, and this kind of file system needs no data.
    check(unsafe { libc::mount(kind, folder.as_ptr(), kind, 0, std::ptr::null()) })
}

fn share_memory() -> io::Result<()> {
    // SAFETY: the call takes numbers.
    let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 4_096, 0o600) };
    check(id)?;
    // SAFETY: to remove it, the call needs no buffer.
    check(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) })
}

/// Finds a descriptor beside the stream that can be written to, and writes nothing to it.
fn use_inherited() -> io::Result<()> {
    const LAST: libc::c_int = 255;
    let usable = (crate::stream::STREAM + 1..=LAST).find(|descriptor| {
        // SAFETY: nothing is read of an empty buffer.
        unsafe { libc::write(*descriptor, std::ptr::dangling(), 0) == 0 }
    });
    usable
        .map(drop)
        .ok_or_else(|| io::Error::other("there is no descriptor"))
}

/// Has the signal that follows a forbidden call do nothing, and makes the call.
fn go_on(around: &Surroundings) -> io::Result<()> {
    extern "C" fn nothing(_signal: libc::c_int) {}
    let place = around.place("went-on");
    let place = std::ffi::CString::new(place.into_os_string().into_encoded_bytes())?;
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGSYS, nothing as *const () as libc::sighandler_t) };
    // SAFETY: the string ends in NUL.
    unsafe { libc::mkdir(place.as_ptr(), 0o700) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surroundings_are_understood_and_names_are_used_once() {
        let around = Surroundings {
            host: 1,
            secret: 2,
            neighbour: 3,
            port: 4,
            folder: PathBuf::from("/a folder/b"),
        };
        assert_eq!(Surroundings::decode(&around.encode()), Some(around));
        assert_eq!(Surroundings::decode("1 2 x 4 /"), None);
        let names: std::collections::HashSet<_> =
            ATTEMPTS.iter().map(|attempt| attempt.name).collect();
        assert_eq!(names.len(), ATTEMPTS.len());
    }
}
