//! The first process of an attempt: how it is born, and how its end and that of its descendants is heard. The only file
//! that calls `clone3`, `execve`, `wait4` and `signalfd`.
//!
//! Invariants: it leads a session and a process group of its own; it is in its control group from its first instruction;
//! it dies with its shepherd (its own children need not); it inherits three streams and no other file.

#![allow(unsafe_code)]

use super::guise::User;
use rustix::process::Pid;
use std::ffi::{CString, c_char, c_int};
use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

const INTO_CGROUP: u64 = 0x2_0000_0000;

/// What it shall become.
pub(super) struct Plan {
    /// The program's path.
    pub(super) program: CString,
    /// Its words, the first being its own name.
    pub(super) words: Vec<CString>,
    /// `NAME=value` each.
    pub(super) environment: Vec<CString>,
    /// Where it runs.
    pub(super) folder: CString,
    /// Standard input, output and error.
    pub(super) streams: [File; 3],
    /// Its file mode creation mask.
    pub(super) umask: u32,
    /// The most bytes of data of each of its processes, where nothing better limits them.
    pub(super) data_limit: Option<u64>,
    /// As whom, where that is another user.
    pub(super) user: Option<User>,
}

/// A process that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reaped {
    /// Its number.
    pub(super) pid: i32,
    /// How it ended.
    pub(super) status: Status,
    /// Time in its own code, with that of the children that it waited for.
    pub(super) user: Duration,
    /// Time in the operating system, likewise.
    pub(super) system: Duration,
    /// The most memory of one of them, kibibytes.
    pub(super) peak_kib: u64,
    /// Bytes read from disks and written to them.
    pub(super) bytes: [u64; 2],
    /// How often it gave its CPU up by itself, and how often it had to.
    pub(super) switches: [u64; 2],
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// With an exit code.
    Exited(u8),
    /// By a signal.
    Signalled(u8),
}

/// Starts it. What cannot be done after the birth is said on its standard error, and it exits with 127 when there is no
/// such program, else with 126.
///
/// The calling process must have one thread alone. Where it is `metered`, by who counts the memory of its group, it is
/// born in our memory: then what we had is counted as a peak of its own when it is reaped.
///
/// # Errors
/// The operating system's, when it cannot be born.
pub(super) fn start(plan: &Plan, cradle: Option<BorrowedFd>, metered: bool) -> Result<Pid> {
    let pointers = |all: &[CString]| -> Vec<*const c_char> {
        all.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (words, environment) = (pointers(&plan.words), pointers(&plan.environment));
    let child = Child { plan, words: &words, environment: &environment, parent: std::process::id() };
    if !metered {
        return old_birth(&child, cradle);
    }
    match birth(&child, cradle) {
        // Some containers allow no clone3.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => old_birth(&child, cradle),
        born => born,
    }
}

/// What a child needs to become the program.
struct Child<'a> {
    plan: &'a Plan,
    words: &'a [*const c_char],
    environment: &'a [*const c_char],
    parent: u32,
}

/// In the child: becomes the program, or says why not.
extern "C" fn live(child: &Child) -> ! {
    let failed = become_it(child.plan, child.words, child.environment, child.parent);
    let missing = failed.1.raw_os_error() == Some(libc::ENOENT);
    let line = format!("muster: cannot {}: {}\n", failed.0, failed.1);
    let _ = rustix::io::write(&child.plan.streams[2], line.as_bytes());
    // SAFETY: it ends this process at once, without what its parent has set up for its own end.
    unsafe { libc::_exit(if missing { 127 } else { 126 }) }
}

/// Bytes of the stack on which a child becomes the program.
const STACK: usize = 64 << 10;

/// Bears a child that uses our memory until it has become the program, as in `vfork`, while we stand still: to copy the tables
/// of our memory, and what is written of it meanwhile, takes longer than all the rest of a birth.
fn birth(child: &Child, cradle: Option<BorrowedFd>) -> Result<Pid> {
    let mut stack: Vec<u128> = Vec::with_capacity(STACK / size_of::<u128>());
    // flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup
    let mut arguments = [0u64; 11];
    let sharing = (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
    arguments[0] = sharing | if cradle.is_some() { INTO_CGROUP } else { 0 };
    arguments[4] = libc::SIGCHLD as u64;
    (arguments[5], arguments[6]) = (stack.as_mut_ptr() as u64, STACK as u64);
    arguments[10] = cradle.map_or(0, |fd| fd.as_raw_fd() as u64);
    // SAFETY: the arguments, the stack and what the child needs live through the call, which returns here when the child
    // has become another program or is dead; it runs on a stack of its own, never returns, and sets nothing of ours.
    match unsafe { clone_to_live(&arguments, child) } {
        error @ ..0 => Err(Error::from_raw_os_error(-error as i32)),
        pid => Ok(number(pid as i32)),
    }
}

/// Calls `clone3` with these arguments, which give the child a stack, and has the child call [`live`].
///
/// # Safety
/// The stack and `child` live until the child has become another program: the caller stands still until then.
#[cfg(target_arch = "x86_64")]
unsafe fn clone_to_live(arguments: &[u64; 11], child: &Child) -> i64 {
    let mut pid = libc::SYS_clone3;
    // SAFETY: as the caller promises; the child has no use for what it finds in other registers.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") pid,
            in("rdi") arguments.as_ptr(),
            in("rsi") size_of_val(arguments),
            in("r12") child,
            in("r13") live as extern "C" fn(&Child) -> !,
            out("rcx") _,
            out("r11") _,
        );
    }
    pid
}

/// Calls `clone3` with these arguments, which give the child a stack, and has the child call [`live`].
///
/// # Safety
/// The stack and `child` live until the child has become another program: the caller stands still until then.
#[cfg(target_arch = "aarch64")]
unsafe fn clone_to_live(arguments: &[u64; 11], child: &Child) -> i64 {
    let mut pid = arguments.as_ptr() as i64;
    // SAFETY: as the caller promises; the child has no use for what it finds in other registers.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk 1",
            "2:",
            inlateout("x0") pid,
            in("x1") size_of_val(arguments),
            in("x8") libc::SYS_clone3,
            in("x20") child,
            in("x21") live as extern "C" fn(&Child) -> !,
        );
    }
    pid
}

/// Says that there is no such call.
///
/// # Safety
/// It does nothing.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn clone_to_live(_: &[u64; 11], _: &Child) -> i64 {
    -i64::from(libc::ENOSYS)
}

/// Bears a child that has a copy of our memory.
fn old_birth(child: &Child, cradle: Option<BorrowedFd>) -> Result<Pid> {
    let mut door = None;
    if let Some(group) = cradle {
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
        door = Some(rustix::fs::openat(group, "cgroup.procs", flags, rustix::fs::Mode::empty())?);
    }
    // SAFETY: we have one thread, so the child's copy of everything is in order.
    match unsafe { libc::fork() } {
        -1 => Err(Error::last_os_error()),
        0 => {
            if door.is_some_and(|door| rustix::io::write(&door, b"0").is_err()) {
                // SAFETY: as in `start`.
                unsafe { libc::_exit(126) }
            }
            live(child)
        }
        pid => Ok(number(pid)),
    }
}

fn number(pid: i32) -> Pid {
    Pid::from_raw(pid).expect("a child has a number")
}

/// In the child: takes the program's shape. Returns only when that fails, with what did.
fn become_it(
    plan: &Plan,
    words: &[*const c_char],
    environment: &[*const c_char],
    parent: u32,
) -> (String, Error) {
    let _ = rustix::process::setsid();
    // Before it is bound to its shepherd's life, which the system forgets when rights change.
    if let Some(Err(e)) = plan.user.as_ref().map(User::become_it) {
        return ("take its user's rights".into(), e);
    }
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    if rustix::process::getppid().is_none_or(|pid| pid.as_raw_nonzero().get() as u32 != parent) {
        return ("go on: its shepherd is dead".into(), Error::from_raw_os_error(libc::ESRCH));
    }
    for (stream, at) in plan.streams.iter().zip(0..) {
        // SAFETY: both are open files of this process; what the numbers 0 to 2 stood for is not used any more.
        if unsafe { libc::dup2(stream.as_raw_fd(), at) } < 0 {
            return ("set its streams".into(), Error::last_os_error());
        }
    }
    if let Err(e) = rustix::process::chdir(&*plan.folder) {
        return (format!("enter the directory {}", plan.folder.to_string_lossy()), e.into());
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(plan.umask & 0o777));
    if let Some(most) = plan.data_limit {
        let limit = rustix::process::Rlimit { current: Some(most), maximum: Some(most) };
        let _ = rustix::process::setrlimit(rustix::process::Resource::Data, limit);
    }
    // SAFETY: the default action is no function of ours, and the set is one of numbers. Rust ignores SIGPIPE, the
    // shepherd keeps SIGCHLD back, and programs expect neither.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
    // SAFETY: all are texts that end with 0, in lists that end with null, and the plan owns them.
    unsafe { libc::execve(plan.program.as_ptr(), words.as_ptr(), environment.as_ptr()) };
    (format!("start {}", plan.program.to_string_lossy()), Error::last_os_error())
}

/// Hears of one process that has ended, of all children of this one, waiting for it or not. None when none has, or when
/// there is no child at all.
pub(super) fn reap(wait: bool) -> Option<Reaped> {
    let mut status: c_int = 0;
    // SAFETY: all of its members are numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let pid = loop {
        let flags = if wait { 0 } else { libc::WNOHANG };
        // SAFETY: both places are ours and live through the call.
        match unsafe { libc::wait4(-1, &raw mut status, flags, &raw mut usage) } {
            -1 if Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
            pid => break pid,
        }
    };
    let time = |t: libc::timeval| Duration::from_micros((t.tv_sec * 1_000_000 + t.tv_usec).unsigned_abs());
    (pid > 0).then(|| Reaped {
        pid,
        status: match libc::WIFSIGNALED(status) {
            true => Status::Signalled(libc::WTERMSIG(status) as u8),
            false => Status::Exited(libc::WEXITSTATUS(status) as u8),
        },
        user: time(usage.ru_utime),
        system: time(usage.ru_stime),
        peak_kib: usage.ru_maxrss.unsigned_abs(),
        bytes: [usage.ru_inblock, usage.ru_oublock].map(|blocks| blocks.unsigned_abs() * 512),
        switches: [usage.ru_nvcsw, usage.ru_nivcsw].map(i64::unsigned_abs),
    })
}

/// Whether this process has a child, alive or dead.
pub(super) fn has_children() -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: without a place for what is found, nothing is written.
    unsafe { libc::waitid(libc::P_ALL, 0, std::ptr::null_mut(), flags) == 0 }
}

/// A file that is readable when a child has ended, also one that was inherited. From now on this process hears of them
/// in no other way.
///
/// # Errors
/// The operating system's.
pub(super) fn ends() -> Result<OwnedFd> {
    // SAFETY: all of its members are numbers, and the call makes it a set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours and lives through the calls; the default action is no function of ours.
    let fd = unsafe {
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        // Whoever started us may have been of another mind.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the call has opened it for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
