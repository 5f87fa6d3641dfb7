// SPDX-License-Identifier: Apache-2.0
//! The confinement of a cell's process: what it may no longer do before it sees a client's byte.
//!
//! All of it is given up for good, and inherited by whatever the process could still make; so native
//! code that a script might come to run can compute and talk to the host over the one stream, and
//! nothing else. `docs/security.md` says what this promises and what it does not.

use std::collections::BTreeMap;

use code_mode_engine::platform::Jit;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreated, Scope,
};
use rustix::process::{Resource, Rlimit};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use crate::control::{Confinement, Setup};
use crate::memory::HAS_SHADOW;
use crate::stream::STREAM;

/// The newest Landlock that this code knows; a kernel with an older one enforces what it has.
pub(crate) const LANDLOCK: ABI = ABI::V6;

/// The calls into the kernel that a cell makes, by their numbers. Each has its reason.
const ALLOWED: &[libc::c_long] = &[
    // The stream.
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_ppoll,
    // V8's heap, its code and the C library's allocator.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_pkey_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Locks: with one thread none is ever waited for, but some are tried through the kernel.
    libc::SYS_futex,
    // Going on with a wait after the process was stopped and continued.
    libc::SYS_restart_syscall,
    // Clocks, where the kernel does not map them into the process.
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    // Seeds of hash tables and of random numbers.
    libc::SYS_getrandom,
    // What V8 and the standard library ask about this process itself.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrusage,
    // The end, by itself, and by a handler that says why.
    libc::SYS_exit_group,
    libc::SYS_exit,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    // A panic writes its message to standard error, which is closed.
    libc::SYS_write,
    libc::SYS_writev,
];

/// The calls that a zygote makes beside those of a cell, for itself and for its children until they are
/// locked in. The kernel looks at a process's own filter only for calls that the inherited one allows, so a
/// cell's is in force far sooner behind this one.
const ALLOWED_TO_ZYGOTES: &[libc::c_long] = &[
    // Orders, reports, and the streams of its children.
    libc::SYS_poll,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_socketpair,
    libc::SYS_setsockopt,
    libc::SYS_fcntl,
    libc::SYS_dup2,
    libc::SYS_close,
    libc::SYS_close_range,
    // A child, and what it says of itself before it is shut out.
    libc::SYS_clone,
    libc::SYS_getppid,
    libc::SYS_openat,
    libc::SYS_prctl,
    // Locking a child in.
    libc::SYS_landlock_restrict_self,
    libc::SYS_prlimit64,
    libc::SYS_seccomp,
];

/// How many descriptors a cell may have: its stream. `ppoll` refuses to look at more than that.
const DESCRIPTORS: u64 = STREAM as u64 + 1;

/// A confinement, made once by the zygote and closed behind each of its children.
pub(crate) struct Cage {
    lacking: Vec<&'static str>,
    /// What keeps a process from files, sockets and other processes; `None` where the kernel lacks it
    /// or none is wanted.
    ruleset: Option<RulesetCreated>,
    /// `None` where the kernel lacks it or none is wanted.
    filter: Option<BpfProgram>,
    data_bytes: u64,
    /// Whether none of it is wanted.
    open: bool,
}

impl Cage {
    /// Makes the confinement that a setup asks for.
    ///
    /// # Errors
    /// When the kernel lacks something and the setup is strict, or when something cannot be made.
    pub(crate) fn new(setup: &Setup) -> Result<Self, String> {
        let mut cage = Self {
            lacking: Vec::new(),
            ruleset: None,
            filter: None,
            data_bytes: setup.data_bytes,
            open: setup.confinement == Confinement::None,
        };
        if cage.open {
            cage.lacking.push("any confinement, as was asked for");
            return Ok(cage);
        }
        cage.lacking = lacking();
        if seccomp_can_trap() {
            cage.filter = Some(filter(ALLOWED, setup.jit)?);
            on_forbidden_call(forbidden);
        }
        if landlock_version() > 0 {
            cage.ruleset = Some(ruleset()?);
        }
        if setup.confinement == Confinement::Strict && !cage.lacking.is_empty() {
            return Err(strictly_lacking(&cage.lacking));
        }
        Ok(cage)
    }

    /// What the kernel lacks, or what was not asked for.
    pub(crate) fn lacking(&self) -> &[&'static str] {
        &self.lacking
    }

    /// Whether no confinement was asked for.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Allows the zygote only the calls that it and its children need. One that it makes all the same ends
    /// it, and another takes its place. Children inherit this filter, and name what they were ended for.
    pub(crate) fn lock_zygote_in(&self) -> Result<(), String> {
        if self.filter.is_none() {
            return Ok(());
        }
        let allowed = [ALLOWED, ALLOWED_TO_ZYGOTES].concat();
        apply(&filter(&allowed, Jit::On)?)
    }

    /// Takes all rights to files, sockets and other processes away.
    pub(crate) fn shut_out(&self) -> Result<(), String> {
        let Some(ruleset) = &self.ruleset else {
            return Ok(());
        };
        let ruleset = ruleset
            .try_clone()
            .map_err(|error| format!("Failed to take the ruleset of Landlock: {error}"))?;
        ruleset
            .restrict_self()
            .map(drop)
            .map_err(|error| format!("Failed to enforce Landlock: {error}"))
    }

    /// Sets the bounds of the process and allows it only the calls that it needs.
    pub(crate) fn lock_in(&self) -> Result<(), String> {
        if self.open {
            // Sanitizers and debuggers need memory, files and processes of their own.
            return Ok(());
        }
        let limits = [
            (
                Resource::Data,
                if HAS_SHADOW {
                    u64::MAX
                } else {
                    self.data_bytes
                },
            ),
            (Resource::Core, 0),
            (Resource::Fsize, 0),
            (Resource::Nofile, DESCRIPTORS),
            (Resource::Nproc, 0),
        ];
        for (resource, value) in limits {
            // What was inherited may be lower already, and only root could raise it.
            let inherited = rustix::process::getrlimit(resource).maximum;
            let value = inherited.map_or(value, |inherited| inherited.min(value));
            let limit = Rlimit {
                current: Some(value),
                maximum: Some(value),
            };
            rustix::process::setrlimit(resource, limit)
                .map_err(|error| format!("Failed to set the limit {resource:?}: {error}"))?;
        }
        let Some(filter) = &self.filter else {
            return Ok(());
        };
        use rustix::process::DumpableBehavior;
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|error| format!("Failed to make the process undumpable: {error}"))?;
        apply(filter)
    }
}

fn apply(filter: &BpfProgram) -> Result<(), String> {
    seccompiler::apply_filter(filter)
        .map_err(|error| format!("Failed to filter the calls of the process: {error}"))
}

/// What a confinement needs that the kernel lacks.
pub(crate) fn lacking() -> Vec<&'static str> {
    const LACKING: [(i64, &str); 4] = [
        (1, "Landlock"),
        (4, "Landlock for TCP (ABI 4)"),
        (5, "Landlock for devices (ABI 5)"),
        (6, "Landlock for signals and abstract sockets (ABI 6)"),
    ];
    let version = landlock_version();
    let landlock = LACKING.iter().find(|(needed, _)| version < *needed);
    let seccomp = (!seccomp_can_trap()).then_some("seccomp");
    landlock
        .map(|(_, what)| *what)
        .into_iter()
        .chain(seccomp)
        .collect()
}

/// Why a strict confinement cannot be had.
pub(crate) fn strictly_lacking(lacking: &[&str]) -> String {
    format!(
        "strict confinement needs what this kernel lacks: {}",
        lacking.join("; ")
    )
}

fn ruleset() -> Result<RulesetCreated, String> {
    let made = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(AccessNet::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?
            .create()
    };
    made().map_err(|error: landlock::RulesetError| {
        format!("Failed to make the ruleset of Landlock: {error}")
    })
}

/// The calls by which memory could become code, and which of their arguments says so.
const MAPPING: [libc::c_long; 3] = [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect];
const PROTECTION: u8 = 2;

/// That a call makes no memory code.
pub(crate) fn makes_no_code() -> Result<SeccompRule, BackendError> {
    let bit = u64::from(libc::PROT_EXEC.cast_unsigned());
    let without = SeccompCmpOp::MaskedEq(bit);
    let condition = SeccompCondition::new(PROTECTION, SeccompCmpArgLen::Dword, without, 0)?;
    SeccompRule::new(vec![condition])
}

fn filter(allowed: &[libc::c_long], jit: Jit) -> Result<BpfProgram, String> {
    let made = || {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            allowed.iter().map(|number| (*number, Vec::new())).collect();
        if jit == Jit::Off {
            for call in MAPPING {
                rules.insert(call, vec![makes_no_code()?]);
            }
        }
        let filter = SeccompFilter::new(
            rules,
            SeccompAction::Trap,
            SeccompAction::Allow,
            TargetArch::x86_64,
        )?;
        BpfProgram::try_from(filter)
    };
    made().map_err(|error| format!("Failed to make the filter of calls: {error}"))
}

/// The version of the kernel's Landlock; 0 or less where it has none.
pub(crate) fn landlock_version() -> i64 {
    const VERSION: libc::c_ulong = 1;
    // SAFETY: with this flag the call reads nothing and gives the version.
    unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            VERSION,
        )
    }
}

/// Whether the kernel can tell a process of a call that its filter forbids.
pub(crate) fn seccomp_can_trap() -> bool {
    let action = libc::SECCOMP_RET_TRAP;
    // SAFETY: the call reads the one number that it is given a pointer to.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0,
            &raw const action,
        )
    };
    result == 0
}

/// A handler of SIGSYS, which the kernel sends to a process whose filter forbids a call.
pub(crate) type OnForbiddenCall =
    extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Has this process, and all that are forked from it, call this when a call was forbidden. The handler
/// must make only calls that a signal may interrupt.
pub(crate) fn on_forbidden_call(handler: OnForbiddenCall) {
    // SAFETY: an all-zero sigaction is a valid one, and what is set in it is the handler's address and
    // flags.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut());
    }
}

/// The handler of SIGSYS: tells the host which call it was, and ends the process.
extern "C" fn forbidden(
    _signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let call = call_of(info);
    // SAFETY: the kernel passes a pointer to the context of what was interrupted.
    let registers = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let third = registers[libc::REG_RDX as usize];
    // The C library's way to end a process that has found itself broken.
    let aborts = call == libc::SYS_tgkill && third == i64::from(libc::SIGABRT);
    let message = crate::wire::last_words(call, aborts);
    // SAFETY: the descriptor is the stream, and `message` is readable for the length that is passed.
    // Whether it was sent changes nothing for this process, which ends.
    unsafe {
        libc::send(
            STREAM,
            message.as_ptr().cast(),
            message.len(),
            libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
        );
        libc::_exit(1)
    }
}

/// The number of the call that was forbidden, from what the kernel says of SIGSYS to its handler.
pub(crate) fn call_of(info: *const libc::siginfo_t) -> i64 {
    /// What the kernel writes for SIGSYS, `siginfo_t` of `<bits/types/siginfo_t.h>`.
    #[repr(C)]
    struct OfCall {
        numbers: [libc::c_int; 3],
        address: *const libc::c_void,
        call: libc::c_int,
    }
    // SAFETY: for SIGSYS the kernel passes a pointer to a siginfo_t with these fields.
    unsafe { (*info.cast::<OfCall>()).call }.into()
}
