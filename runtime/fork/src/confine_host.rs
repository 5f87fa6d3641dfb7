// SPDX-License-Identifier: Apache-2.0
//! The confinement of the host's own process, which reads what clients and cells send.
//!
//! It is in force before the first byte of either is read, on the main thread before there is another,
//! so that all inherit it: no program is executed, no process and no socket is made, no file is written,
//! and only the files are read that the command line names. Starting processes is the starter's business,
//! which is there before; sockets to listen on are bound before as well.
//!
//! A call that is forbidden is refused with EPERM and named on standard error. The host goes on: it
//! serves others, and what was refused did not happen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use landlock::{
    Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, Scope,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::calls::KernelCall;
use crate::confine::{self, LANDLOCK};
use crate::control::Confinement;

/// What a host has to do although it is confined: it depends on how it listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostNeeds {
    /// It takes connections on sockets that are bound already.
    pub accepts: bool,
    /// Files that it reads again and again. They may be replaced, so their folders are open to reading.
    pub reads: Vec<PathBuf>,
    /// Sockets in the file system that it takes away at the end; so from their folders it may remove.
    pub removes: Vec<PathBuf>,
}

/// Refused calls that are told of, so that nobody can fill a log with them.
pub const REFUSALS_TOLD: usize = 16;

/// What the standard library reads to know how many processors there are.
const ALWAYS_READ: [&str; 2] = ["/proc/self/cgroup", "/sys/fs/cgroup"];

/// The calls that every host makes, by their numbers.
const ALLOWED: &[libc::c_long] = &[
    // Streams, and files that are open.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup2,
    libc::SYS_dup3,
    libc::SYS_copy_file_range,
    libc::SYS_splice,
    libc::SYS_sendfile,
    // Cells, zygotes and the starter are at the other end of sockets.
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    // Memory. What would make it code is below.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads.
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_membarrier,
    libc::SYS_gettid,
    libc::SYS_exit,
    // Signals to this process.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Its children, by their descriptors: no other process can be signalled.
    libc::SYS_pidfd_send_signal,
    libc::SYS_waitid,
    libc::SYS_wait4,
    libc::SYS_process_mrelease,
    // What it asks about itself.
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getrusage,
    libc::SYS_uname,
    libc::SYS_getrandom,
    libc::SYS_exit_group,
];

/// The calls that a host makes that takes connections.
const ALLOWED_TO_ACCEPT: &[libc::c_long] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
];

/// The calls that a host makes that takes its sockets away.
const ALLOWED_TO_REMOVE: &[libc::c_long] = &[libc::SYS_unlink, libc::SYS_unlinkat];

/// Confines this process for good; gives what of that the kernel lacks.
///
/// To be called on the main thread before there is another, once all sockets are bound and the starter is
/// started.
///
/// # Errors
/// When the kernel lacks something and the confinement is to be strict, or when it refuses.
pub fn confine_host(
    confinement: Confinement,
    needs: &HostNeeds,
) -> Result<Vec<&'static str>, String> {
    if confinement == Confinement::None {
        return Ok(vec!["any confinement, as was asked for"]);
    }
    let lacking = confine::lacking();
    if confinement == Confinement::Strict && !lacking.is_empty() {
        return Err(confine::strictly_lacking(&lacking));
    }
    if confine::landlock_version() > 0 {
        shut_out(needs).map_err(|error| format!("Failed to enforce Landlock: {error}"))?;
    }
    if confine::seccomp_can_trap() {
        confine::on_forbidden_call(refuse);
        for filter in filters(needs)? {
            seccompiler::apply_filter(&filter)
                .map_err(|error| format!("Failed to filter the calls of the host: {error}"))?;
        }
    }
    Ok(lacking)
}

fn shut_out(needs: &HostNeeds) -> Result<(), landlock::RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        // Signals stay possible: cells are outside, since their starter was there before.
        .scope(Scope::AbstractUnixSocket)?
        .create()?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    for path in ALWAYS_READ {
        ruleset = allow(ruleset, Path::new(path), read)?;
    }
    for path in needs.reads.iter().flat_map(|path| folders_of(path)) {
        ruleset = allow(ruleset, &path, read)?;
    }
    for path in needs.removes.iter().flat_map(|path| folders_of(path)) {
        ruleset = allow(ruleset, &path, AccessFs::RemoveFile.into())?;
    }
    ruleset.restrict_self().map(drop)
}

fn allow(
    ruleset: landlock::RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<landlock::RulesetCreated, landlock::RulesetError> {
    // What is not there needs no leave; whoever misses it says so.
    let Ok(descriptor) = PathFd::new(path) else {
        return Ok(ruleset);
    };
    // Only a folder can be listed.
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(LANDLOCK)
    };
    ruleset.add_rule(PathBeneath::new(descriptor, access))
}

/// The folder of a file, and where it is a link the folder of what it points to.
fn folders_of(path: &Path) -> Vec<PathBuf> {
    let target = path.canonicalize().ok();
    [Some(path), target.as_deref()]
        .into_iter()
        .flatten()
        .filter_map(Path::parent)
        .map(|folder| match folder.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => folder.to_owned(),
        })
        .collect()
}

/// The filters: what one of them refuses is refused.
fn filters(needs: &HostNeeds) -> Result<[BpfProgram; 2], String> {
    let made = || {
        // The C library asks for threads by this call first. What it is to make stands in memory, where no
        // filter can look; without the call it is asked for by one that says it in numbers.
        let older_threads = SeccompFilter::new(
            BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
            SeccompAction::Allow,
            SeccompAction::Errno(libc::ENOSYS.cast_unsigned()),
            TargetArch::x86_64,
        )?;
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
        rules.insert(libc::SYS_clone3, Vec::new());
        if needs.accepts {
            rules.extend(ALLOWED_TO_ACCEPT.iter().map(|call| (*call, Vec::new())));
        }
        if !needs.removes.is_empty() {
            rules.extend(ALLOWED_TO_REMOVE.iter().map(|call| (*call, Vec::new())));
        }
        rules.extend(with_conditions()?);
        let all = SeccompFilter::new(
            rules,
            SeccompAction::Trap,
            SeccompAction::Allow,
            TargetArch::x86_64,
        )?;
        Ok([older_threads.try_into()?, all.try_into()?])
    };
    made().map_err(|error: seccompiler::BackendError| {
        format!("Failed to make the filter of calls: {error}")
    })
}

/// The calls that are allowed with some arguments only.
fn with_conditions() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let number = |value: libc::c_int| u64::from(value.cast_unsigned());
    // An argument of which these bits have this value.
    let bits = |argument: u8, mask: libc::c_int, value: libc::c_int| {
        SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(number(mask)),
            number(value),
        )
    };
    let is = |argument: u8, value: libc::c_int| bits(argument, -1, value);
    let one_of = |argument: u8, values: &[libc::c_int]| {
        values
            .iter()
            .map(|value| SeccompRule::new(vec![is(argument, *value)?]))
            .collect::<Result<Vec<_>, seccompiler::BackendError>>()
    };
    let only = |conditions| Ok::<_, seccompiler::BackendError>(vec![SeccompRule::new(conditions)?]);
    let writes =
        libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | (libc::O_TMPFILE & !libc::O_DIRECTORY);
    let kinds = !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
    let null = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    let own = libc::c_int::try_from(std::process::id()).unwrap_or(0);
    Ok(BTreeMap::from([
        // Files are read only; Landlock says which.
        (
            libc::SYS_openat,
            only(vec![bits(2, writes, libc::O_RDONLY)?])?,
        ),
        // No memory becomes code.
        (libc::SYS_mmap, vec![confine::makes_no_code()?]),
        (libc::SYS_mprotect, vec![confine::makes_no_code()?]),
        // Threads, no processes.
        (
            libc::SYS_clone,
            only(vec![bits(0, libc::CLONE_THREAD, libc::CLONE_THREAD)?])?,
        ),
        // Channels to zygotes, and the copying of files and terminals. Not of datagrams, which could be
        // sent to others.
        (
            libc::SYS_socketpair,
            [libc::SOCK_STREAM, libc::SOCK_SEQPACKET]
                .into_iter()
                .map(|kind| SeccompRule::new(vec![is(0, libc::AF_UNIX)?, bits(1, kinds, kind)?]))
                .collect::<Result<_, seccompiler::BackendError>>()?,
        ),
        // The mode of a descriptor, whether it is a terminal, and how much there is to read. Nothing that
        // puts words into a terminal.
        (
            libc::SYS_ioctl,
            [libc::FIONBIO, libc::FIOCLEX, libc::TCGETS, libc::FIONREAD]
                .into_iter()
                .map(|request| {
                    let request = SeccompCondition::new(
                        1,
                        SeccompCmpArgLen::Dword,
                        SeccompCmpOp::Eq,
                        request,
                    )?;
                    SeccompRule::new(vec![request])
                })
                .collect::<Result<_, _>>()?,
        ),
        // Names of threads.
        (
            libc::SYS_prctl,
            one_of(0, &[libc::PR_SET_NAME, libc::PR_GET_NAME])?,
        ),
        // Limits are read, not set.
        (libc::SYS_prlimit64, only(vec![null])?),
        // A script that has computed for long goes behind others.
        (
            libc::SYS_getpriority,
            one_of(0, &[libc::PRIO_PROCESS.cast_signed()])?,
        ),
        (
            libc::SYS_setpriority,
            one_of(0, &[libc::PRIO_PROCESS.cast_signed()])?,
        ),
        // The C library's way to end a process that has found itself broken.
        (libc::SYS_tgkill, only(vec![is(0, own)?])?),
    ]))
}

/// The handler of SIGSYS: the call gives EPERM.
extern "C" fn refuse(_signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let call = confine::call_of(info);
    tell(KernelCall(call));
    // SAFETY: the kernel passes a pointer to the context of what was interrupted, to which it returns.
    unsafe {
        (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RAX as usize] =
            -i64::from(libc::EPERM);
    }
}

/// Names a refused call on standard error, without memory and without waiting.
fn tell(call: KernelCall) {
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    if TOLD.fetch_add(1, Ordering::Relaxed) >= REFUSALS_TOLD {
        return;
    }
    let mut line = Line {
        bytes: [0; LINE_BYTES],
        length: 0,
    };
    // A line that is cut still says what was refused.
    let _ = std::fmt::write(
        &mut line,
        format_args!("code_mode_host: a call into the kernel was refused: {call}\n"),
    );
    let mut room = libc::pollfd {
        fd: libc::STDERR_FILENO,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: `room` is one valid entry, and the bytes are readable for the length that is passed. With
    // room in a pipe for anything there is room for a line.
    unsafe {
        if libc::poll(&raw mut room, 1, 0) == 1 {
            libc::write(libc::STDERR_FILENO, line.bytes.as_ptr().cast(), line.length);
        }
    }
}

/// Bytes of the line that names a refused call.
const LINE_BYTES: usize = 160;

/// A line that is written without memory.
struct Line {
    bytes: [u8; LINE_BYTES],
    length: usize,
}

impl std::fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let rest = self.bytes.get_mut(self.length..).unwrap_or_default();
        let count = text.len().min(rest.len());
        for (to, from) in rest.iter_mut().zip(text.as_bytes()) {
            *to = *from;
        }
        self.length += count;
        Ok(())
    }
}
