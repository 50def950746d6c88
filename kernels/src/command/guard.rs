//! The guard: a small process that ends what a rank has left running, and removes its scratch folder.
//!
//! A rank may be killed by a signal that nobody can handle; its runs, and what those have started, must not go on
//! then, and a daemon that a run has started must not outlive the job. The guard waits on a pipe that closes with the rank, and kills every process that carries the rank's mark in
//! its environment, children of children included. A parent-death signal would reach the direct child alone, and
//! would need unsafe code between fork and exec.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// The variable that marks the processes of one rank.
const MARK: &str = "MUSTER_COMMAND_MARK";

/// `$1` is the mark, `$2` the scratch folder. Who forks while it is looked for is found in the next round.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
read -r word
rounds=0
while [ $rounds -lt 200 ]; do
    left=$(grep -lsF -- "$1" /proc/[0-9]*/environ)
    [ -n "$left" ] || break
    for file in $left; do
        pid=${file#/proc/}
        kill -KILL "${pid%/environ}"
    done
    rounds=$((rounds + 1))
done
rm -rf -- "$2"
"#;

/// The guard of one rank's runs, with their scratch folder.
pub(super) struct Guard {
    mark: String,
    scratch: TempDir,
    child: Child,
}

impl Guard {
    /// Starts the guard.
    ///
    /// # Errors
    /// The operating system's: no folder for temporary files, or no sh.
    pub(super) fn start() -> std::io::Result<Guard> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let scratch = tempfile::Builder::new().prefix("muster-command-").tempdir()?;
        // The folder's random name makes the mark no other rank's; the point ends it.
        let name = scratch.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}.{n}.{name}.", std::process::id());
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "muster-guard"]).arg(format!("{MARK}={mark}")).arg(scratch.path());
        command.env_remove(MARK).current_dir("/").process_group(0);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Guard { mark, scratch, child })
    }

    /// Puts what `command` will start under the guard.
    pub(super) fn watch<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env(MARK, &self.mark)
    }

    /// A folder for files of runs; removed with the guard.
    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }
}

/// A rank that ends in good order does what the system does for one that is killed: it closes the pipe.
impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    #[test]
    fn a_rank_leaves_nothing_behind() {
        let guard = Guard::start().unwrap();
        let scratch = guard.scratch().to_owned();
        let mut command = Command::new("sh");
        // A child and a grandchild in a session of its own, which no process group holds.
        let script = "sleep 1000 & setsid sleep 1000 & echo ready; wait";
        let mut child = guard.watch(command.args(["-c", script]).stdout(Stdio::piped())).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        drop(guard);
        assert_eq!(line, "ready\n");
        assert_eq!(out.read_line(&mut line).unwrap(), 0, "whoever held the pipe has ended");
        child.wait().unwrap();
        assert!(!scratch.exists());
    }
}
