//! A pool over several hosts: up on the first, which the others have joined.

use super::hosts::{Hosts, address};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use serde_json::Value;

/// The pool of hosts h1, h2, ..., whose controller is on the first.
pub(crate) struct Pool {
    pub(crate) hosts: Hosts,
    /// `HOST:PORT#FINGERPRINT`.
    pub(crate) place: String,
}

impl Pool {
    /// A pool of so many hosts, with short leases; none where hosts cannot be made.
    pub(crate) fn up(count: usize) -> Option<Pool> {
        Pool::up_with(count, &[])
    }

    /// The same, with more words to `muster up`.
    pub(crate) fn up_with(count: usize, words: &[&str]) -> Option<Pool> {
        let pool = Pool::alone(count, words)?;
        (2..=count).for_each(|number| pool.join(number));
        Some(pool)
    }

    /// The pool of one host, and so many machines with it.
    pub(crate) fn alone(count: usize, words: &[&str]) -> Option<Pool> {
        let hosts = Hosts::new(count)?;
        let listen = address(1);
        let all = [&["muster", "up", "--detach", "--listen", &listen, "--lease", "6"], words].concat();
        let said = hosts.ok(1, &all);
        let place = said.lines().find_map(|line| line.trim().strip_prefix("muster join "));
        Some(Pool { place: place.expect("it says how to join").to_owned(), hosts })
    }

    /// Has a host join.
    pub(crate) fn join(&self, number: usize) {
        self.hosts.enter(number, &self.ok(&["token"]), &["muster", "join", &self.place, "--detach"]);
    }

    /// Has a machine log in.
    pub(crate) fn log_in(&self, number: usize) {
        self.hosts.enter(number, &self.ok(&["token", "--login"]), &["muster", "login", &self.place]);
    }

    /// What `muster` prints with these words, where the pool is.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        self.hosts.ok(1, &[&["muster"], words].concat())
    }

    /// The JSON that it prints.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[words, &["--json"]].concat())).expect("JSON")
    }

    /// The number of a job submitted with these words.
    pub(crate) fn submit(&self, words: &[&str]) -> String {
        self.ok(&[&["submit", "--parsable"], words].concat()).trim().to_owned()
    }

    /// Attempts of a job that is over, the first one first: outcome, and hosts.
    pub(crate) fn past(&self, job: &str) -> Vec<(String, String)> {
        let past = self.json(&["history", "-n", "100000", job]);
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        past.as_array()
            .expect("rows")
            .iter()
            .rev()
            .map(|row| (text(row, "outcome"), text(row, "hosts")))
            .collect()
    }

    /// Waits until a job is over, and says how its attempts ended.
    pub(crate) fn wait(&self, job: &str) -> Vec<(String, String)> {
        let after = format!("afterany:{job}");
        self.ok(&["submit", "--quiet", "--wait", "--dependency", &after, "--", "/bin/true"]);
        self.past(job)
    }

    /// Waits until a file in the work directory of a host holds something, and says what.
    pub(crate) fn read(&self, number: usize, name: &str, holds: impl Fn(&str) -> bool) -> String {
        let folder = self.hosts.folder(number);
        let changes = inotify::init(inotify::CreateFlags::CLOEXEC).expect("inotify");
        let what = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&changes, &folder, what).expect("a folder");
        loop {
            let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            if holds(&text) {
                return text;
            }
            let mut wait = [PollFd::new(&changes, PollFlags::IN)];
            let changed = poll(&mut wait, Some(&Timespec { tv_sec: 90, tv_nsec: 0 })).expect("poll");
            assert!(
                changed > 0,
                "{name} on h{number} never held what was waited for ({} bytes): {text:.200}",
                text.len()
            );
            let _ = rustix::io::read(&changes, &mut [0; 4096]);
        }
    }
}
