//! A pool of its own in a folder of its own, which is gone when the test is over.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) struct Pool {
    folder: tempfile::TempDir,
    /// What `muster up` is told of it.
    words: &'static [&'static str],
}

impl Pool {
    /// A pool that is up.
    pub(crate) fn up() -> Pool {
        Pool::up_with(&[])
    }

    /// The same, with more words to `muster up`.
    pub(crate) fn up_with(words: &'static [&'static str]) -> Pool {
        let pool = Pool { folder: tempfile::tempdir().expect("a folder"), words };
        std::fs::create_dir(pool.folder.path().join("work")).expect("a folder");
        pool.bring_up();
        pool
    }

    /// A pool that is up with a configuration file, which may name files in the folder of its work.
    pub(crate) fn configured(text: impl FnOnce(&Path) -> String) -> Pool {
        let pool = Pool { folder: tempfile::tempdir().expect("a folder"), words: &[] };
        std::fs::create_dir(pool.work()).expect("a folder");
        std::fs::create_dir(pool.state()).expect("a folder");
        std::fs::write(pool.state().join("config.toml"), text(&pool.work())).expect("a file");
        pool.bring_up();
        pool
    }

    /// Brings it up, which it may have been before.
    pub(crate) fn bring_up(&self) {
        self.ok(&[&["up", "--detach"], self.words].concat());
    }

    /// Where jobs are submitted from.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// `muster` with these words, not started.
    pub(crate) fn muster(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command.args(words).current_dir(self.work()).env("MUSTER_STATE", self.state());
        command
    }

    /// Runs `muster` with these words.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.muster(words).output().expect("muster starts")
    }

    /// What `muster` prints with these words, which it likes.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What it says of these words, which it refuses with an exit code.
    pub(crate) fn refused(&self, words: &[&str], exit: i32) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit), "{words:?}: {said}");
        said
    }

    /// The number of a job submitted with these words.
    pub(crate) fn submit(&self, words: &[&str]) -> String {
        self.ok(&[&["submit", "--parsable"], words].concat()).trim().to_owned()
    }

    /// The JSON that `muster` prints with these words.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[words, &["--json"]].concat())).expect("JSON")
    }

    /// Attempts of a job that is over, the newest first: outcome, exit code, signal.
    pub(crate) fn past(&self, job: &str) -> Vec<(String, u64, u64)> {
        let past = self.json(&["history", "-n", "100000", job]);
        let one = |row: &Value| {
            let number = |name: &str| row[name].as_u64().unwrap_or(0);
            (row["outcome"].as_str().unwrap_or("").to_owned(), number("exit_code"), number("signal"))
        };
        past.as_array().expect("rows").iter().map(one).collect()
    }

    /// Waits until a job is over, and says how its attempts ended.
    pub(crate) fn wait(&self, job: &str) -> Vec<(String, u64, u64)> {
        // Something that starts after it: its end is the other's.
        self.ok(&[
            "submit",
            "--quiet",
            "--wait",
            "--dependency",
            &format!("afterany:{job}"),
            "--",
            "/bin/true",
        ]);
        self.past(job)
    }

    /// Waits until a file holds something, and says what.
    pub(crate) fn read(&self, name: &str, holds: impl Fn(&str) -> bool) -> String {
        use rustix::fs::inotify;
        let changes = inotify::init(inotify::CreateFlags::CLOEXEC).expect("inotify");
        let what = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&changes, self.work(), what).expect("a folder");
        let path = self.work().join(name);
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if holds(&text) {
                return text;
            }
            let mut wait = [rustix::event::PollFd::new(&changes, rustix::event::PollFlags::IN)];
            let most = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
            let changed = rustix::event::poll(&mut wait, Some(&most)).expect("poll");
            assert!(changed > 0, "{name} never held what was waited for: {text:?}");
            let _ = rustix::io::read(&changes, &mut [0; 4096]);
        }
    }

    /// Writes a script.
    pub(crate) fn script(&self, name: &str, text: &str) {
        std::fs::write(self.work().join(name), text).expect("a script");
    }

    /// Kills the processes that were started with these words, with SIGKILL, and returns when they are gone.
    pub(crate) fn kill(&self, words: &[&str]) {
        let killed = living(&self.state(), words);
        assert!(!killed.is_empty(), "nothing runs {words:?}");
        for pid in killed {
            let pid = rustix::process::Pid::from_raw(pid.parse().expect("a number")).expect("a process");
            // A child that has its parent's words until it is another program may be over, or go with its parent.
            let Ok(held) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else {
                continue;
            };
            let _ = rustix::process::pidfd_send_signal(&held, rustix::process::Signal::KILL);
            let mut end = [rustix::event::PollFd::new(&held, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut end, None).expect("poll");
        }
    }
}

/// Processes of `muster` with these words that have a state directory.
pub(crate) fn living(state: &Path, words: &[&str]) -> Vec<String> {
    let of_ours = |pid: &str| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let said: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let around = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mine = format!("MUSTER_STATE={}", state.display());
        let named =
            words.iter().all(|word| said.get(1..).is_some_and(|said| said.contains(&word.as_bytes())));
        named && around.split(|byte| *byte == 0).any(|variable| variable == mine.as_bytes())
    };
    let pids = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit())).filter(|pid| of_ours(pid)).collect()
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = self.muster(&["down"]).output();
        for pid in living(&self.state(), &[]) {
            let _ = Command::new("kill").args(["-KILL", &pid]).stderr(std::process::Stdio::null()).status();
        }
    }
}
