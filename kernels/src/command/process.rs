//! One process from start to end: what it prints, its time limit, and the end of everything that it started.
//!
//! A process leads a group of its own, so that an interrupt at the terminal leaves it to finish its block. When the
//! leader has ended, by itself or by us, what is left of its group is killed. The calling thread waits in poll(2); a
//! run costs one process and no thread.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::collections::VecDeque;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long processes may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at a process whose pipes are silent. An end that closes them is seen at once.
const LONGEST_LOOK: Duration = Duration::from_millis(20);
const SHORTEST_LOOK: Duration = Duration::from_micros(200);
/// How much of what is said on standard error is kept.
const TAIL_BYTES: usize = 4096;
const TAIL_LINES: usize = 10;

/// How a process that did not succeed ended.
#[derive(Debug)]
pub(super) enum Failing {
    /// It could not be started.
    NotStarted(std::io::Error),
    /// With an exit code.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// By us, at its time limit.
    TimedOut(Duration),
    /// By us: it printed more than so many bytes.
    TooMuch(u64),
}

/// A process that did not succeed, and the last lines that it wrote to standard error.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) how: Failing,
    pub(super) said: Vec<String>,
}

/// What a process may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub(super) timeout: Option<Duration>,
    /// Bytes on standard output.
    pub(super) bytes: u64,
}

/// Runs `command` to its end: its standard output.
pub(super) fn run(command: &mut Command, allowance: Allowance) -> Result<Vec<u8>, Failure> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|e| Failure { how: Failing::NotStarted(e), said: Vec::new() })?;
    let group = Pid::from_child(&child);
    let mut pipes = Pipes::of(&mut child, allowance.bytes);
    let ended = attend(group, &mut pipes, allowance);
    // The leader has ended but is not reaped, so its group's number is still its own.
    let _ = kill_process_group(group, Signal::KILL);
    let status = child.wait();
    pipes.drain();
    let how = match (ended, status) {
        (Some(how), _) => how,
        (None, _) if pipes.too_much() => Failing::TooMuch(allowance.bytes),
        (None, Ok(status)) => match (status.code(), status.signal()) {
            (Some(0), _) => return Ok(pipes.printed),
            (Some(code), _) => Failing::Exit(code),
            (None, signal) => Failing::Signal(signal.unwrap_or(0)),
        },
        (None, Err(error)) => Failing::NotStarted(error),
    };
    Err(Failure { how, said: pipes.said() })
}

/// Reads until the leader of `group` has ended; why we ended it, if we did.
fn attend(group: Pid, pipes: &mut Pipes, allowance: Allowance) -> Option<Failing> {
    let mut deadline = allowance.timeout.and_then(|limit| Instant::now().checked_add(limit));
    let mut ended_by = None;
    let mut look = SHORTEST_LOOK;
    while !has_ended(group) {
        let now = Instant::now();
        if deadline.is_some_and(|at| now >= at) {
            if ended_by.is_none() {
                ended_by = allowance.timeout.map(Failing::TimedOut);
                let _ = kill_process_group(group, Signal::CONT);
                let _ = kill_process_group(group, Signal::TERM);
                deadline = Some(now + GRACE);
            } else {
                let _ = kill_process_group(group, Signal::KILL);
                deadline = None;
            }
        }
        if ended_by.is_none() && pipes.too_much() {
            ended_by = Some(Failing::TooMuch(allowance.bytes));
            let _ = kill_process_group(group, Signal::KILL);
        }
        let wait = deadline.map_or(look, |at| look.min(at.saturating_duration_since(now)));
        look = if pipes.read(wait) { SHORTEST_LOOK } else { (look * 2).min(LONGEST_LOOK) };
    }
    ended_by
}

/// Whether the process has ended. It is left to be reaped.
fn has_ended(process: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(process), options), Ok(None) | Err(rustix::io::Errno::INTR))
}

/// The ends of a process's standard output and standard error, and what came through.
struct Pipes {
    out: Option<ChildStdout>,
    err: Option<ChildStderr>,
    printed: Vec<u8>,
    limit: u64,
    tail: VecDeque<u8>,
}

impl Pipes {
    fn of(child: &mut Child, limit: u64) -> Pipes {
        let (out, err) = (child.stdout.take(), child.stderr.take());
        Pipes { out, err, printed: Vec::new(), limit, tail: VecDeque::new() }
    }

    fn too_much(&self) -> bool {
        self.printed.len() as u64 > self.limit
    }

    /// Waits for at most `wait`, and reads what is there. Returns whether anything was.
    fn read(&mut self, wait: Duration) -> bool {
        let (mut out_ready, mut err_ready) = (false, false);
        {
            let mut fds = Vec::with_capacity(2);
            fds.extend(self.out.iter().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
            fds.extend(self.err.iter().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
            let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
            if poll(&mut fds, Some(&wait)).is_ok_and(|n| n > 0) {
                let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
                out_ready = self.out.is_some() && ready.next().unwrap_or(false);
                err_ready = self.err.is_some() && ready.next().unwrap_or(false);
            }
        }
        let mut buffer = [0; 1 << 16];
        if out_ready && let Some(pipe) = &mut self.out {
            match read_some(pipe, &mut buffer) {
                0 => self.out = None,
                // One byte over the limit tells as much as all of them.
                n if !self.too_much() => self.printed.extend_from_slice(&buffer[..n]),
                _ => {}
            }
        }
        if err_ready && let Some(pipe) = &mut self.err {
            match read_some(pipe, &mut buffer) {
                0 => self.err = None,
                n => {
                    self.tail.extend(&buffer[..n]);
                    let over = self.tail.len().saturating_sub(TAIL_BYTES);
                    self.tail.drain(..over);
                }
            }
        }
        out_ready || err_ready
    }

    /// Reads what the ended processes have left in the pipes, without waiting for any that escaped the group.
    fn drain(&mut self) {
        while (self.out.is_some() || self.err.is_some()) && self.read(Duration::ZERO) {}
    }

    /// The last lines of standard error.
    fn said(&mut self) -> Vec<String> {
        let text = String::from_utf8_lossy(self.tail.make_contiguous()).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| (*line).to_owned()).collect()
    }
}

/// Bytes read; 0 at the end, which an error is, too.
fn read_some(pipe: &mut impl Read, buffer: &mut [u8]) -> usize {
    loop {
        match pipe.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return result.unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, timeout_ms: Option<u64>, bytes: u64) -> Result<Vec<u8>, Failure> {
        let timeout = timeout_ms.map(Duration::from_millis);
        run(Command::new("sh").args(["-c", script]).stdin(Stdio::null()), Allowance { timeout, bytes })
    }

    #[test]
    fn output_is_exact_however_much_there_is() {
        assert_eq!(sh("printf 'a\\0b\\n\\n'", None, 100).unwrap(), b"a\0b\n\n");
        let much = sh("head -c 3000000 /dev/zero; head -c 300000 /dev/zero >&2", None, 1 << 22).unwrap();
        assert_eq!(much.len(), 3_000_000);
        assert_eq!(sh("exec >&- 2>&-; exit 0", None, 1).unwrap(), b"");
    }

    #[test]
    fn failures_tell_how_and_what_was_said() {
        let failed = sh("echo one >&2; echo; echo two >&2; exit 3", None, 100).unwrap_err();
        assert!(matches!(failed.how, Failing::Exit(3)));
        assert_eq!(failed.said, ["one", "two"]);
        assert!(matches!(sh("kill -SEGV $$", None, 1).unwrap_err().how, Failing::Signal(11)));
        let lines = sh("seq 100 >&2; exit 1", None, 1).unwrap_err().said;
        assert_eq!((lines.len(), &lines[9][..]), (TAIL_LINES, "100"));
        let missing = run(&mut Command::new("/nosuch/program"), Allowance { timeout: None, bytes: 1 });
        assert!(matches!(missing.unwrap_err().how, Failing::NotStarted(_)));
    }

    #[test]
    fn more_than_the_limit_ends_a_process() {
        assert_eq!(sh("printf 123", None, 3).unwrap(), b"123");
        assert!(matches!(sh("printf 1234", None, 3).unwrap_err().how, Failing::TooMuch(3)));
        assert!(matches!(sh("yes", None, 100_000).unwrap_err().how, Failing::TooMuch(100_000)));
    }

    #[test]
    fn a_hanging_process_ends_with_its_children() {
        let hung = sh("echo started >&2; (sleep 1000) & sleep 1000", Some(50), 100).unwrap_err();
        assert!(matches!(hung.how, Failing::TimedOut(_)));
        let heard = sh("trap 'echo bye >&2; exit 1' TERM; while :; do sleep 0.01; done", Some(200), 100);
        assert!(matches!(heard.as_ref().unwrap_err().how, Failing::TimedOut(_)));
        assert_eq!(heard.unwrap_err().said.last().unwrap(), "bye");
    }

    #[test]
    fn what_a_process_leaves_behind_ends_with_it() {
        let pid = String::from_utf8(sh("sleep 1000 & echo $!", None, 100).unwrap()).unwrap();
        let gone = || match std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())) {
            Err(_) => true,
            Ok(stat) => stat.contains(") Z "),
        };
        while !gone() {
            std::thread::yield_now();
        }
    }
}
